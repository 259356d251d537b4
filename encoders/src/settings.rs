//! How a model directory wants texts to be encoded: pooling, prompts, maximum length, normalization.
//!
//! The files come from sentence-transformers: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`,
//! `config_sentence_transformers.json`. A plain Hugging Face directory has none of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::Display;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::pooling::Pooling;
use crate::tokenize::Tokenizer;
use crate::weights::model_files::ModelFiles;

/// How texts are encoded with a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Which hidden states make the vector.
    pub pooling: Pooling,
    /// Numbers of a vector beyond this many are cut off, before it is scaled (Matryoshka models).
    pub truncate_dim: Option<usize>,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
    /// Tokens of a text beyond this number, special tokens included, are cut off.
    pub max_length: usize,
    /// Put before every query.
    pub query_prompt: String,
    /// Put before every passage.
    pub passage_prompt: String,
    /// Whether the prompt's tokens count in a mean.
    pub pool_prompt: bool,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub lower_case: bool,
    /// How the model's authors compare vectors, where they say so.
    pub similarity: Option<Similarity>,
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

/// An entry of modules.json.
#[derive(Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// 1_Pooling/config.json
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default = "yes")]
    include_prompt: bool,
    #[serde(flatten)]
    modes: BTreeMap<String, Value>,
}

fn yes() -> bool {
    true
}

/// sentence_bert_config.json
#[derive(Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

/// config_sentence_transformers.json
#[derive(Default, Deserialize)]
struct PromptConfig {
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
    similarity_fn_name: Option<Similarity>,
}

/// tokenizer_config.json
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// A float where there is no limit: Python writes 1e30 then.
    model_max_length: Option<f64>,
}

impl Settings {
    /// Reads the settings of a model directory. Without `modules.json` a bidirectional model pools the mean over its
    /// tokens, and a causal model the last token. Vectors are scaled to length 1.
    ///
    /// # Errors
    ///
    /// A file that is not JSON, a module or a pooling mode that is not known.
    pub(crate) fn read(files: &ModelFiles, architecture: &Architecture) -> Result<Settings> {
        let sentence: SentenceConfig = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let prompts: PromptConfig = files.json("config_sentence_transformers.json")?.unwrap_or_default();
        let tokenizer: TokenizerConfig = files.tokenizer().json("tokenizer_config.json")?.unwrap_or_default();
        let prompt = |names: &[&str]| {
            let default = prompts.default_prompt_name.as_deref();
            let named = |name: &str| prompts.prompts.get(name).cloned().flatten();
            names.iter().find_map(|name| named(name)).or_else(|| default.and_then(named)).unwrap_or_default()
        };
        let limits = [
            sentence.max_seq_length,
            tokenizer.model_max_length.filter(|length| *length < 1e9).map(|length| length as usize),
            architecture.max_tokens(),
        ];
        let max_length = limits.into_iter().flatten().min().unwrap_or(DEFAULT_MAX_LENGTH);
        if max_length == 0 {
            return Err(Error::InvalidField {
                path: files.path("sentence_bert_config.json"),
                field: "max_seq_length".to_owned(),
                found: "0".to_owned(),
                expected: "at least 1".to_owned(),
            });
        }
        let mut settings = Settings {
            pooling: if architecture.attention.causal { Pooling::LastToken } else { Pooling::Mean },
            truncate_dim: None,
            normalize: true,
            max_length,
            query_prompt: prompt(&["query"]),
            passage_prompt: prompt(&["document", "passage", "corpus"]),
            pool_prompt: true,
            lower_case: sentence.do_lower_case,
            similarity: prompts.similarity_fn_name,
        };
        settings.read_modules(files)?;
        Ok(settings)
    }

