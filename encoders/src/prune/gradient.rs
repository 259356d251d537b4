//! Importance by gradient: the sceptic's check of importance by cosine.
//!
//! A gate a = 1 scales the output of each sub-layer before the residual sum. To first order the loss changes by -dL/da when
//! the sub-layer goes (Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference",
//! equation 7), so |dL/da| says how much it matters for what the encoder is used for. L is InfoNCE over titles and their
//! texts, with the other texts of a batch as negatives.

use std::path::Path;

use candle_core::{Device, Tensor, Var};

use super::calibration::{Calibration, CalibrationFormat};
use super::importance::hash_of;
use super::score_settings::{ImportanceMetric, ScoreSettings, ScoredTokens};
use super::scores::{Importance, Scores};
use crate::architecture::Remaining;
use crate::compute::Spans;
use crate::compute::candle::Candle;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::Transformer;
use crate::pooling::Pooling;
use crate::settings::Settings;
use crate::tokenize::Tokenizer;

/// Pairs of a batch: each text competes with the 15 others.
const BATCH: usize = 16;

/// The paper's temperature (section 4.2).
const TEMPERATURE: f64 = 0.02;

/// A title and its text.
type Pair = (String, String);

/// Measures a model by |dL/da|, the mean over batches of 16 pairs of titles and texts; titles are read as queries, texts as
/// passages. Of a block the gates of both sub-layers are one. At most `max_pairs` are read; pairs without a title or a text
/// are passed over, and a last batch of one pair, which has no negatives, is left out.
///
/// The model is what remains of that in `directory`, all of it unless given. It is in f32 and differentiated on the CPU: the
/// memory is several times the model's.
/// `progress` is called with the number of pairs done.
///
/// # Errors
///
/// [`Error::NoPairs`]; those of the texts and of loading the model.
pub fn score<E: From<Error>>(
    directory: &Path,
    remaining: Option<&Remaining>,
    pairs: impl IntoIterator<Item = std::result::Result<Pair, E>>,
    max_pairs: usize,
    mut progress: impl FnMut(usize),
) -> std::result::Result<Scores, E> {
    let mut model = Gated::load(directory, remaining)?;
    let mut pairs = pairs.into_iter();
    let mut total = vec![[0.0; 3]; model.gates.len()];
    let (mut done, mut num_tokens, mut num_batches) = (0, 0, 0);
    let mut hash = blake3::Hasher::new();
    loop {
        let mut batch: Vec<Pair> = Vec::new();
        while batch.len() < BATCH.min(max_pairs - done) {
            let Some(pair) = pairs.next() else { break };
            let pair = pair?;
            if !pair.0.trim().is_empty() && !pair.1.trim().is_empty() {
                batch.push(pair);
            }
        }
        if batch.len() < 2 {
            break;
        }
        let titles = model.tokens(batch.iter().map(|(title, _)| title), 0)?;
        let texts = model.tokens(batch.iter().map(|(_, text)| text), 1)?;
        for sequence in titles.iter().chain(&texts) {
            hash.update(&hash_of(sequence));
            num_tokens += sequence.len();
        }
        let gradients = model.gradients(&titles, &texts)?;
        for (total, [attention, mlp]) in total.iter_mut().zip(gradients) {
            let block = attention.unwrap_or(0.0) + mlp.unwrap_or(0.0);
            for (total, gradient) in
                total.iter_mut().zip([attention.unwrap_or(0.0), mlp.unwrap_or(0.0), block])
            {
                *total += gradient.abs();
            }
        }
        num_batches += 1;
        done += batch.len();
        progress(done);
    }
    if num_batches == 0 {
        return Err(Error::NoPairs.into());
    }
    let mean = |part: usize, there: fn(&[Option<Var>; 2]) -> bool| {
        let gates = model.gates.iter().zip(&total);
        gates.map(|(gates, total)| there(gates).then_some(total[part] / num_batches as f64)).collect()
    };
    Ok(Scores {
        model: model.name,
        fingerprint: model.fingerprint,
        settings: ScoreSettings {
            metric: ImportanceMetric::Gradient,
            tokens: ScoredTokens::All,
            calibration: Calibration {
                format: CalibrationFormat::Texts,
                max_sequences: max_pairs,
                block_length: None,
            },
        },
        num_sequences: 2 * done,
        num_tokens,
        text_hash: hash.finalize().to_hex().to_string(),
        importance: Importance {
            attention: mean(0, |gates| gates[0].is_some()),
            mlp: mean(1, |gates| gates[1].is_some()),
            block: mean(2, |gates| gates.iter().any(Option::is_some)),
        },
    })
}

