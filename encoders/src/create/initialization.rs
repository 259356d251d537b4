//! What the tensors of a new model hold before it has learned anything.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use secateur_random::SplitMix64;

use crate::architecture::{Architecture, LinearInput, NormKind, TensorGroup, TensorShape};
use crate::error::{Error, Result};
use crate::pooling::Pooling;
use crate::random::named;
use crate::settings::{Purpose, Read};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::ModelFiles;
use crate::weights::tensors::Tensors;

/// How often an averaging attention adds the mean to the last token's own embedding, which it so outweighs.
const MEAN_WEIGHT: f32 = 4.0;

/// What a tensor begins as.
enum Initialization {
    Zeros,
    /// The scale of a norm that leaves what it norms as it is.
    Unscaled,
    Normal,
    /// The identity, times this.
    Identity(f32),
    /// The smaller model's tensor of this name.
    Stored(String),
}

/// The model to grow from.
pub(super) struct Smaller {
    checkpoint: Checkpoint,
    /// Its names of tensors, by those without a prefix.
    names: HashMap<String, String>,
    /// Whether it has no layers, and its vectors are means.
    is_mean_of_embeddings: bool,
}

impl Smaller {
    /// The model in `folder`, whose files are `files`.
    pub(super) fn open(folder: &Path, files: &ModelFiles) -> Result<Smaller> {
        let architecture = Architecture::from_config(&files.config_path(), &files.config()?)?;
        let checkpoint = Checkpoint::open(folder)?;
        let bare = |name: &str| architecture.bare_name(name).to_owned();
        let names = checkpoint.iter().map(|tensor| (bare(tensor.name), tensor.name.to_owned())).collect();
        let empty =
            architecture.layers.iter().all(|l| l.attention.is_none() && l.intermediate_size.is_none());
        let pooling = Read::of(files, &architecture, Purpose::Encode)?.settings.pooling;
        Ok(Smaller { checkpoint, names, is_mean_of_embeddings: empty && pooling == Pooling::Mean })
    }

    /// Its name of a tensor that it must have.
    fn named(&self, bare: &str) -> Result<&str> {
        self.names.get(bare).map(String::as_str).ok_or_else(|| Error::MissingTensor {
            path: self.checkpoint.directory().to_owned(),
            tensor: bare.to_owned(),
        })
    }
}

/// What every tensor of a new model begins as.
pub(super) struct Initializations {
    smaller: Option<Smaller>,
    /// Tensors that begin differently from the others of their kind.
    special: HashMap<String, Initialization>,
    /// The scale of a norm that leaves what it norms as it is.
    unscaled: f32,
    deviation: f64,
    seed: u64,
}

impl Initializations {
    /// `config` is named in errors, and `deviation` is that of random numbers.
    pub(super) fn new(
        architecture: &Architecture,
        config: &Path,
        pooling: Pooling,
        smaller: Option<Smaller>,
        deviation: f64,
        seed: u64,
    ) -> Result<Initializations> {
        let unscaled = match architecture.norm {
            NormKind::Rms { offset } => 1.0 - offset,
            NormKind::Layer { .. } => 1.0,
        };
        let mut initializations =
            Initializations { smaller, special: HashMap::new(), unscaled, deviation, seed };
        if let Some(smaller) = &initializations.smaller {
            initializations.special = grown(architecture, config, pooling, smaller)?;
        }
        Ok(initializations)
    }

    /// The elements of a tensor.
    pub(super) fn values(&self, tensor: &TensorShape) -> Result<Cow<'_, [f32]>> {
        let num_elements = tensor.elements();
        let initialization = match self.special.get(&tensor.name) {
            Some(initialization) => initialization,
            None if tensor.name.ends_with("bias") => &Initialization::Zeros,
            None if tensor.group == TensorGroup::Norm => &Initialization::Unscaled,
            None => &Initialization::Normal,
        };
        Ok(match initialization {
            Initialization::Zeros => vec![0.0; num_elements].into(),
            Initialization::Unscaled => vec![self.unscaled; num_elements].into(),
            Initialization::Normal => {
                normal(&mut named(self.seed, &tensor.name), num_elements, self.deviation).into()
            }
            Initialization::Identity(scale) => {
                let columns = tensor.shape[1];
                (0..num_elements).map(|i| if i / columns == i % columns { *scale } else { 0.0 }).collect()
            }
            Initialization::Stored(name) => {
                let smaller = self.smaller.as_ref().expect("only what is grown has stored tensors");
                smaller.checkpoint.values(name, &tensor.shape)?
            }
        })
    }
}

/// The tensors of a grown model that do not begin as those of other new models do.
fn grown(
    architecture: &Architecture,
    config: &Path,
    pooling: Pooling,
    smaller: &Smaller,
) -> Result<HashMap<String, Initialization>> {
    smaller.named(&architecture.token_embeddings().name)?;
    let mut special = HashMap::new();
    // Zero, a sub-layer adds nothing to what passes by.
    for (tensor, input) in (0..architecture.layers.len()).flat_map(|layer| architecture.layer_matrices(layer))
    {
        if matches!(input, LinearInput::AttentionOutput | LinearInput::MlpOutput) {
            special.insert(tensor.name, Initialization::Zeros);
        }
    }
    special.extend(
        smaller.names.iter().map(|(bare, name)| (bare.clone(), Initialization::Stored(name.clone()))),
    );
    if smaller.is_mean_of_embeddings && pooling == Pooling::LastToken {
        let tensors = architecture.averaging_tensors().ok_or_else(|| Error::InvalidField {
            path: config.to_owned(),
            field: "num_key_value_heads".to_owned(),
            found: architecture.attention.num_key_value_heads.to_string(),
            expected: "num_attention_heads, head_dim times which is hidden_size, in a decoder that does not norm its queries \
                       (llama, mistral, qwen2): the first attention is to average the embeddings of the model to grow from, \
                       which pools by their mean; or keep that pooling"
                .to_owned(),
        })?;
        let norm = Initialization::Stored(smaller.named(&tensors.final_norm)?.to_owned());
        special.extend([
            (tensors.query, Initialization::Zeros),
            (tensors.value, Initialization::Identity(1.0)),
            (tensors.output, Initialization::Identity(MEAN_WEIGHT)),
            (tensors.input_norm, norm),
            (tensors.final_norm, Initialization::Unscaled),
        ]);
    }
    Ok(special)
}

/// Normal numbers with mean 0 (Box & Muller 1958).
fn normal(random: &mut SplitMix64, num_elements: usize, deviation: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(num_elements + 1);
    while values.len() < num_elements {
        let radius = deviation * (-2.0 * (1.0 - random.unit()).ln()).sqrt();
        let angle = std::f64::consts::TAU * random.unit();
        values.extend([radius * angle.cos(), radius * angle.sin()].map(|x| x as f32));
    }
    values.truncate(num_elements);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of 100,000 numbers is within 5 of its standard deviations of 0. Their deviation is within 5 of its
    /// standard deviations of the expected one.
    #[test]
    fn numbers_are_normal() {
        let n = 100_000;
        let values = normal(&mut named(7, "w"), n, 0.5);
        let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
        let square = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 5.0 * 0.5 / (n as f64).sqrt(), "{mean}");
        assert!((square.sqrt() - 0.5).abs() < 5.0 * 0.5 / (2.0 * n as f64).sqrt(), "{square}");
        let beyond = values.iter().filter(|x| x.abs() > 1.0).count() as f64 / n as f64;
        assert!((beyond - 0.0455).abs() < 0.005, "{beyond} beyond two deviations, not 4.55 %");
    }
}
