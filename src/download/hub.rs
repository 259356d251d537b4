//! Models of the Hugging Face hub, in the cache that Python's huggingface_hub reads and writes:
//!
//! ```text
//! CACHE/models--OWNER--NAME/refs/REVISION            the commit that a branch or tag stands for
//!                           snapshots/COMMIT/FILE    links into blobs
//!                           blobs/ID                 contents, under their git or SHA-256 id
//!                           .no_exist/COMMIT/FILE    empty: the commit is known not to have the file
//! ```

use std::path::{Path, PathBuf};

use secateur::encoders::TOKENIZER_FILES;
use secateur_files::{AtPath, Durable, PathError, disk};
use serde::Deserialize;
use sha2::Sha256;

use super::beir::lock;
use super::checksum;
use super::config::HubConfig;
use super::error::DownloadError;
use super::fetch::{Fetcher, Progress};

/// Finds the model `OWNER/NAME` or `OWNER/NAME@REVISION` in the cache or downloads it, and returns its directory.
///
/// A revision that is whole in the cache is used without the network. So a branch stays at the commit that was
/// fetched; to update it, remove its file in `refs`. `progress` gets the name of each downloaded file.
pub fn resolve_model(
    id: &str,
    config: &HubConfig,
    fetcher: &Fetcher,
    progress: &mut dyn FnMut(&str, Progress),
) -> Result<PathBuf, DownloadError> {
    let model = Model::parse(id, &config.cache_dir)?;
    let cached = model.cached_commit().map(|commit| (model.snapshot(&commit), commit));
    if let Some((snapshot, commit)) = &cached
        && is_usable(snapshot)
        && (config.offline || model.is_whole(commit))
    {
        return Ok(snapshot.clone());
    }
    if config.offline {
        return Err(DownloadError::Offline { id: id.to_owned(), looked_in: model.folder });
    }
    match model.download(config, fetcher, progress) {
        // Without a network, what suffices offline suffices here.
        Err(error @ DownloadError::Network { .. }) => match cached {
            Some((snapshot, _)) if is_usable(&snapshot) => Ok(snapshot),
            // The name was found, and a download broke.
            _ if model.folder.exists() => Err(error),
            _ => {
                let looked_in = model.folder.clone();
                Err(DownloadError::Unreachable { id: id.to_owned(), looked_in, source: Box::new(error) })
            }
        },
        result => result,
    }
}

/// A model and a revision of it.
struct Model {
    /// As the user wrote it.
    id: String,
    /// `OWNER/NAME`.
    repository: String,
    revision: String,
    /// Its folder in the cache.
    folder: PathBuf,
    locks: PathBuf,
}

/// The hub's description of a revision.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
}

