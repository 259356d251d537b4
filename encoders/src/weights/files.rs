//! Where the files of a model lie: in its directory, or in an adapter's and its base's.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::weights::adapter::Adapter;

/// The directory of a model, or those of an adapter and of the model it was trained on.
pub(crate) struct ModelFiles {
    model: PathBuf,
    adapter: Option<PathBuf>,
}

impl ModelFiles {
    /// `base` is the model of an adapter, where the adapter's configuration does not name a directory that is there.
    pub(crate) fn locate(directory: &Path, base: Option<&Path>) -> Result<ModelFiles> {
        if !Adapter::is_in(directory) {
            if base.is_some() {
                return Err(Error::MissingFile {
                    directory: directory.to_owned(),
                    file: "adapter_config.json",
                    advice: "a base model goes with an adapter; leave it out for a whole model",
                });
            }
            return Ok(ModelFiles { model: directory.to_owned(), adapter: None });
        }
        let model = match base {
            Some(base) => Some(base.to_owned()),
            None => Adapter::base_directory(directory)?,
        };
        // Some put an adapter beside the weights it belongs to.
        let model = model.or_else(|| directory.join("config.json").exists().then(|| directory.to_owned()));
        let model = model.ok_or_else(|| Error::MissingFile {
            directory: directory.to_owned(),
            file: "base model",
            advice: "its base_model_name_or_path is not a model directory here; give the base model's directory",
        })?;
        Ok(ModelFiles { model, adapter: Some(directory.to_owned()) })
    }

    /// The directory with the weights.
    pub(crate) fn model(&self) -> &Path {
        &self.model
    }

    /// The directory with the adapter.
    pub(crate) fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// The config.json that says what the model looks like.
    pub(crate) fn config(&self) -> Result<PathBuf> {
        let config = self.model.join("config.json");
        if config.exists() {
            return Ok(config);
        }
        Err(Error::MissingFile {
            directory: self.model.clone(),
            file: "config.json",
            advice: "give the path of a Hugging Face model directory",
        })
    }

    /// A file of the adapter's directory if it has one of that name, of the model's otherwise.
    pub(crate) fn find(&self, file: &str) -> PathBuf {
        let own = self.adapter.as_ref().map(|adapter| adapter.join(file)).filter(|path| path.exists());
        own.unwrap_or_else(|| self.model.join(file))
    }

    /// The directory with the tokenizer: its files belong together.
    pub(crate) fn tokenizer(&self) -> &Path {
        let own = self.adapter.as_deref().filter(|adapter| adapter.join("tokenizer.json").exists());
        own.unwrap_or(&self.model)
    }
}
