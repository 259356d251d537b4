//! Where the files of a model lie: in its directory, in an adapter's and its base's, or in memory.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use secateur_files::{AtPath, PathError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::adapter::config::{self, Config};
use super::shards::{SINGLE_FILE, Shards};
use crate::error::{Error, Result};
use crate::json;

/// The files of a model, by name: those of a directory, or of an adapter's directory and of the model it was trained
/// on.
pub(crate) struct ModelFiles {
    /// Where the transformer is.
    model: FileStore,
    /// The folder that modules.json is in, where the transformer has one of its own below it, and that one's name.
    above: Option<(PathBuf, String)>,
    adapter: Option<PathBuf>,
    /// Settings that are to be read as if they were not there.
    ignored: Vec<String>,
}

/// An entry of modules.json, as sentence-transformers writes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Module {
    /// The folder of the module; empty for the directory itself.
    #[serde(default)]
    pub(crate) path: String,
    /// A Python path, whose last part names the module.
    pub(crate) r#type: String,
}

impl Module {
    /// What it is: "Transformer", "Pooling".
    pub(crate) fn name(&self) -> &str {
        self.r#type.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is the transformer. The first versions of sentence-transformers had a class for each family.
    pub(crate) fn is_transformer(&self) -> bool {
        ["Transformer", "BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet"]
            .contains(&self.name())
    }

    /// Its folder, without a slash or dot that says nothing.
    pub(crate) fn folder(&self) -> &str {
        match self.path.trim_end_matches('/') {
            "." => "",
            path => path.strip_prefix("./").unwrap_or(path),
        }
    }
}

/// A file of a model that is in the program: its name, and its bytes.
pub type ModelFile = (&'static str, &'static [u8]);

/// What holds files.
enum FileStore {
    Folder(PathBuf),
    /// What errors call it, and the files.
    Memory(PathBuf, &'static [ModelFile]),
}

impl FileStore {
    fn path(&self, file: &str) -> PathBuf {
        match self {
            FileStore::Folder(path) | FileStore::Memory(path, _) => path.join(file),
        }
    }

    fn contains(&self, file: &str) -> bool {
        match self {
            FileStore::Folder(_) => self.path(file).exists(),
            FileStore::Memory(_, parts) => parts.iter().any(|(name, _)| *name == file),
        }
    }

    fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            FileStore::Memory(_, parts) => {
                Ok(parts.iter().find(|(name, _)| *name == file).map(|(_, bytes)| (*bytes).into()))
            }
            FileStore::Folder(_) if !self.contains(file) => Ok(None),
            FileStore::Folder(_) => {
                let path = self.path(file);
                Ok(Some(std::fs::read(&path).at("read", &path)?.into()))
            }
        }
    }
}

impl ModelFiles {
    /// `base` is the base model of an adapter, needed if the adapter's configuration does not name an existing
    /// directory. `ignored` are settings to read as if they were not there.
    pub(crate) fn locate(directory: &Path, base: Option<&Path>, ignored: &[String]) -> Result<ModelFiles> {
        if !directory.exists() {
            return Err(Error::NoDirectory { path: directory.to_owned() });
        }
        if !directory.join(config::FILE).exists() {
            if base.is_some() {
                return Err(Error::MissingFile {
                    directory: directory.to_owned(),
                    file: config::FILE,
                    advice: "a base model goes with an adapter; leave it out for a whole model",
                });
            }
            return ModelFiles::of_folder(directory, None, ignored);
        }
        let model = match base {
            Some(base) => Some(base.to_owned()),
            None => Config::read(directory, ignored)?.base_directory(directory),
        };
        // Some put an adapter beside the weights it belongs to.
        let model = model.or_else(|| directory.join("config.json").exists().then(|| directory.to_owned()));
        let model = model.ok_or_else(|| Error::MissingFile {
            directory: directory.to_owned(),
            file: "base model",
            advice: "its base_model_name_or_path is not a model directory here; give the base model's directory",
        })?;
        ModelFiles::of_folder(&model, Some(directory.to_owned()), ignored)
    }

    fn of_folder(folder: &Path, adapter: Option<PathBuf>, ignored: &[String]) -> Result<ModelFiles> {
        let place = FileStore::Folder(folder.to_owned());
        let modules: Option<Vec<Module>> = place
            .read(MODULES_FILE)?
            .map(|bytes| json::parse(&place.path(MODULES_FILE), &bytes))
            .transpose()?;
        let transformer = modules.iter().flatten().find(|module| module.is_transformer());
        let above = transformer.map(Module::folder).filter(|name| !name.is_empty() && is_below(name));
        let (model, above) = match above {
            Some(name) => (FileStore::Folder(folder.join(name)), Some((folder.to_owned(), name.to_owned()))),
            None => (place, None),
        };
        Ok(ModelFiles { model, above, adapter, ignored: ignored.to_vec() })
    }

    /// Files in memory; errors call the model `name`.
    pub(crate) fn in_memory(name: &str, parts: &'static [ModelFile], ignored: &[String]) -> ModelFiles {
        let model = FileStore::Memory(PathBuf::from(name), parts);
        ModelFiles { model, above: None, adapter: None, ignored: ignored.to_vec() }
    }

    /// The directory with the adapter.
    pub(crate) fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// Settings that are read as if they were not there.
    pub(crate) fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The folder of the transformer below that of modules.json, where it has one of its own.
    pub(crate) fn transformer_folder(&self) -> Option<&str> {
        self.above.as_ref().map(|(_, name)| name.as_str())
    }

