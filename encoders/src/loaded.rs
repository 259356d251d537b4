//! What every kind of model loads before its weights.

use std::path::{Path, PathBuf};

use crate::architecture::Architecture;
use crate::encoder::LoadOptions;
use crate::error::Result;
use crate::settings::Settings;
use crate::tokenize::Tokenizer;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::files::ModelFiles;

/// The parts of a model directory, or of an adapter's and its base's.
pub(crate) struct Loaded {
    pub(crate) files: ModelFiles,
    pub(crate) settings: Settings,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) architecture: Architecture,
}

/// What a model is called unless it is given a name: the name of its directory.
pub(crate) fn name_of(directory: &Path) -> String {
    let resolved = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    resolved.file_name().unwrap_or(directory.as_os_str()).to_string_lossy().into_owned()
}

/// The weights of a model directory, or of an adapter's and its base's, and what they are to be.
pub(crate) struct Weights {
    pub(crate) files: ModelFiles,
    /// The config.json.
    pub(crate) config: PathBuf,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) architecture: Architecture,
}

impl Weights {
    /// `base` is the directory of an adapter's base, where its configuration does not name one that is there.
    pub(crate) fn open(directory: &Path, base: Option<&Path>) -> Result<Weights> {
        let files = ModelFiles::locate(directory, base)?;
        let config = files.config()?;
        let mut architecture = Architecture::read(&config)?;
        let mut checkpoint = Checkpoint::open(files.model())?;
        if let Some(adapter) = files.adapter() {
            checkpoint = checkpoint.with_adapter(adapter, &mut architecture)?;
        }
        Ok(Weights { files, config, checkpoint, architecture })
    }
}

impl Loaded {
    pub(crate) fn open(directory: &Path, options: &LoadOptions) -> Result<Loaded> {
        let Weights { files, config, checkpoint, architecture } =
            Weights::open(directory, options.base.as_deref())?;
        let mut settings = Settings::read(&files, &architecture)?;
        options.apply(&mut settings, &architecture, &config)?;
        let checkpoint = checkpoint.quantized(options.quantize);
        let tokenizer = Tokenizer::load(
            files.tokenizer(),
            settings.max_length,
            architecture.vocab_size,
            settings.lower_case,
        )?;
        Ok(Loaded { files, settings, tokenizer, checkpoint, architecture })
    }
}
