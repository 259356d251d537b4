//! What a caller may want otherwise than a model directory says.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::architecture::Architecture;
use crate::compute::precision::Precision;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::matryoshka;
use crate::pooling::Pooling;
use crate::settings::Settings;
use crate::weights::quantized::Quantization;

/// What may differ from what a model directory says. `None` keeps the directory's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// What the encoder is called; the name of its directory unless given.
    pub name: Option<String>,
    /// Which hidden states make the vector.
    pub pooling: Option<Pooling>,
    /// Tokens beyond this number are cut off.
    pub max_length: Option<usize>,
    /// Put before every query.
    pub query_prompt: Option<String>,
    /// Put before every passage.
    pub passage_prompt: Option<String>,
    /// Cut vectors to this length before they are scaled. Refused unless the model's config.json declares that it was
    /// trained for it (`is_matryoshka`, `matryoshka_dimensions`).
    pub truncate_dim: Option<usize>,
    /// The directory of the base model of an adapter. Unless given, the adapter's configuration names it.
    pub base: Option<PathBuf>,
    /// Quantize linear layers, after an adapter was merged. A model that is stored quantized stays as it is.
    pub quantize: Option<Quantization>,
    /// How precisely linear layers are multiplied. Those that are quantized are dequantized first for bf16. Unless
    /// given: f32 on a CPU, and bf16 on a GPU, which can nothing else.
    pub precision: Option<Precision>,
    /// Where the model computes.
    pub device: Device,
    /// The most tokens that are computed together; on a CPU, by each thread. This bounds the memory of the
    /// activations. A longer text is computed by itself. Unless given: 512 on a CPU and 16,384 on a GPU.
    pub batch_tokens: Option<usize>,
    /// A folder that keeps the fingerprints of encoders, so that their weights are not read through each time they are
    /// loaded. It need not exist. Weights that were changed are noticed by the lengths and times of their files.
    pub cache: Option<PathBuf>,
}

impl LoadOptions {
    /// Puts the caller's word in place of the directory's, whose config.json is at `path`.
    pub(crate) fn apply(
        &self,
        settings: &mut Settings,
        architecture: &Architecture,
        path: &Path,
        config: &Value,
    ) -> Result<()> {
        if let Some(max_length) = self.max_length {
            let limit = architecture.max_tokens().unwrap_or(usize::MAX);
            if max_length == 0 || max_length > limit {
                return Err(Error::InvalidField {
                    path: path.to_owned(),
                    field: "the maximum length that was asked for".to_owned(),
                    found: max_length.to_string(),
                    expected: format!("1 to {limit}, the model's positions"),
                });
            }
            settings.max_length = max_length;
        }
        if let Some(pooling) = self.pooling {
            settings.pooling = pooling;
        }
        if let Some(dim) = self.truncate_dim {
            matryoshka::check(path, config, dim, architecture.hidden_size)?;
            settings.truncate_dim = Some(dim);
        }
        if let Some(prompt) = &self.query_prompt {
            settings.query_prompt.clone_from(prompt);
        }
        if let Some(prompt) = &self.passage_prompt {
            settings.passage_prompt.clone_from(prompt);
        }
        Ok(())
    }
}
