//! Where the files of a model lie: in its directory, in an adapter's and its base's, or in memory.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, PathError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::adapter::config::{self, Config};
use super::shards::{SINGLE_FILE, Shards};
use crate::error::{Error, Result};
use crate::json;

/// The files of a model, by name: those of a directory, or of an adapter's directory and of the model it was trained
/// on.
pub(crate) struct ModelFiles {
    model: Place,
    adapter: Option<PathBuf>,
}

/// A file of a model that is in the program: its name, and its bytes.
pub type ModelFile = (&'static str, &'static [u8]);

/// What holds files.
enum Place {
    Folder(PathBuf),
    /// What errors call it, and the files.
    Memory(PathBuf, &'static [ModelFile]),
}

impl Place {
    fn path(&self, file: &str) -> PathBuf {
        match self {
            Place::Folder(path) | Place::Memory(path, _) => path.join(file),
        }
    }

    fn contains(&self, file: &str) -> bool {
        match self {
            Place::Folder(_) => self.path(file).exists(),
            Place::Memory(_, parts) => parts.iter().any(|(name, _)| *name == file),
        }
    }

    fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Place::Memory(_, parts) => {
                Ok(parts.iter().find(|(name, _)| *name == file).map(|(_, bytes)| (*bytes).into()))
            }
            Place::Folder(_) if !self.contains(file) => Ok(None),
            Place::Folder(_) => {
                let path = self.path(file);
                Ok(Some(std::fs::read(&path).at("read", &path)?.into()))
            }
        }
    }
}

impl ModelFiles {
    /// `base` is the base model of an adapter, needed if the adapter's configuration does not name an existing
    /// directory.
    pub(crate) fn locate(directory: &Path, base: Option<&Path>) -> Result<ModelFiles> {
        if !directory.join(config::FILE).exists() {
            if base.is_some() {
                return Err(Error::MissingFile {
                    directory: directory.to_owned(),
                    file: config::FILE,
                    advice: "a base model goes with an adapter; leave it out for a whole model",
                });
            }
            return Ok(ModelFiles { model: Place::Folder(directory.to_owned()), adapter: None });
        }
        let model = match base {
            Some(base) => Some(base.to_owned()),
            None => Config::read(&directory.join(config::FILE))?.base_directory(directory),
        };
        // Some put an adapter beside the weights it belongs to.
        let model = model.or_else(|| directory.join("config.json").exists().then(|| directory.to_owned()));
        let model = model.ok_or_else(|| Error::MissingFile {
            directory: directory.to_owned(),
            file: "base model",
            advice: "its base_model_name_or_path is not a model directory here; give the base model's directory",
        })?;
        Ok(ModelFiles { model: Place::Folder(model), adapter: Some(directory.to_owned()) })
    }

    /// Files in memory; errors call the model `name`.
    pub(crate) fn in_memory(name: &str, parts: &'static [ModelFile]) -> ModelFiles {
        ModelFiles { model: Place::Memory(PathBuf::from(name), parts), adapter: None }
    }

    /// The directory with the adapter.
    pub(crate) fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// The weights, without the adapter's.
    pub(crate) fn shards(&self) -> Result<Shards> {
        match &self.model {
            Place::Folder(directory) => Shards::open(directory),
            Place::Memory(name, parts) => match parts.iter().find(|(file, _)| *file == SINGLE_FILE) {
                Some((file, bytes)) => Shards::in_memory(name.join(file), bytes),
                None => Err(Error::MissingFile {
                    directory: name.clone(),
                    file: SINGLE_FILE,
                    advice: "a model in memory has its weights in one file",
                }),
            },
        }
    }

    /// Whether there are weights that [`ModelFiles::shards`] would look at.
    pub(crate) fn has_weights(&self) -> bool {
        match &self.model {
            Place::Folder(directory) => Shards::are_in(directory),
            Place::Memory(..) => self.model.contains(SINGLE_FILE),
        }
    }

    /// The path of the config.json that says what the model looks like.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.model.path("config.json")
    }

    /// The bytes of the config.json.
    pub(crate) fn config_bytes(&self) -> Result<Cow<'static, [u8]>> {
        self.model.read("config.json")?.ok_or_else(|| Error::MissingFile {
            directory: self.directory(),
            file: "config.json",
            advice: "give the path of a Hugging Face model directory",
        })
    }

    /// The config.json, parsed.
    pub(crate) fn config(&self) -> Result<Value> {
        json::parse(&self.config_path(), &self.config_bytes()?)
    }

    /// A file of the adapter's directory if it has one of that name, of the model's otherwise.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        let own = self.adapter.as_ref().map(|adapter| adapter.join(file)).filter(|path| path.exists());
        own.unwrap_or_else(|| self.model.path(file))
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, file: &str) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.join(file).exists()) || self.model.contains(file)
    }

    /// Its bytes, `None` where there is no such file.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match &self.adapter {
            Some(adapter) if adapter.join(file).exists() => Place::Folder(adapter.clone()).read(file),
            _ => self.model.read(file),
        }
    }

    /// The same, parsed.
    pub(crate) fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        self.read(file)?.map(|bytes| json::parse(&self.path(file), &bytes)).transpose()
    }

    /// The same of a file that has to be there.
    pub(crate) fn required_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let absent = || PathError::new("read", self.path(file), std::io::ErrorKind::NotFound);
        Ok(self.json(file)?.ok_or_else(absent)?)
    }

    /// The tokenizer's files, which belong together: the adapter's if it has a tokenizer.json, the model's otherwise.
    pub(crate) fn tokenizer(&self) -> ModelFiles {
        let own = self.adapter.as_ref().filter(|adapter| adapter.join("tokenizer.json").exists());
        let place = match (own, &self.model) {
            (Some(adapter), _) => Place::Folder(adapter.clone()),
            (None, Place::Folder(model)) => Place::Folder(model.clone()),
            (None, Place::Memory(name, parts)) => Place::Memory(name.clone(), parts),
        };
        ModelFiles { model: place, adapter: None }
    }

    /// The directory of the model, or its name.
    pub(crate) fn directory(&self) -> PathBuf {
        match &self.model {
            Place::Folder(path) | Place::Memory(path, _) => path.clone(),
        }
    }
}
