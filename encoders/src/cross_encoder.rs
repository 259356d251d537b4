//! A query and a passage in, one score out.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::compute::{Backend, Spans};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::json;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::Classifier;
use crate::notice::Notice;
use crate::on_device::{Found, HasModel, OnDevice, PerBatch, batches};
use crate::settings::Purpose;
use crate::text_name::TextName;
use crate::tokenize::Tokenizer;

/// A model that reads a query and a passage together and scores how well they match, in f32.
///
/// ```no_run
/// use secateur_encoders::{CrossEncoder, LoadOptions};
/// let reranker = CrossEncoder::load("models/bge-reranker-base", &LoadOptions::default())?;
/// let scores = reranker.score(&[("what is a secateur?", "A secateur is a pruning shear.")])?;
/// assert_eq!(scores.len(), 1);
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct CrossEncoder {
    directory: PathBuf,
    name: String,
    fingerprint: Fingerprint,
    tokenizer: Tokenizer,
    model: OnDevice<CrossEncoder>,
    /// How many types of tokens the model tells apart.
    num_types: u32,
    batch_tokens: usize,
    max_length: usize,
    /// Put before every query.
    prompt: String,
    notices: Vec<Notice>,
}

impl CrossEncoder {
    /// Loads a Hugging Face model directory of the class `BertForSequenceClassification`,
    /// `XLMRobertaForSequenceClassification` or `ModernBertForSequenceClassification` with one label. Of the
    /// options of texts and vectors only the maximum length and the query prompt count.
    ///
    /// # Errors
    ///
    /// A file is missing or damaged, the family has no head that is known, a tensor is missing or has another shape.
    pub fn load(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<CrossEncoder> {
        let directory = directory.as_ref();
        let files = options.locate(directory)?;
        let found = Found::open(&files, options)?;
        let loaded = Loaded::of_files(files, options, Purpose::Score, options.cache.as_deref())?;
        let (precision, own, batch_tokens) = (found.precision, found.own, found.batch_tokens());
        let (model, tokenizer) = OnDevice::with_tokenizer(found, &loaded)?;
        let Loaded { settings, architecture, fingerprint, notices, .. } = loaded;
        let fingerprint = fingerprint.computed_in(precision, own);
        Ok(CrossEncoder {
            directory: directory.to_owned(),
            name: options.name.clone().unwrap_or_else(|| name_of(directory)),
            fingerprint,
            tokenizer,
            model,
            num_types: architecture.token_types() as u32,
            batch_tokens: options.batch_tokens.unwrap_or(batch_tokens),
            max_length: settings.max_length,
            prompt: settings.query_prompt,
            notices,
        })
    }

    /// Whether a model directory holds a cross-encoder: its config.json names a class of sequence classification. Of
    /// the options only an adapter's base is read.
    ///
    /// # Errors
    ///
    /// There is no config.json, or it is damaged.
    pub fn is_in(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<bool> {
        let directory = directory.as_ref();
        #[derive(serde::Deserialize)]
        struct Classes {
            #[serde(default)]
            architectures: Option<Vec<String>>,
        }
        let files = options.locate(directory)?;
        let classes: Classes = json::parse(&files.config_path(), &files.config_bytes()?)?;
        let classes = classes.architectures.unwrap_or_default();
        Ok(classes.iter().any(|class| class.ends_with("ForSequenceClassification")))
    }

    /// What it is called: the name of its directory, unless the options give it another.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's identity: if the fingerprint is the same, a pair's score is the same on one machine.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The directory it was loaded from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the directory's files do not say, and what is assumed in its place.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The most tokens of a pair that count, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The logit of each (query, passage): (B) -> (B), higher is better, before any sigmoid.
    ///
    /// On a CPU a pair's score does not depend on the other pairs, bit for bit; on a GPU by rounding alone. Work is
    /// spread over the current rayon pool.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a score is not finite.
    pub fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let (tokens, types): (Vec<Vec<u32>>, Vec<Vec<u32>>) = pairs
            .par_iter()
            .map(|(query, passage)| match &self.prompt[..] {
                "" => self.tokenizer.encode_pair(query, passage),
                prompt => self.tokenizer.encode_pair(&format!("{prompt}{query}"), passage),
            })
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        if let Some(found) =
            types.iter().flatten().find(|found| self.num_types > 1 && **found >= self.num_types)
        {
            return Err(Error::InvalidField {
                path: self.directory.join("tokenizer.json"),
                field: "a token's type".to_owned(),
                found: found.to_string(),
                expected: format!("one of the model's {} types", self.num_types),
            });
        }
        // A model that tells no types apart was trained without them, whatever its tokenizer says.
        let types = if self.num_types > 1 { types } else { vec![Vec::new(); tokens.len()] };
        let batches = batches(&tokens, self.batch_tokens, None);
        let logits = self.model.run_by_text(batches, &Logits { tokens: &tokens, types: &types })?;
        match logits.iter().position(|logit| !logit.is_finite()) {
            Some(text) => Err(Error::VectorNotFinite { text: TextName::Place(text) }),
            None => Ok(logits),
        }
    }
}

impl HasModel for CrossEncoder {
    type Model<B: Backend> = Classifier<B>;

    fn load<B: Backend>(backend: &B, loaded: &Loaded) -> Result<Classifier<B>> {
        let Loaded { architecture, config_path, tensors, .. } = loaded;
        Classifier::load(backend, architecture.clone(), config_path, &**tensors)
    }
}

/// The logits of a batch, (B).
struct Logits<'a> {
    tokens: &'a [Vec<u32>],
    types: &'a [Vec<u32>],
}

impl PerBatch<CrossEncoder> for Logits<'_> {
    type Output = Vec<f32>;

    fn tokens(&self, pair: usize) -> usize {
        self.tokens[pair].len()
    }

    fn compute<B: Backend>(&self, model: &Classifier<B>, backend: &B, batch: &[usize]) -> Result<Vec<f32>> {
        let joined = |lists: &[Vec<u32>]| -> Vec<u32> {
            batch.iter().flat_map(|pair| &lists[*pair]).copied().collect()
        };
        let spans = Spans::from_lengths(batch.iter().map(|pair| self.tokens[*pair].len()));
        model.logits(backend, &joined(self.tokens), &joined(self.types), &spans)
    }
}
