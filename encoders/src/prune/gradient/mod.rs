//! Importance by gradient: the sceptic's check of importance by cosine.
//!
//! A factor a = 1 scales the output of each sub-layer before the residual sum. To first order the loss changes by
//! -dL/da when the sub-layer goes. That is equation 7 of Molchanov et al. 2017 ("Pruning Convolutional Neural Networks
//! for Resource Efficient Inference"). So |dL/da| says how much the sub-layer matters for what the encoder is used for.
//! L is InfoNCE over titles and their texts, with the other texts of a batch as negatives.

#[cfg(test)]
mod tests;

use std::path::Path;

use super::calibration::{Calibration, CalibrationFormat};
use super::importance::hash_of;
use super::score_settings::{ImportanceMetric, ScoreSettings, ScoredTokens};
use super::scores::{Importance, Scores};
use crate::architecture::{LayerShape, Remaining};
use crate::compute::cpu::{Cpu, Factors};
use crate::compute::tape::{Dropout, Tape};
use crate::contrastive::engine::{Engine, MemoryUse};
use crate::contrastive::loss::{Loss, Target};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::load_options::LoadOptions;
use crate::loaded::{Loaded, name_of};
use crate::model::Transformer;
use crate::prune_error::PruneError;
use crate::settings::{EncoderSettings, Purpose};
use crate::tokenize::Tokenizer;

/// Pairs of a batch: each text competes with the 15 others.
const BATCH: usize = 16;

/// The paper's temperature (section 4.2).
const TEMPERATURE: f64 = 0.02;

/// A title and its text.
type Pair = (String, String);

/// Measures a model by |dL/da|, the mean over batches of 16 pairs of titles and texts; titles are read as queries,
/// texts as passages. Of a block the factors of both sub-layers are one. At most `max_pairs` are read. Pairs without a
/// title or a text are passed over. A last batch of one pair is left out, because it has no negatives.
///
/// The model is what remains of that in `directory`, all of it unless given, as it is stored. It is differentiated on
/// the CPU, on the current rayon pool. Each part of a batch is computed once for its vectors and again for its
/// gradients. So beside the model the memory holds what each thread needs for some hundred tokens. `progress` is called
/// with the number of pairs done.
///
/// # Errors
///
/// [`PruneError::NoPairs`]; those of the texts and of loading the model.
pub fn score<E: From<Error>>(
    directory: &Path,
    options: &LoadOptions,
    remaining: Option<&Remaining>,
    pairs: impl IntoIterator<Item = std::result::Result<Pair, E>>,
    max_pairs: usize,
    mut progress: impl FnMut(usize),
) -> std::result::Result<Scores, E> {
    let model = Scaled::load(directory, options, remaining)?;
    let mut pairs = pairs.into_iter();
    let mut total = vec![[0.0; 3]; model.layers().len()];
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
        return Err(Error::from(PruneError::NoPairs).into());
    }
    let mean = |part: usize, there: fn(&LayerShape) -> bool| {
        let layers = model.layers().iter().zip(&total);
        layers.map(|(layer, total)| there(layer).then_some(total[part] / num_batches as f64)).collect()
    };
    let importance = Importance {
        attention: mean(0, |layer| layer.attention.is_some()),
        mlp: mean(1, |layer| layer.intermediate_size.is_some()),
        block: mean(2, |layer| layer.attention.is_some() || layer.intermediate_size.is_some()),
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
        texts: None,
        importance,
    })
}

/// A model with a factor on each sub-layer.
struct Scaled {
    name: String,
    fingerprint: Fingerprint,
    settings: EncoderSettings,
    tokenizer: Tokenizer,
    engine: Engine<Cpu>,
}

impl Scaled {
    fn load(directory: &Path, options: &LoadOptions, remaining: Option<&Remaining>) -> Result<Scaled> {
        let mut loaded = Loaded::open(directory, options, Purpose::Encode)?;
        if let Some(remaining) = remaining {
            loaded.keep(remaining);
        }
        let tokenizer = loaded.tokenizer()?;
        let Loaded { settings, tensors, architecture, fingerprint, .. } = loaded;
        let pooling = settings.trained_pooling(directory, &architecture)?;
        let tape = Tape::forward_only(Cpu::serial());
        let mut model = Transformer::load(&tape, architecture, &*tensors)?;
        let sizes = [[model.scale_sub_layers(), 1]].into();
        let skipped = settings.skipped_tokens([&tokenizer, &tokenizer])?;
        let batch_tokens = Device::Cpu.batch_tokens();
        let memory = MemoryUse { batch_tokens, gradient_cache: true, recompute: true };
        let engine = Engine::on_cpu(model, pooling, skipped, memory, (sizes, Factors::F32));
        Ok(Scaled { name: name_of(directory), fingerprint, settings, tokenizer, engine })
    }

    fn layers(&self) -> &[LayerShape] {
        &self.engine.model.architecture().layers
    }

    /// The ids of queries (`kind` 0) or passages (1).
    fn tokens<'t>(&self, texts: impl Iterator<Item = &'t String>, kind: usize) -> Result<Vec<Vec<u32>>> {
        let prompt = [&self.settings.query_prompt, &self.settings.passage_prompt][kind];
        texts.map(|text| self.tokenizer.encode(&format!("{prompt}{text}"))).collect()
    }

    /// dL/da of every factor: for each layer those of attention and MLP, where it has them.
    fn gradients(&self, titles: &[Vec<u32>], texts: &[Vec<u32>]) -> Result<Vec<[Option<f64>; 2]>> {
        let forward = self.engine.forward([titles, texts], |_| Dropout::default())?;
        let dim = self.engine.model.architecture().hidden_size;
        let (queries, passages) = forward.vectors.split_at(titles.len() * dim);
        // InfoNCE: the mean over i of -log softmax_j(cos(q_i, p_j) / t) at j = i.
        let loss = Loss { temperature: TEMPERATURE, ..Loss::default() };
        let targets: Vec<Target> =
            (0..titles.len()).map(|positive| Target { positive, ..Target::default() }).collect();
        let value = loss.of(queries, passages, dim, &targets, None);
        let mut gradients = self.engine.zero_gradients();
        self.engine.backward(forward, &[value.of_queries, value.of_passages].concat(), &mut gradients)?;
        let of_scales: Vec<f32> = gradients.iter().flatten().flatten().copied().collect();
        self.engine.put_back(gradients)?;
        let mut of_scales = of_scales.into_iter().map(f64::from);
        let layers = self.layers().iter().map(|layer| {
            [layer.attention.is_some(), layer.intermediate_size.is_some()]
                .map(|there| there.then(|| of_scales.next().expect("every factor takes part in the loss")))
        });
        Ok(layers.collect())
    }
}