/// A model with gates.
struct Gated {
    name: String,
    fingerprint: Fingerprint,
    settings: Settings,
    tokenizer: Tokenizer,
    ops: Candle,
    model: Transformer<Candle>,
    /// For each layer those of attention and MLP, where it has them.
    gates: Vec<[Option<Var>; 2]>,
    /// Tokens at the beginning of a query and of a passage that a mean leaves out.
    skipped: [usize; 2],
}

impl Gated {
    fn load(directory: &Path, remaining: Option<&Remaining>) -> Result<Gated> {
        let mut loaded = Loaded::open(directory, &LoadOptions::default())?;
        if let Some(remaining) = remaining {
            loaded.keep(remaining);
        }
        let Loaded { settings, tokenizer, tensors, architecture, fingerprint, .. } = loaded;
        let ops = Candle::new(Device::Cpu);
        let mut model = Transformer::load(&ops, architecture, &*tensors)?;
        let gates = model.gate_sub_layers()?;
        let skipped = settings.skipped_tokens([&tokenizer, &tokenizer])?;
        let name = name_of(directory);
        Ok(Gated { name, fingerprint, settings, tokenizer, ops, model, gates, skipped })
    }

    /// The ids of queries (`kind` 0) or passages (1).
    fn tokens<'t>(&self, texts: impl Iterator<Item = &'t String>, kind: usize) -> Result<Vec<Vec<u32>>> {
        let prompt = [&self.settings.query_prompt, &self.settings.passage_prompt][kind];
        texts.map(|text| self.tokenizer.encode(&format!("{prompt}{text}"))).collect()
    }

    /// dL/da of every gate.
    fn gradients(&mut self, titles: &[Vec<u32>], texts: &[Vec<u32>]) -> Result<Vec<[Option<f64>; 2]>> {
        let loss = self.loss(titles, texts)?;
        let gradients = loss.backward()?;
        let of_gate = |gate: &Option<Var>| -> Result<Option<f64>> {
            let Some(gate) = gate else { return Ok(None) };
            let gradient = gradients.get(gate).expect("every gate takes part in the loss");
            Ok(Some(f64::from(gradient.flatten_all()?.to_vec1::<f32>()?[0])))
        };
        self.gates.iter().map(|[attention, mlp]| Ok([of_gate(attention)?, of_gate(mlp)?])).collect()
    }

    /// InfoNCE: the mean over i of -log softmax_j(cos(q_i, p_j) / t) at j = i.
    fn loss(&self, titles: &[Vec<u32>], texts: &[Vec<u32>]) -> Result<Tensor> {
        let (queries, passages) = (self.vectors(titles, 0)?, self.vectors(texts, 1)?);
        let scores = (queries.matmul(&passages.t()?)? / TEMPERATURE)?;
        let shifted = scores.broadcast_sub(&scores.max_keepdim(1)?.detach())?;
        let log_sums = shifted.exp()?.sum(1)?.log()?;
        let own = (&shifted * Tensor::eye(titles.len(), shifted.dtype(), shifted.device())?)?.sum(1)?;
        Ok((log_sums - own)?.mean_all()?)
    }

    /// Unit vectors (B, D).
    fn vectors(&self, sequences: &[Vec<u32>], kind: usize) -> Result<Tensor> {
        let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
        let hidden = self.model.forward(&self.ops, &sequences.concat(), &spans)?;
        let pooled: Vec<Tensor> = spans
            .iter()
            .map(|span| {
                let first = (span.start + self.skipped[kind]).min(span.end - 1);
                Ok(match self.settings.pooling {
                    Pooling::Cls => hidden.narrow(0, span.start, 1)?,
                    Pooling::LastToken => hidden.narrow(0, span.end - 1, 1)?,
                    Pooling::Mean => hidden.narrow(0, first, span.end - first)?.mean_keepdim(0)?,
                    Pooling::WeightedMean => {
                        let weights: Vec<f32> =
                            (first..span.end).map(|token| (token - span.start + 1) as f32).collect();
                        let total: f32 = weights.iter().sum();
                        let weights = Tensor::from_vec(weights, (1, span.end - first), hidden.device())?;
                        (weights.matmul(&hidden.narrow(0, first, span.end - first)?)? / f64::from(total))?
                    }
                })
            })
            .collect::<Result<_>>()?;
        let pooled = Tensor::cat(&pooled, 0)?;
        let lengths = pooled.sqr()?.sum_keepdim(1)?.sqrt()?;
        Ok(pooled.broadcast_div(&lengths)?)
    }
}