impl Model {
    fn parse(id: &str, cache_dir: &Path) -> Result<Self, DownloadError> {
        let (repository, revision) = id.split_once('@').unwrap_or((id, "main"));
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() > 2 || !parts.iter().copied().all(is_plain) || !revision.split('/').all(is_plain) {
            return Err(DownloadError::BadModelId { id: id.to_owned() });
        }
        let name = format!("models--{}", parts.join("--"));
        Ok(Model {
            id: id.to_owned(),
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            folder: cache_dir.join(&name),
            locks: cache_dir.join(".locks").join(name),
        })
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn cached_commit(&self) -> Option<String> {
        if self.snapshot(&self.revision).is_dir() {
            return Some(self.revision.clone());
        }
        let commit = std::fs::read_to_string(self.folder.join("refs").join(&self.revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_plain(commit))
    }

    /// Whether the snapshot holds all files that say how the model is used. Other tools may have fetched the bare
    /// transformer without the sentence-transformers files, and then pooling would be wrong.
    fn is_whole(&self, commit: &str) -> bool {
        let snapshot = self.snapshot(commit);
        let has = |file: &str| snapshot.join(file).is_file();
        let absent = |file: &str| self.folder.join(".no_exist").join(commit).join(file).is_file();
        SETTINGS.iter().all(|file| has(file) || absent(file)) && modules_are_there(&snapshot)
    }

    fn download(
        &self,
        config: &HubConfig,
        fetcher: &Fetcher,
        progress: &mut dyn FnMut(&str, Progress),
    ) -> Result<PathBuf, DownloadError> {
        let token = config.token.as_deref();
        // One segment of the address; nothing else in a revision needs encoding, see is_plain.
        let revision = self.revision.replace('/', "%2F");
        let url =
            format!("{}/api/models/{}/revision/{revision}?blobs=true", config.endpoint, self.repository);
        let text = fetcher.text(&url, token)?;
        let misunderstood = |reason| DownloadError::BadListing { url: url.clone(), reason };
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|_| misunderstood("it is not the JSON that the hub sends"))?;
        let commit = listing.sha.as_str();
        if !is_plain(commit) {
            return Err(misunderstood("its commit is not a hash"));
        }
        let mut files: Vec<&ListedFile> =
            listing.siblings.iter().filter(|file| is_wanted(&file.rfilename)).collect();
        let has = |folder: &str, ending: &str| {
            listing.siblings.iter().any(|file| {
                file.rfilename.rsplit_once('/').map_or("", |(folder, _)| folder) == folder
                    && file.rfilename.ends_with(ending)
            })
        };
        // Pickles are fetched only where there is nothing better.
        files.retain(|file| {
            let folder = file.rfilename.rsplit_once('/').map_or("", |(folder, _)| folder);
            !is_pickle(&file.rfilename) || !has(folder, ".safetensors")
        });
        if !files.iter().any(|file| is_weights(&file.rfilename)) {
            return Err(DownloadError::NoWeights { id: self.id.clone() });
        }

        disk::create_folders(&self.locks)?;
        let _lock = lock(&self.locks.join("secateur.lock"))?;
        let blobs = self.folder.join("blobs");
        disk::create_folders(&blobs)?;
        let snapshot = self.snapshot(commit);
        for file in files {
            let pointer = snapshot.join(&file.rfilename);
            if pointer.is_file() {
                continue;
            }
            let blob_id = file.blob_id(commit);
            if !is_plain(&blob_id) {
                return Err(misunderstood("the id of a file is not a hash"));
            }
            let blob = blobs.join(&blob_id);
            if !blob.is_file() {
                let url =
                    format!("{}/{}/resolve/{commit}/{}", config.endpoint, self.repository, file.rfilename);
                // Only a file that was checked gets the blob's name, where every tool trusts it.
                let unchecked = blobs.join(format!("{blob_id}.unchecked"));
                fetcher.file(&url, token, &unchecked, &mut |step| progress(&file.rfilename, step))?;
                file.check(&unchecked, &url)?;
                disk::rename(&unchecked, &blob)?;
                disk::sync_name(&blob)?;
            }
            link(&blob, &pointer, Path::new(&file.rfilename))?;
        }
        for file in SETTINGS {
            if !listing.siblings.iter().any(|listed| listed.rfilename == file) {
                write_file(&self.folder.join(".no_exist").join(commit).join(file), b"")?;
            }
        }
        // Last, so that a branch never stands for a snapshot that is not whole.
        if self.revision != commit {
            write_file(&self.folder.join("refs").join(&self.revision), commit.as_bytes())?;
        }
        Ok(snapshot)
    }
}

impl ListedFile {
    /// The name of the content: its SHA-256 if the hub stores it outside of git, or else its git id.
    fn blob_id(&self, commit: &str) -> String {
        match (&self.lfs, &self.blob_id) {
            (Some(large), _) => large.sha256.clone(),
            (None, Some(id)) => id.clone(),
            // Mirrors may leave the ids out; this one is unique too.
            (None, None) => format!("{commit}-{}", self.rfilename.replace('/', "-")),
        }
    }

