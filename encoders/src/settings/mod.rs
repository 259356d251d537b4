//! How a model directory wants texts to be encoded: pooling, prompts, maximum length, normalization.
//!
//! The files come from sentence-transformers: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
//! `config_sentence_transformers.json`. A plain Hugging Face directory has none of them. Where two files state one
//! thing, the one counts that counts in sentence-transformers 6.

mod read;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::Display;

use crate::after_pooling::AfterPooling;
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::pooling::{Pooling, Poolings};
use crate::text_kind::TextKind;
use crate::tokenize::{Reading, Tokenizer};
use crate::weights::model_files::{MODULES_FILE, PROMPTS_FILE, TRANSFORMER_FILES};

pub(crate) use read::Read;

/// How texts are encoded with a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EncoderSettings {
    /// Which hidden states make the vector.
    pub pooling: Poolings,
    /// What is done with the vector then, before it is cut or scaled.
    pub modules: Vec<AfterPooling>,
    /// Numbers of a vector beyond this many are cut off, before it is scaled (Matryoshka models).
    pub truncate_dim: Option<usize>,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Tokens of a text beyond this number, special tokens included, are cut off.
    pub max_length: usize,
    /// The same for queries, where they have a length of their own.
    pub query_length: Option<usize>,
    /// The same for passages.
    pub passage_length: Option<usize>,
    /// Put before every query.
    pub query_prompt: String,
    /// Put before every passage.
    pub passage_prompt: String,
    /// Whether the prompt's tokens count in the pooling.
    pub pool_prompt: bool,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
    /// How the model's authors compare vectors, where they say so.
    pub similarity: Option<Similarity>,
    /// How much the ranking by these vectors counts in a hybrid search, where somebody measured it. Scores are summed,
    /// and the ranking by words counts 1.
    pub dense_weight: Option<f64>,
}

/// What a directory is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Vectors of texts.
    Encode,
    /// Scores of pairs.
    Score,
}

/// How a model's authors compare vectors: `similarity_fn_name` of sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Similarity {
    /// The cosine of the angle between two vectors.
    Cosine,
    /// Their inner product.
    Dot,
    /// The length of their difference, negative.
    Euclidean,
    /// The sum of the differences of their numbers, negative.
    Manhattan,
}

impl EncoderSettings {
    /// Those of a bidirectional or a causal model of which nothing is said.
    pub(crate) fn plain(causal: bool, max_length: usize) -> EncoderSettings {
        EncoderSettings {
            pooling: if causal { Pooling::LastToken } else { Pooling::Mean }.into(),
            modules: Vec::new(),
            truncate_dim: None,
            normalize: true,
            max_length,
            query_length: None,
            passage_length: None,
            query_prompt: String::new(),
            passage_prompt: String::new(),
            pool_prompt: true,
            lower_case: false,
            similarity: None,
            dense_weight: None,
        }
    }

    /// The most tokens of a text of this kind.
    pub(crate) fn length_of(&self, kind: TextKind) -> usize {
        let own = match kind {
            TextKind::Query => self.query_length,
            TextKind::Passage => self.passage_length,
        };
        own.unwrap_or(self.max_length)
    }

    /// How the tokenizer of a model with so many rows in its embedding table reads texts.
    pub(crate) fn reading(&self, vocab_size: usize) -> Reading {
        let lengths = [TextKind::Query, TextKind::Passage].map(|kind| self.length_of(kind));
        Reading {
            max_length: self.longest(),
            shortest: lengths.into_iter().fold(self.max_length, usize::min),
            lower_case: self.lower_case,
            vocab_size,
        }
    }

    /// The most tokens of any text.
    pub(crate) fn longest(&self) -> usize {
        self.length_of(TextKind::Query).max(self.length_of(TextKind::Passage)).max(self.max_length)
    }

    /// Numbers of a vector before it is cut.
    pub(crate) fn whole_dim(&self, hidden_size: usize) -> usize {
        let pooled = self.pooling.iter().len() * hidden_size;
        self.modules.iter().fold(pooled, |dim, module| module.outputs(dim))
    }

