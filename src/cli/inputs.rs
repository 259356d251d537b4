//! What a data set is called on the command line.

use std::path::{Path, PathBuf};

use secateur::datasets::beir::BeirFolder;
use secateur::datasets::known_datasets;

use super::failure::{Code, Failure, Result};
use crate::download::{DownloadError, HubConfig};

/// Where downloaded data sets are kept: `$SECATEUR_CACHE/datasets`, or `secateur/datasets` in the user's cache folder.
pub fn dataset_cache() -> Result<PathBuf> {
    Ok(cache()?.join("datasets"))
}

/// The folder for what is downloaded or unpacked.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("SECATEUR_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("secateur")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/secateur")))
        .ok_or_else(|| {
            Failure::new(
                Code::Usage,
                "no home directory: set SECATEUR_CACHE to a folder for data sets and models",
            )
        })
}

/// How the Hugging Face hub is used, by the environment variables that all its tools share.
pub fn hub() -> std::result::Result<HubConfig, DownloadError> {
    HubConfig::from_env(|name| std::env::var(name).ok())
}

/// The name of the data set of which this is a part, such as cqadupstack of cqadupstack/android.
fn root(name: &str) -> &str {
    name.split_once('/').map_or(name, |(root, _)| root)
}

/// Whether BEIR publishes a data set of this name.
pub fn is_known(name: &str) -> bool {
    known_datasets::find(root(name)).is_some()
}

/// Opens a data set given as a folder, or by the name under which BEIR publishes it if it was downloaded.
pub fn open_dataset(given: &Path) -> Result<BeirFolder> {
    if given.is_file() {
        let message = format!(
            "{} is a file, and the folder of a data set is expected: one with corpus.jsonl, queries.jsonl and qrels/",
            given.display()
        );
        return Err(Failure::new(Code::Input, message));
    }
    if given.exists() {
        return Ok(BeirFolder::open(given)?);
    }
    let name = given.to_string_lossy();
    if !is_known(&name) {
        let message = format!(
            "there is no folder {name}, and no data set of that name is published; \
             `secateur dataset download --list` prints the names"
        );
        return Err(Failure::new(Code::Input, message));
    }
    let folder = dataset_cache()?.join(given);
    if !folder.exists() {
        let message =
            format!("{name} is not downloaded: run `secateur dataset download {}` first", root(&name));
        return Err(Failure::new(Code::Input, message));
    }
    Ok(BeirFolder::open(folder)?)
}
