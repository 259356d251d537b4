//! What every kind of model loads before its weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::after_pooling::Finish;
use crate::architecture::{Architecture, NeuronMask, Remaining, int8};
use crate::error::{Error, Result};
use crate::fingerprint::{Fingerprint, FingerprintInput};
use crate::load_options::LoadOptions;
use crate::notice::Notice;
use crate::remembered::FingerprintFile;
use crate::settings::{EncoderSettings, Purpose, Read};
use crate::tokenize::Tokenizer;
use crate::weights::adapted::Adapted;
use crate::weights::adapter::Adapter;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::ModelFiles;
use crate::weights::narrowed::Narrowed;
use crate::weights::quantizing::Quantized;
use crate::weights::tensors::Tensors;

/// The parts of a model directory, or of an adapter's and its base's.
pub(crate) struct Loaded {
    pub(crate) files: ModelFiles,
    pub(crate) config_path: PathBuf,
    pub(crate) config: Value,
    pub(crate) settings: EncoderSettings,
    pub(crate) tensors: Box<dyn Tensors>,
    pub(crate) architecture: Architecture,
    /// Of what is loaded from it: as its files say, until [`computed_in`](Fingerprint::computed_in) says otherwise.
    pub(crate) fingerprint: Fingerprint,
    /// What is done with pooled vectors.
    pub(crate) finish: Finish,
    /// What was assumed.
    pub(crate) notices: Vec<Notice>,
    /// Where the fingerprint in f32 and what was packed are kept once all that is read was found in order.
    pub(crate) place: Option<FingerprintFile>,
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
        Weights::of_files(ModelFiles::locate(directory, base, &[])?)
    }

    /// The same of files that were located.
    pub(crate) fn of_files(files: ModelFiles) -> Result<Weights> {
        let (config_path, mut config) = (files.config_path(), files.config()?);
        let mut architecture = Architecture::from_config(&config_path, &config)?;
        let checkpoint = Checkpoint::new(files.shards()?);
        if !checkpoint.is_quantized()
            && let Some(object) = config.as_object_mut()
        {
            // Of 8 bits nothing is left when they have been read, nor in what is written.
            object.shift_remove("quantization_config");
        }
        let open = |directory| Adapter::open_without(directory, &mut architecture, files.ignored());
        let adapter = files.adapter().map(open).transpose()?;
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
    pub(crate) fn open(directory: &Path, options: &LoadOptions, purpose: Purpose) -> Result<Loaded> {
        Loaded::of_files(options.locate(directory)?, options, purpose, None)
    }

    /// `cache` has the fingerprints of models that were loaded whole before: see [`LoadOptions::cache`].
    pub(crate) fn of_files(
        files: ModelFiles,
        options: &LoadOptions,
        purpose: Purpose,
        cache: Option<&Path>,
    ) -> Result<Loaded> {
        let Weights { files, config_path, config, checkpoint, adapter, architecture } =
            Weights::of_files(files)?;
        let mut read = Read::of(&files, &architecture, purpose)?;
        options.apply_to(&mut read, &architecture, &config_path, &config)?;
        let Read { settings, notices, .. } = read;
        let finish = Finish::load(&files, &settings.modules)?;
        if options.quantize.is_some() && int8::is_in(&config) {
            return Err(Error::InvalidField {
                path: config_path,
                field: "quantization_config".to_owned(),
                found: "that of a model in 8 bits".to_owned(),
                expected:
                    "none, to quantize to 4 bits: take the model that it was made from, or do not quantize"
                        .to_owned(),
            });
        }
        let quantization = options.quantize.filter(|_| !checkpoint.is_quantized());
        let parts = FingerprintInput {
            files: &files,
            settings: &settings,
            stored: checkpoint.shards(),
            adapter: adapter.as_ref(),
            finish: &finish,
            quantization,
        };
        let place = match cache {
            Some(folder) => Fingerprint::key(&parts, purpose)?.map(|key| FingerprintFile::new(folder, &key)),
            None => None,
        };
        let remembered = place.as_ref().and_then(FingerprintFile::read);
        let is_remembered = remembered.is_some();
        let fingerprint = remembered.map_or_else(|| Fingerprint::of(&parts), Ok)?;
        let place = place.map(|place| place.of(fingerprint));
        let checkpoint = checkpoint.checked(is_remembered);
        let mut tensors = merged(checkpoint, adapter, &architecture)?;
        if let Some(quantization) = quantization {
            tensors = Box::new(Quantized::new(tensors, quantization));
        }
        Ok(Loaded {
            files,
            config_path,
            config,
            settings,
            tensors,
            architecture,
            fingerprint,
            place,
            finish,
            notices,
        })
    }

    /// The tokenizer that goes with it.
    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::load(&self.files, &self.config, self.settings.reading(self.architecture.vocab_size))
    }

    /// Leaves only what remains, of which the fingerprint then is.
    pub(crate) fn keep(&mut self, remaining: &Remaining) {
        if *remaining != self.architecture.remaining() {
            self.fingerprint = self.fingerprint.without(&remaining.losses_of(&self.architecture));
            self.architecture = self.architecture.keep(remaining);
        }
    }

    /// The same, without the masked neurons of the MLPs that remain.
    pub(crate) fn prune(mut self, remaining: &Remaining, mask: &NeuronMask) -> Result<Loaded> {
        mask.check(&self.config_path, &self.architecture)?;
        if mask.sparsity() > 0.0 {
            self.refuse_quantized()?;
            self.tensors = Box::new(Narrowed::new(self.tensors, mask, &self.architecture));
            let neurons = serde_json::to_string(mask).expect("a mask can be written as JSON");
            self.fingerprint = self.fingerprint.without(&neurons);
        }
        self.keep(&mask.within(remaining));
        Ok(self)
    }

    /// Neurons are not taken from quantized weights.
    pub(crate) fn refuse_quantized(&self) -> Result<()> {
        match self.tensors.is_quantized() {
            false => Ok(()),
            true => Err(Error::InvalidField {
                path: self.config_path.clone(),
                field: "quantization_config".to_owned(),
                found: "that of a quantized model".to_owned(),
                expected: "none: narrow the model that it was made from, then quantize".to_owned(),
            }),
        }
    }
}
