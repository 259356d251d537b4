//! What a caller may want otherwise than a model directory says.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::architecture::Architecture;
use crate::compute::precision::Precision;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::matryoshka;
use crate::notice::Notice;
use crate::pooling::Pooling;
use crate::settings::{EncoderSettings, Purpose, Read};
use crate::weights::model_files::ModelFiles;
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
    /// Cut vectors to this length before they are scaled. Refused if the model's config.json lists the lengths that it
    /// was trained for (`matryoshka_dimensions`) and this is none of them.
    pub truncate_dim: Option<usize>,
    /// The directory of the base model of an adapter. Unless given, the adapter's configuration names it.
    pub base: Option<PathBuf>,
    /// Quantize linear layers, after an adapter was merged. A model that is stored so stays as it is; one in 8 bits is
    /// refused.
    pub quantize: Option<Quantization>,
    /// How precisely linear layers are multiplied. Those in 4 bits are dequantized first for
    /// bf16 and int8, those that are stored in 8 bits for all but int8.
    /// Unless given: f32 on a CPU, 8 bits there for a model that is stored so, and bf16 on a GPU, which can nothing
    /// else.
    pub precision: Option<Precision>,
    /// Where the model computes.
    pub device: Device,
    /// The most tokens that are computed together; on a CPU, by each thread. This bounds the memory of the
    /// activations. A longer text is computed by itself. Unless given: 512 on a CPU in f32, 128 there in fewer bits,
    /// 16,384 on a GPU.
    pub batch_tokens: Option<usize>,
    /// Settings of the model's files that are read as if they were not there: a key, or `outer.inner`. Settings that
    /// could change a vector and that are not heeded are refused otherwise.
    pub ignore_settings: Vec<String>,
    /// Refuse a model whose files leave open what would be assumed. Otherwise a [`Notice`] tells.
    pub strict: bool,
    /// A folder that keeps the fingerprints of models, so that their weights are not read through each time they are
    /// loaded. It also keeps the weights that a CPU multiplies in f32, in the order in which it reads them. These take
    /// at most 256 MiB of a model, and 1 GiB together. The folder need not exist. Weights that were changed are
    /// noticed by the lengths and times of their files.
    pub cache: Option<PathBuf>,
}

impl LoadOptions {
    /// What the files of an encoder's directory leave open, and what is assumed in its place. No weights are read. An
    /// encoder that is loaded with these options has the same [`notices`](crate::Encoder::notices).
    ///
    /// # Errors
    ///
    /// A file says what is not known, or leaves something open and these options are strict.
    pub fn notices(&self, directory: impl AsRef<Path>) -> Result<Vec<Notice>> {
        let files = self.locate(directory.as_ref())?;
        let (path, config) = (files.config_path(), files.config()?);
        let architecture = Architecture::from_config(&path, &config)?;
        let mut read = Read::of(&files, &architecture, Purpose::Encode)?;
        self.apply_to(&mut read, &architecture, &path, &config)?;
        Ok(read.notices)
    }

    /// The files of a model directory.
    pub(crate) fn locate(&self, directory: &Path) -> Result<ModelFiles> {
        ModelFiles::locate(directory, self.base.as_deref(), &self.ignore_settings)
    }

    /// Puts the caller's word in place of what was read, and tells the reasons for notices that this answers.
    pub(crate) fn apply_to(
        &self,
        read: &mut Read,
        architecture: &Architecture,
        path: &Path,
        config: &Value,
    ) -> Result<()> {
        self.apply(&mut read.settings, architecture, path, config)?;
        let given = [
            ("max_length", self.max_length.is_some()),
            ("pooling", self.pooling.is_some()),
            ("truncate_dim", self.truncate_dim.is_some()),
            ("query_prompt", self.query_prompt.is_some()),
            ("passage_prompt", self.passage_prompt.is_some()),
        ];
        for (setting, _) in given.iter().filter(|(_, is_given)| *is_given) {
            read.sources.insert(setting, "an option".to_owned());
        }
        // Who names the pooling, or a prompt, needs not be told what would be assumed.
        let answered = |notice: &Notice| {
            self.pooling.is_some() && notice.text.contains("--pooling")
                || self.passage_prompt.is_some() && notice.text.contains("--passage-prompt")
        };
        read.notices.retain(|notice| !answered(notice));
        match read.notices.first() {
            Some(notice) if self.strict => Err(Error::Assumed { notice: notice.clone() }),
            _ => Ok(()),
        }
    }

    /// Puts the caller's word in place of the directory's, whose config.json is at `path`.
    fn apply(
        &self,
        settings: &mut EncoderSettings,
        architecture: &Architecture,
        path: &Path,
        config: &Value,
    ) -> Result<()> {
        if let Some(max_length) = self.max_length {
            let limit = architecture.max_tokens().unwrap_or(usize::MAX).max(settings.max_length);
            if max_length == 0 || max_length > limit {
                return Err(Error::InvalidOption {
                    path: path.to_owned(),
                    option: "maximum length",
                    found: max_length,
                    expected: format!("1 to {limit}, the model's positions"),
                });
            }
            settings.max_length = max_length;
            for length in [&mut settings.query_length, &mut settings.passage_length] {
                *length = length.map(|length| length.min(max_length));
            }
        }
        if let Some(pooling) = self.pooling {
            settings.pooling = pooling.into();
        }
        if let Some(dim) = self.truncate_dim {
            matryoshka::check(path, config, dim, settings.whole_dim(architecture.hidden_size))?;
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