    /// Compares a downloaded file with the listing; a file that differs is removed.
    fn check(&self, path: &Path, url: &str) -> Result<(), DownloadError> {
        let (algorithm, expected, got) = match (&self.lfs, self.size) {
            (Some(large), _) => {
                let got = checksum::of_file::<Sha256>(path).at("read", path)?;
                ("sha256", large.sha256.clone(), got)
            }
            (None, Some(size)) => {
                let got = std::fs::metadata(path).at("read", path)?.len();
                ("size in bytes", size.to_string(), got.to_string())
            }
            (None, None) => return Ok(()),
        };
        if got == expected {
            return Ok(());
        }
        disk::remove_file(path)?;
        Err(DownloadError::Checksum { url: url.to_owned(), algorithm, expected, got })
    }
}

/// The files beside the transformer that change its vectors.
const SETTINGS: [&str; 4] = [
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
];

/// Whether an encoder, or an adapter to one, could be loaded from the snapshot.
fn is_usable(snapshot: &Path) -> bool {
    let has = |file: &str| snapshot.join(file).is_file();
    let is_adapter =
        has("adapter_config.json") && (has("adapter_model.safetensors") || has("adapter_model.bin"));
    // The first versions of sentence-transformers gave the transformer a folder of its own.
    is_adapter || [snapshot.to_owned(), snapshot.join("0_Transformer")].iter().any(|folder| is_model(folder))
}

fn is_model(folder: &Path) -> bool {
    let has_tokenizer = TOKENIZER_FILES.iter().any(|file| folder.join(file).is_file());
    folder.join("config.json").is_file() && has_tokenizer && weights_are_there(folder)
}

fn weights_are_there(snapshot: &Path) -> bool {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    if ["model.safetensors", "pytorch_model.bin"].iter().any(|file| snapshot.join(file).is_file()) {
        return true;
    }
    ["model.safetensors.index.json", "pytorch_model.bin.index.json"].iter().any(|index| {
        read_json::<Index>(&snapshot.join(index))
            .is_some_and(|index| index.weight_map.values().all(|shard| snapshot.join(shard).is_file()))
    })
}

/// Whether the folders that `modules.json` names are there; a normalization has none.
fn modules_are_there(snapshot: &Path) -> bool {
    #[derive(Deserialize)]
    struct Module {
        #[serde(default)]
        path: String,
        #[serde(rename = "type", default)]
        kind: String,
    }
    if !snapshot.join("modules.json").is_file() {
        return true;
    }
    read_json::<Vec<Module>>(&snapshot.join("modules.json")).is_some_and(|modules| {
        modules.iter().all(|module| {
            module.path.is_empty()
                || module.kind.ends_with(".Normalize")
                || snapshot.join(&module.path).join("config.json").is_file()
        })
    })
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Whether a file of the repository belongs to a model directory: settings, tokenizer and safetensors weights of the
/// model and of its numbered sentence-transformers modules. Other formats of the weights do not.
fn is_wanted(file: &str) -> bool {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let is_module = folder.split_once('_').is_some_and(|(number, kind)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && is_plain(kind)
    });
    if !is_plain(name) || !(folder.is_empty() || is_module) {
        return false;
    }
    if is_weights(name) || name.ends_with(".json") {
        return true;
    }
    ["vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"].contains(&name)
}

/// Whether a file holds weights of the model: not those of other formats or libraries.
fn is_weights(file: &str) -> bool {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    match name.strip_suffix(".safetensors") {
        Some(stem) => ["model", "adapter_model"].contains(&stem) || stem.starts_with("model-"),
        None => is_pickle(file),
    }
}

/// The same in torch's own format.
fn is_pickle(file: &str) -> bool {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    name.strip_suffix(".bin").is_some_and(|stem| {
        ["pytorch_model", "adapter_model"].contains(&stem) || stem.starts_with("pytorch_model-")
    })
}

/// Whether a part of a path or address is a plain name: no separators, no way up, nothing to be encoded.
fn is_plain(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed)
}

/// Writes a small file, and the folders that it lies in.
fn write_file(path: &Path, content: &[u8]) -> Result<(), PathError> {
    disk::create_folders(disk::parent(path))?;
    Durable::write(path, |file| file.write_all(content))
}

/// Puts a blob into a snapshot: a relative link, so that the cache can be moved, or a copy where there are no links.
fn link(blob: &Path, pointer: &Path, file: &Path) -> Result<(), PathError> {
    disk::create_folders(disk::parent(pointer))?;
    #[cfg(unix)]
    {
        // From snapshots/COMMIT/FILE up to the model's folder: two steps, and one for each folder in FILE.
        let depth = file.components().count() + 1;
        let mut relative: PathBuf = std::iter::repeat_n("..", depth).collect();
        relative.push("blobs");
        relative.push(blob.file_name().unwrap_or_default());
        // A dangling link of an earlier, cleaned blob would be in the way.
        let _ = disk::remove_file(pointer);
        disk::link(&relative, pointer)?;
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        std::io::copy(&mut std::fs::File::open(blob).at("open", blob)?, &mut DiskFile::create(pointer)?)
            .at("write", pointer)?;
    }
    disk::sync_name(pointer)
}
