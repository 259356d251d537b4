//! JSON files of a model directory.

use std::path::Path;

use secateur_files::AtPath;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::keys::forget;

/// Reads and parses a file; errors name it.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse(path, &std::fs::read(path).at("read", path)?)
}

/// Parses the bytes of a file; errors call it `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    refuse_pointer(path, bytes)?;
    // Some editors begin files with a byte-order mark, which is no JSON. Python's readers of these files refuse it.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })
}

/// The same without the settings that are to be ignored.
pub(crate) fn parse_without<T: DeserializeOwned>(path: &Path, bytes: &[u8], ignored: &[String]) -> Result<T> {
    if ignored.is_empty() {
        return parse(path, bytes);
    }
    let mut value: Value = parse(path, bytes)?;
    forget(&mut value, ignored);
    of_value(path, value)
}

/// What a value that was read from the file `path` says.
pub(crate) fn of_value<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T> {
    T::deserialize(value).map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })
}

/// Refuses the text that stands for a large file where git was not told to fetch it.
pub(crate) fn refuse_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]);
    let size = text.lines().find_map(|line| line.strip_prefix("size ")).unwrap_or("an unknown number of");
    Err(Error::LfsPointer { path: path.to_owned(), bytes: size.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_pointers_are_told_apart() {
        let path = Path::new("config.json");
        assert_eq!(parse::<Value>(path, b"\xEF\xBB\xBF{\"a\": 1}").unwrap()["a"], 1);
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n";
        let message = parse::<Value>(path, pointer).unwrap_err().to_string();
        assert!(message.contains("config.json") && message.contains("git lfs pull"), "{message}");
        assert!(message.contains("90868376 bytes"), "{message}");
    }
}
