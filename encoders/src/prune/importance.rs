//! How much each sub-layer changes what passes through it.

use super::calibration::Sequences;
use super::journal::SumsJournal;
use super::score_settings::{ImportanceMetric, ScoreSettings, ScoredTokens};
use super::scores::{Importance, Scores};
use crate::architecture::Architecture;
use crate::compute::{Backend, Spans};
use crate::cosine::products;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::model::{Stage, Transformer};
use crate::on_device::PerBatch;
use crate::prune_error::PruneError;

/// What is scored in each layer, in this order: its attention, its MLP, the whole block.
pub(super) const PARTS: usize = 3;

/// Measures every sub-layer of an encoder (equation 3 of the paper): the mean over all tokens that count, of all
/// sequences.
///
/// The numbers do not depend, bit for bit, on how sequences are batched or on the number of threads. Hidden states are
/// those of the f32 forward; they are compared and summed in f64. Memory is that of one group of texts and of the
/// hidden states of some thousand tokens.
///
/// `journal` keeps what was measured: the same call with the same journal goes on where one that was interrupted
/// stopped. The caller removes it when the scores are safe. `progress` is called with the number of sequences done.
///
/// # Errors
///
/// Those of the texts; [`PruneError::CalibrationTooShort`] if they do not fill one block. The journal cannot be
/// written.
///
/// # Panics
///
/// If the metric is the gradient, which [`super::gradient::score`] measures.
pub fn score<E: From<Error>>(
    encoder: &Encoder,
    texts: impl IntoIterator<Item = std::result::Result<String, E>>,
    settings: &ScoreSettings,
    journal: Option<&std::path::Path>,
    mut progress: impl FnMut(usize),
) -> std::result::Result<Scores, E> {
    assert!(settings.metric != ImportanceMetric::Gradient, "gradients have a function of their own");
    let mut sequences = Sequences::new(encoder, &settings.calibration, texts.into_iter())?;
    let width = PARTS * encoder.architecture().layers.len();
    let mut journal =
        journal.map(|path| SumsJournal::open(path, encoder.fingerprint(), settings, width)).transpose()?;
    let mut total = vec![0.0; width];
    let (mut done, mut num_tokens, mut num_scored) = (0, 0, 0);
    let mut hash = blake3::Hasher::new();
    loop {
        let chunk = sequences.chunk()?;
        if chunk.is_empty() {
            break;
        }
        let size: usize = chunk.iter().map(Vec::len).sum();
        let hashes: Vec<[u8; 32]> = chunk.iter().map(|sequence| hash_of(sequence)).collect();
        let kept = match &mut journal {
            Some(journal) => journal.take(&hashes)?,
            None => Vec::new(),
        };
        let measured = measure(encoder, &chunk[kept.len()..], settings)?;
        if let Some(journal) = &mut journal {
            journal.append(&hashes[kept.len()..], &measured)?;
        }
        for sums in kept.iter().chain(&measured) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        hashes.iter().for_each(|one| {
            hash.update(one);
        });
        done += chunk.len();
        num_tokens += size;
        num_scored += if settings.tokens == ScoredTokens::All { size } else { chunk.len() };
        progress(done);
    }
    if done == 0 {
        return Err(Error::from(PruneError::CalibrationTooShort {
            tokens: sequences.tokens_read,
            block_length: settings.calibration.block_length(encoder)?,
        })
        .into());
    }
    total.iter_mut().for_each(|sum| *sum /= num_scored as f64);
    let layers = &encoder.architecture().layers;
    let part = |part: usize, there: fn(&crate::architecture::LayerShape) -> bool| {
        let scored = layers.iter().zip(total.chunks_exact(PARTS));
        scored.map(|(layer, means)| there(layer).then_some(means[part])).collect()
    };
    Ok(Scores {
        model: encoder.name().to_owned(),
        fingerprint: *encoder.fingerprint(),
        settings: *settings,
        num_sequences: done,
        num_tokens,
        text_hash: hash.finalize().to_hex().to_string(),
        texts: None,
        importance: Importance {
            attention: part(0, |layer| layer.attention.is_some()),
            mlp: part(1, |layer| layer.intermediate_size.is_some()),
            block: part(2, |layer| layer.attention.is_some() || layer.intermediate_size.is_some()),
        },
    })
}

pub(super) fn hash_of(sequence: &[u32]) -> [u8; 32] {
    let bytes: Vec<u8> = sequence.iter().flat_map(|id| id.to_le_bytes()).collect();
    blake3::hash(&bytes).into()
}

