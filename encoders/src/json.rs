//! JSON files of a model directory.

use std::path::Path;

use secateur_files::AtPath;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads and parses a file; errors name it.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(path, &std::fs::read(path).at("read", path)?)
}

/// Parses the bytes of a file; errors call it `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })
}
