//! A query and a passage in, one score out.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::encoder::{LoadOptions, batches};
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::model::Classifier;
use crate::ops::Spans;
use crate::ops::fused::Fused;
use crate::tokenize::Tokenizer;

/// A model that reads a query and a passage together and scores how well they match, on the CPU, in f32.
///
/// ```no_run
/// use secateur_encoders::{CrossEncoder, LoadOptions};
/// let reranker = CrossEncoder::load("models/bge-reranker-base".as_ref(), &LoadOptions::default())?;
/// let scores = reranker.score(&[("what is a secateur?", "A secateur is a pruning shear.")])?;
/// assert_eq!(scores.len(), 1);
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct CrossEncoder {
    directory: PathBuf,
    tokenizer: Tokenizer,
    model: Classifier<Fused>,
    max_length: usize,
}

impl CrossEncoder {
    /// Loads a Hugging Face model directory of the class `BertForSequenceClassification`,
    /// `XLMRobertaForSequenceClassification` or `ModernBertForSequenceClassification` with one label. Of the options the
    /// maximum length and an adapter's base matter.
    ///
    /// # Errors
    ///
    /// A file is missing or damaged, the family has no head that is known, a tensor is missing or has another shape.
    pub fn load(directory: &Path, options: &LoadOptions) -> Result<CrossEncoder> {
        let Loaded { settings, tokenizer, checkpoint, architecture, .. } = Loaded::open(directory, options)?;
        let model = Classifier::load(&Fused::serial(), architecture, &checkpoint)?;
        let max_length = settings.max_length;
        Ok(CrossEncoder { directory: directory.to_owned(), tokenizer, model, max_length })
    }

    /// The directory it was loaded from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The most tokens of a pair that count, special tokens included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The logit of each (query, passage): (B) -> (B), higher is better, before any sigmoid.
    ///
    /// A pair's score does not depend on the other pairs, bit for bit. Work is spread over the current rayon pool.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a score is not finite.
    pub fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let num_types = self.model.architecture().token_types() as u32;
        let (tokens, types): (Vec<Vec<u32>>, Vec<Vec<u32>>) = pairs
            .par_iter()
            .map(|(query, passage)| self.tokenizer.encode_pair(query, passage))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        if let Some(found) = types.iter().flatten().find(|found| num_types > 1 && **found >= num_types) {
            return Err(Error::InvalidField {
                path: self.directory.join("tokenizer.json"),
                field: "a token's type".to_owned(),
                found: found.to_string(),
                expected: format!("one of the model's {num_types} types"),
            });
        }
        let batches = batches(&tokens);
        let run = |ops: &mut Fused, batch: &Vec<usize>| -> Result<Vec<f32>> {
            let joined = |lists: &[Vec<u32>]| -> Vec<u32> {
                batch.iter().flat_map(|pair| &lists[*pair]).copied().collect()
            };
            // A model that tells no types apart was trained without them, whatever its tokenizer says.
            let types = if num_types > 1 { joined(&types) } else { Vec::new() };
            self.model.logits(
                ops,
                &joined(&tokens),
                &types,
                &Spans::from_lengths(batch.iter().map(|pair| tokens[*pair].len())),
            )
        };
        let logits: Vec<Vec<f32>> = if batches.len() < rayon::current_num_threads() {
            let mut ops = Fused::parallel();
            batches.iter().map(|batch| run(&mut ops, batch)).collect::<Result<_>>()?
        } else {
            batches.par_iter().map_init(Fused::serial, run).collect::<Result<_>>()?
        };
        let mut scores = vec![0.0; pairs.len()];
        for (pair, logit) in batches.iter().flatten().zip(logits.into_iter().flatten()) {
            if !logit.is_finite() {
                return Err(Error::VectorNotFinite { text: *pair });
            }
            scores[*pair] = logit;
        }
        Ok(scores)
    }
}
