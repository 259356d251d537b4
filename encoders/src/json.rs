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
    let bytes = without_mark(bytes);
    serde_json::from_slice(bytes).or_else(|source| match serde_json::from_slice(bytes) {
        // It is JSON: something in it is not what it should be.
        Ok(value) => of_value(path, value),
        Err(_) => Err(Error::Json { path: path.to_owned(), source: source.into() }),
    })
}

/// Some editors begin files with a byte-order mark, which is no JSON.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
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

/// What a value that was read from the file `path` says. The error names the key that is at fault.
pub(crate) fn of_value<T: DeserializeOwned>(path: &Path, value: Value) -> Result<T> {
    T::deserialize(&value).map_err(|source| match at_fault::<T>(&value) {
        Some((key, found)) => Error::InvalidField {
            path: path.to_owned(),
            field: key.clone(),
            found: found.to_string(),
            expected: source.to_string(),
        },
        None => Error::Json { path: path.to_owned(), source: source.into() },
    })
}

/// The entry without which an object could be read, or would only lack it.
fn at_fault<T: DeserializeOwned>(value: &Value) -> Option<(&String, &Value)> {
    value.as_object()?.iter().find(|(key, _)| {
        let mut others = value.clone();
        others.as_object_mut().and_then(|object| object.shift_remove(*key));
        match T::deserialize(&others) {
            Ok(_) => true,
            Err(error) => error.to_string() == format!("missing field `{key}`"),
        }
    })
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

    #[test]
    fn the_key_at_fault_is_named() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only whether it can be read counts")]
        struct Named {
            name: String,
            size: Option<usize>,
        }
        for (text, want) in [
            (r#"{"name": ["bert"], "size": 3}"#, r#"name is ["bert"]"#),
            (r#"{"name": "bert", "size": "three"}"#, r#"size is "three""#),
            (r#"{"size": 3}"#, "missing field `name`"),
        ] {
            let message = parse::<Named>(Path::new("config.json"), text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(want) && message.contains("config.json"), "{message}");
        }
    }
}