    /// The weights, without the adapter's.
    pub(crate) fn shards(&self) -> Result<Shards> {
        match &self.model {
            FileStore::Folder(directory) => Shards::open(directory),
            FileStore::Memory(name, parts) => match parts.iter().find(|(file, _)| *file == SINGLE_FILE) {
                Some((file, bytes)) => Shards::in_memory(name.join(file), bytes),
                None => Err(Error::MissingFile {
                    directory: name.clone(),
                    file: SINGLE_FILE,
                    advice: "a model in memory has its weights in one file",
                }),
            },
        }
    }

    /// The weights of a module of sentence-transformers, in its folder.
    pub(crate) fn module_shards(&self, folder: &str) -> Result<Shards> {
        match &self.model {
            FileStore::Folder(_) => Shards::open(&self.folder_of(folder)),
            FileStore::Memory(name, parts) => {
                let file = format!("{folder}/{SINGLE_FILE}");
                match parts.iter().find(|(part, _)| *part == file) {
                    Some((_, bytes)) => Shards::in_memory(name.join(&file), bytes),
                    None => Err(Error::MissingFile {
                        directory: name.join(folder),
                        file: SINGLE_FILE,
                        advice: "a module in memory has its weights in one file",
                    }),
                }
            }
        }
    }

    fn folder_of(&self, folder: &str) -> PathBuf {
        let root = self.above.as_ref().map_or_else(|| self.directory(), |(root, _)| root.clone());
        let own = self.adapter.as_ref().map(|adapter| adapter.join(folder)).filter(|path| path.exists());
        own.unwrap_or_else(|| root.join(folder))
    }

    /// Whether there are weights that [`ModelFiles::shards`] would look at.
    pub(crate) fn has_weights(&self) -> bool {
        match &self.model {
            FileStore::Folder(directory) => Shards::are_in(directory),
            FileStore::Memory(..) => self.model.contains(SINGLE_FILE),
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
        json::parse_without(&self.config_path(), &self.config_bytes()?, &self.ignored)
    }

    /// A file of the adapter's directory if it has one of that name, of the model's otherwise.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        let own = self.adapter.as_ref().map(|adapter| adapter.join(file)).filter(|path| path.exists());
        let above = || {
            let (root, _) = self.above.as_ref()?;
            (!self.model.contains(file)).then(|| root.join(file))
        };
        own.or_else(above).unwrap_or_else(|| self.model.path(file))
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, file: &str) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.join(file).exists())
            || self.model.contains(file)
            || self.above.as_ref().is_some_and(|(root, _)| root.join(file).exists())
    }

    /// Its bytes, `None` where there is no such file.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match (&self.adapter, &self.above) {
            (Some(adapter), _) if adapter.join(file).exists() => {
                FileStore::Folder(adapter.clone()).read(file)
            }
            (_, Some((root, _))) if !self.model.contains(file) => FileStore::Folder(root.clone()).read(file),
            _ => self.model.read(file),
        }
    }

    /// The same, parsed, without the settings to ignore.
    pub(crate) fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>> {
        self.read(file)?.map(|bytes| json::parse_without(&self.path(file), &bytes, &self.ignored)).transpose()
    }

    /// The same of a file that has to be there.
    pub(crate) fn required_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let absent = || PathError::new("read", self.path(file), std::io::ErrorKind::NotFound);
        Ok(self.json(file)?.ok_or_else(absent)?)
    }

    /// The modules of sentence-transformers, if the directory says which there are.
    pub(crate) fn modules(&self) -> Result<Option<Vec<Module>>> {
        self.json(MODULES_FILE)
    }

    /// The tokenizer's files, which belong together: the adapter's if it has a tokenizer, the model's otherwise.
    pub(crate) fn tokenizer(&self) -> ModelFiles {
        let has_tokenizer =
            |adapter: &&PathBuf| TOKENIZER_FILES.iter().any(|file| adapter.join(file).exists());
        let own = self.adapter.as_ref().filter(has_tokenizer);
        let place = match (own, &self.model) {
            (Some(adapter), _) => FileStore::Folder(adapter.clone()),
            (None, FileStore::Folder(model)) => FileStore::Folder(model.clone()),
            (None, FileStore::Memory(name, parts)) => FileStore::Memory(name.clone(), parts),
        };
        ModelFiles { model: place, above: None, adapter: None, ignored: self.ignored.clone() }
    }

    /// Whether there is a tokenizer, in any form.
    pub(crate) fn has_tokenizer(&self) -> bool {
        TOKENIZER_FILES.iter().any(|file| self.contains(file))
    }

    /// The directory of the model, or its name.
    pub(crate) fn directory(&self) -> PathBuf {
        match &self.model {
            FileStore::Folder(path) | FileStore::Memory(path, _) => path.clone(),
        }
    }
}

/// Whether a folder that a file names lies below that file's own.
pub(crate) fn is_below(folder: &str) -> bool {
    Path::new(folder).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The modules of sentence-transformers.
pub(crate) const MODULES_FILE: &str = "modules.json";

/// Its prompts and similarity.
pub(crate) const PROMPTS_FILE: &str = "config_sentence_transformers.json";

/// What sentence_bert_config.json has been called, in the order in which they are looked for.
pub(crate) const TRANSFORMER_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The files that a tokenizer can be made of: one of them is enough, or two that belong together.
pub const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "spiece.model",
];