    /// Numbers of a vector of a model with this hidden size.
    pub fn dim(&self, hidden_size: usize) -> usize {
        let whole = self.whole_dim(hidden_size);
        self.truncate_dim.map_or(whole, |dim| dim.min(whole))
    }

    /// Tokens at the beginning of a query and of a passage that pooling leaves out, by the tokenizers of the two.
    pub(crate) fn skipped_tokens(&self, [queries, passages]: [&Tokenizer; 2]) -> Result<[usize; 2]> {
        if self.pool_prompt {
            return Ok([0, 0]);
        }
        Ok([queries.prompt_tokens(&self.query_prompt)?, passages.prompt_tokens(&self.passage_prompt)?])
    }

    /// The pooling of a model in training. Gradients go back through it, so it is a sum of tokens, and nothing but a
    /// scaling comes after it. `directory` is the model's.
    pub(crate) fn trained_pooling(&self, directory: &Path, architecture: &Architecture) -> Result<Pooling> {
        let refused = |found: String, expected: &str| Error::InvalidField {
            path: directory.to_owned(),
            field: "what is to be trained".to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let pooling = self.pooling.single().filter(|pooling| *pooling != Pooling::Max);
        let pooling = pooling.ok_or_else(|| {
            refused(format!("a model that pools {}", self.pooling), "one pooling, other than max; name it")
        })?;
        if !self.modules.is_empty() {
            return Err(refused("a model with modules behind its pooling".to_owned(), "a Normalize alone"));
        }
        if let Some(same) = architecture.angles_same_until().filter(|same| self.longest() > *same) {
            let expected =
                format!("at most {same}, for longer texts have other rotary angles: give a maximum length");
            return Err(refused(format!("texts of {} tokens", self.longest()), &expected));
        }
        Ok(pooling)
    }

    /// The files that say this, by name, as sentence-transformers writes them. A model with modules behind its pooling
    /// keeps its own files.
    pub(crate) fn files(&self, hidden_size: usize) -> Vec<(&'static str, Value)> {
        let module = |number: usize, name: &str, path: &str| {
            json!({"idx": number, "name": number.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{name}")})
        };
        let mut modules = vec![module(0, "Transformer", ""), module(1, "Pooling", "1_Pooling")];
        if self.normalize {
            modules.push(module(2, "Normalize", "2_Normalize"));
        }
        let mut pooling =
            json!({"word_embedding_dimension": hidden_size, "include_prompt": self.pool_prompt});
        for (name, mode) in LEGACY_MODES {
            let is_usual = !matches!(mode, Pooling::Max | Pooling::MeanSqrtLen);
            let is_on = self.pooling.iter().any(|pooling| pooling == mode);
            if is_usual || is_on {
                pooling[format!("pooling_mode_{name}")] = is_on.into();
            }
        }
        let mut sentence = json!({"max_seq_length": self.max_length, "do_lower_case": self.lower_case});
        for (key, length) in [("query_length", self.query_length), ("document_length", self.passage_length)] {
            if let Some(length) = length {
                sentence[key] = length.into();
            }
        }
        let mut model = json!({
            "prompts": {"query": self.query_prompt, "document": self.passage_prompt},
            "default_prompt_name": null,
            "similarity_fn_name": self.similarity,
        });
        if let Some(dim) = self.truncate_dim {
            model["truncate_dim"] = dim.into();
        }
        if let Some(weight) = self.dense_weight {
            model["dense_weight"] = weight.into();
        }
        vec![
            (MODULES_FILE, modules.into()),
            ("1_Pooling/config.json", pooling),
            (TRANSFORMER_FILES[0], sentence),
            (PROMPTS_FILE, model),
        ]
    }
}

/// The keys `pooling_mode_...` in the order in which their vectors stand.
const LEGACY_MODES: [(&str, Pooling); 6] = [
    ("cls_token", Pooling::Cls),
    ("max_tokens", Pooling::Max),
    ("mean_tokens", Pooling::Mean),
    ("mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
    ("weightedmean_tokens", Pooling::WeightedMean),
    ("lasttoken", Pooling::LastToken),
];