/// For each sequence the sums over its tokens: (L, PARTS), row-major; 0 for a sub-layer that is not there.
fn measure(encoder: &Encoder, sequences: &[Vec<u32>], settings: &ScoreSettings) -> Result<Vec<Vec<f64>>> {
    encoder.model().run_by_text(encoder.batches(sequences), &Measure { sequences, settings })
}

/// The sums of each sequence of a batch.
struct Measure<'a> {
    sequences: &'a [Vec<u32>],
    settings: &'a ScoreSettings,
}

impl PerBatch<Encoder> for Measure<'_> {
    type Output = Vec<Vec<f64>>;

    fn tokens(&self, sequence: usize) -> usize {
        self.sequences[sequence].len()
    }

    fn compute<B: Backend>(
        &self,
        model: &Transformer<B>,
        backend: &B,
        batch: &[usize],
    ) -> Result<Vec<Vec<f64>>> {
        let ids: Vec<u32> = batch.iter().flat_map(|i| &self.sequences[*i]).copied().collect();
        let spans = Spans::from_lengths(batch.iter().map(|i| self.sequences[*i].len()));
        let mut observer = Observer::new(model.architecture(), &spans, self.settings);
        model.forward_observed(backend, &ids, &spans, &mut |stage, x| {
            // What linear layers read is not compared; copying it would only cost.
            if !matches!(stage, Stage::Input(..)) {
                observer.see(stage, &backend.to_vec(x)?);
            }
            Ok(())
        })?;
        Ok(observer.sums)
    }
}

/// Compares the hidden states of a batch as the forward goes on.
struct Observer<'a> {
    spans: &'a Spans,
    settings: &'a ScoreSettings,
    hidden_size: usize,
    /// Hidden states before the next sub-layer, and before the layer.
    before: Vec<f32>,
    before_layer: Vec<f32>,
    /// For each text, (L, PARTS).
    sums: Vec<Vec<f64>>,
}

impl<'a> Observer<'a> {
    fn new(architecture: &Architecture, spans: &'a Spans, settings: &'a ScoreSettings) -> Observer<'a> {
        Observer {
            spans,
            settings,
            hidden_size: architecture.hidden_size,
            before: Vec::new(),
            before_layer: Vec::new(),
            sums: vec![vec![0.0; PARTS * architecture.layers.len()]; spans.len()],
        }
    }

    fn see(&mut self, stage: Stage, x: &[f32]) {
        match stage {
            Stage::Embeddings => {
                self.before = x.to_vec();
                self.before_layer = x.to_vec();
            }
            Stage::Attention(layer) | Stage::Mlp(layer) => {
                let part = usize::from(matches!(stage, Stage::Mlp(_)));
                self.add(PARTS * layer + part, self.compare(&self.before, x));
                self.before.copy_from_slice(x);
            }
            Stage::Input(..) => {}
            Stage::Layer(layer) => {
                self.add(PARTS * layer + 2, self.compare(&self.before_layer, x));
                self.before_layer.copy_from_slice(x);
            }
        }
    }

    fn add(&mut self, place: usize, sums: Vec<f64>) {
        self.sums.iter_mut().zip(sums).for_each(|(text, sum)| text[place] = sum);
    }

    /// For each text the sum over its tokens.
    fn compare(&self, before: &[f32], x: &[f32]) -> Vec<f64> {
        let d = self.hidden_size;
        let metric = if self.settings.metric == ImportanceMetric::L2 { distance } else { turn };
        let of_text = |span: std::ops::Range<usize>| {
            let first = if self.settings.tokens == ScoredTokens::All { span.start } else { span.end - 1 };
            let rows = first * d..span.end * d;
            before[rows.clone()].chunks_exact(d).zip(x[rows].chunks_exact(d)).map(|(a, b)| metric(a, b)).sum()
        };
        self.spans.iter().map(of_text).collect()
    }
}

/// 1 - cos(a, b); lengths below 1e-8 count as 1e-8, as in PyTorch's `cosine_similarity`.
fn turn(a: &[f32], b: &[f32]) -> f64 {
    let (dot, square_a, square_b) = products(a, b);
    1.0 - dot / (square_a.sqrt().max(1e-8) * square_b.sqrt().max(1e-8))
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (f64::from(*y) - f64::from(*x)).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_by_hand() {
        assert_eq!(turn(&[1.0, 0.0], &[0.0, 2.0]), 1.0);
        assert_eq!(turn(&[1.0, 0.0], &[-3.0, 0.0]), 2.0);
        assert_eq!(turn(&[0.0, 0.0], &[1.0, 0.0]), 1.0);
        assert_eq!(turn(&[3.0, 4.0], &[6.0, 8.0]), 0.0);
        assert_eq!(distance(&[1.0, 1.0], &[4.0, 5.0]), 5.0);
    }
}