    /// Tokens at the beginning of a query and of a passage that a mean leaves out; the tokenizers are those of the two.
    pub(crate) fn skipped_tokens(&self, [queries, passages]: [&Tokenizer; 2]) -> Result<[usize; 2]> {
        if self.pool_prompt {
            return Ok([0, 0]);
        }
        Ok([queries.prompt_tokens(&self.query_prompt)?, passages.prompt_tokens(&self.passage_prompt)?])
    }

    /// The files that say this, by name, as sentence-transformers writes them.
    pub(crate) fn files(&self, hidden_size: usize) -> Vec<(&'static str, Value)> {
        let module = |number: usize, name: &str, path: &str| {
            json!({"idx": number, "name": number.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{name}")})
        };
        let mut modules = vec![module(0, "Transformer", ""), module(1, "Pooling", "1_Pooling")];
        if self.normalize {
            modules.push(module(2, "Normalize", "2_Normalize"));
        }
        let modes = [
            ("cls_token", Pooling::Cls),
            ("mean_tokens", Pooling::Mean),
            ("lasttoken", Pooling::LastToken),
            ("weightedmean_tokens", Pooling::WeightedMean),
        ];
        let mut pooling =
            json!({"word_embedding_dimension": hidden_size, "include_prompt": self.pool_prompt});
        for (name, mode) in modes {
            pooling[format!("pooling_mode_{name}")] = (mode == self.pooling).into();
        }
        vec![
            ("modules.json", modules.into()),
            ("1_Pooling/config.json", pooling),
            (
                "sentence_bert_config.json",
                json!({"max_seq_length": self.max_length, "do_lower_case": self.lower_case}),
            ),
            (
                "config_sentence_transformers.json",
                json!({
                    "prompts": {"query": self.query_prompt, "document": self.passage_prompt},
                    "default_prompt_name": null,
                    "similarity_fn_name": self.similarity,
                }),
            ),
        ]
    }

    fn read_modules(&mut self, files: &ModelFiles) -> Result<()> {
        let Some(modules) = files.json::<Vec<Module>>("modules.json")? else { return Ok(()) };
        self.normalize = false;
        for module in modules {
            // The type is a Python path, "sentence_transformers.models.Pooling"; its last part names the module.
            match module.r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" if matches!(module.path.as_str(), "" | ".") => {}
                "Pooling" => self.read_pooling(files, &format!("{}/config.json", module.path))?,
                "Normalize" => self.normalize = true,
                _ => {
                    return Err(Error::InvalidField {
                        path: files.path("modules.json"),
                        field: "type".to_owned(),
                        found: format!("{:?} at {:?}", module.r#type, module.path),
                        expected: "a Transformer in the directory itself, a Pooling or a Normalize"
                            .to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn read_pooling(&mut self, files: &ModelFiles, file: &str) -> Result<()> {
        let config: PoolingConfig = files.required_json(file)?;
        let modes: Vec<&str> = config
            .modes
            .iter()
            .filter_map(|(key, value)| match value {
                Value::Bool(true) => key.strip_prefix("pooling_mode_"),
                // Newer versions write one `pooling_mode` with a name.
                Value::String(name) if key == "pooling_mode" => Some(name.as_str()),
                _ => None,
            })
            .collect();
        self.pooling = match modes[..] {
            ["cls_token" | "cls"] => Pooling::Cls,
            ["mean_tokens" | "mean"] => Pooling::Mean,
            ["lasttoken"] => Pooling::LastToken,
            ["weightedmean_tokens" | "weightedmean"] => Pooling::WeightedMean,
            _ => {
                return Err(Error::InvalidField {
                    path: files.path(file),
                    field: "pooling_mode".to_owned(),
                    found: format!("{modes:?}"),
                    expected: "one of cls_token, mean_tokens, lasttoken and weightedmean_tokens".to_owned(),
                });
            }
        };
        self.pool_prompt = config.include_prompt;
        Ok(())
    }
}

/// Where neither the tokenizer nor the model sets a limit.
const DEFAULT_MAX_LENGTH: usize = 512;
