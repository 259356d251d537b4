//! What every kind of model loads before its weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::architecture::{Architecture, Remaining};
use crate::error::Result;
use crate::fingerprint::{Fingerprint, Parts};
use crate::load_options::LoadOptions;
use crate::remembered::Place;
use crate::settings::Settings;
use crate::tokenize::Tokenizer;
use crate::weights::adapted::Adapted;
use crate::weights::adapter::Adapter;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::ModelFiles;
use crate::weights::quantizing::Quantized;
use crate::weights::tensors::Tensors;

/// The parts of a model directory, or of an adapter's and its base's.
pub(crate) struct Loaded {
    pub(crate) files: ModelFiles,
    pub(crate) config_path: PathBuf,
    pub(crate) config: Value,
    pub(crate) settings: Settings,
    pub(crate) tensors: Box<dyn Tensors>,
    pub(crate) architecture: Architecture,
    /// Of an encoder that is loaded from it in f32.
    pub(crate) fingerprint: Fingerprint,
    /// Where the fingerprint is to be kept once all that is read was found in order.
    pub(crate) to_remember: Option<Place>,
}

/// What a model is called unless it is given a name: the name of its directory.
pub(crate) fn name_of(directory: &Path) -> String {
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    resolved.file_name().unwrap_or(directory.as_os_str()).to_string_lossy().into_owned()
}

/// The weights of a model directory, or of an adapter's and its base's, and what they are to be.
pub(crate) struct Weights {
    pub(crate) files: ModelFiles,
    pub(crate) config_path: PathBuf,
    /// The config.json.
    pub(crate) config: Value,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) architecture: Architecture,
}

impl Weights {
    /// `base` is the directory of an adapter's base, needed if the adapter's configuration does not name an existing
    /// one.
    pub(crate) fn open(directory: &Path, base: Option<&Path>) -> Result<Weights> {
        Weights::of_files(ModelFiles::locate(directory, base)?)
    }

    fn of_files(files: ModelFiles) -> Result<Weights> {
        let (config_path, config) = (files.config_path(), files.config()?);
        let mut architecture = Architecture::from_config(&config_path, &config)?;
        let checkpoint = Checkpoint::new(files.shards()?);
        let adapter = files.adapter().map(|adapter| Adapter::open(adapter, &mut architecture)).transpose()?;
        Ok(Weights { files, config_path, config, checkpoint, adapter, architecture })
    }
}

/// The tensors of a checkpoint, with the adapter merged into them where there is one.
///
/// # Errors
///
/// The adapter does not fit.
pub(crate) fn merged(
    checkpoint: Checkpoint,
    adapter: Option<Adapter>,
    architecture: &Architecture,
) -> Result<Box<dyn Tensors>> {
    Ok(match adapter {
        Some(adapter) => Box::new(Adapted::new(Box::new(checkpoint), adapter, architecture)?),
        None => Box::new(checkpoint),
    })
}

impl Loaded {
    pub(crate) fn open(directory: &Path, options: &LoadOptions) -> Result<Loaded> {
        Loaded::of_files(ModelFiles::locate(directory, options.base.as_deref())?, options, None)
    }

    /// `cache` has the fingerprints of encoders that were loaded whole before: see [`LoadOptions::cache`].
    pub(crate) fn of_files(files: ModelFiles, options: &LoadOptions, cache: Option<&Path>) -> Result<Loaded> {
        let Weights { files, config_path, config, checkpoint, adapter, architecture } =
            Weights::of_files(files)?;
        let mut settings = Settings::read(&files, &architecture)?;
        options.apply(&mut settings, &architecture, &config_path, &config)?;
        let quantization = options.quantize.filter(|_| !checkpoint.is_quantized());
        let parts = Parts {
            files: &files,
            settings: &settings,
            stored: checkpoint.shards(),
            adapter: adapter.as_ref(),
            quantization,
        };
        let mut to_remember = match cache {
            Some(folder) => Fingerprint::key(&parts)?.map(|key| Place::new(folder, &key)),
            None => None,
        };
        let remembered = to_remember.as_ref().and_then(Place::read);
        let fingerprint = match remembered {
            Some(fingerprint) => {
                to_remember = None;
                fingerprint
            }
            None => Fingerprint::of(&parts)?,
        };
        let checkpoint = checkpoint.checked(remembered.is_some());
        let mut tensors = merged(checkpoint, adapter, &architecture)?;
        if let Some(quantization) = quantization {
            tensors = Box::new(Quantized::new(tensors, quantization));
        }
        Ok(Loaded { files, config_path, config, settings, tensors, architecture, fingerprint, to_remember })
    }

    /// The tokenizer that goes with it.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        let Settings { max_length, lower_case, .. } = self.settings;
        Tokenizer::load(&self.files.tokenizer(), max_length, self.architecture.vocab_size, lower_case)
    }

    /// Leaves only what remains, of which the fingerprint then is.
    pub(crate) fn keep(&mut self, remaining: &Remaining) {
        if *remaining != self.architecture.remaining() {
            self.fingerprint = self.fingerprint.without(&remaining.losses_of(&self.architecture));
            self.architecture = self.architecture.keep(remaining);
        }
    }
}
