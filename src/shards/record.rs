//! The small files of a set: JSON with a format, a version and a checksum.

use std::path::Path;

use secateur_files::{AtPath, Durable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::shard_error::ShardError;

/// What such a file holds.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Its first field, `format`.
    const FORMAT: &'static str;
    /// The version that is written, and the only one that is read.
    const VERSION: u64;
    /// What to do about a damaged one.
    const ADVICE: &'static str;
}

/// Digits of a checksum: those of the first 16 bytes of BLAKE3.
pub(super) const DIGITS: usize = 32;

/// The first digits of a hash.
pub(super) fn digits(hash: &blake3::Hash) -> String {
    let mut digits = hash.to_hex().to_string();
    digits.truncate(DIGITS);
    digits
}

/// Of the fields behind the first three, as JSON without blanks.
fn checksum(fields: &Map<String, Value>) -> String {
    digits(&blake3::hash(Value::Object(fields.clone()).to_string().as_bytes()))
}

/// Writes a file, which appears whole or not at all.
pub(super) fn write<R: Record>(path: &Path, record: &R) -> Result<()> {
    let bad = |problem: String| ShardError::BadFile { path: path.to_owned(), problem, advice: R::ADVICE };
    let Value::Object(fields) =
        serde_json::to_value(record).map_err(|error| bad(format!("it cannot be written: {error}")))?
    else {
        return Err(bad("it is no object".to_owned()).into());
    };
    let mut whole = Map::new();
    whole.insert("format".to_owned(), R::FORMAT.into());
    whole.insert("version".to_owned(), R::VERSION.into());
    whole.insert("checksum".to_owned(), checksum(&fields).into());
    whole.extend(fields);
    Ok(Durable::write(path, |out| writeln!(out, "{:#}", Value::Object(whole)))?)
}

/// Reads a file and checks it.
pub(super) fn read<R: Record>(path: &Path) -> Result<R> {
    let bad = |problem: String| ShardError::BadFile { path: path.to_owned(), problem, advice: R::ADVICE };
    let text = std::fs::read(path).at("read", path)?;
    let value = serde_json::from_slice(&text).map_err(|error| bad(format!("it is no JSON: {error}")))?;
    let Value::Object(mut fields) = value else { return Err(bad("it is no JSON object".to_owned()).into()) };
    let mut take = |name: &str| fields.shift_remove(name).unwrap_or_default();
    let (format, version, sum) = (take("format"), take("version"), take("checksum"));
    if format != R::FORMAT {
        return Err(bad(format!("its format is {format}, expected {:?}", R::FORMAT)).into());
    }
    match version.as_u64() {
        Some(found) if found == R::VERSION => {}
        Some(found) => {
            let (path, supported) = (path.to_owned(), R::VERSION);
            return Err(ShardError::OtherVersion { path, found, supported }.into());
        }
        None => return Err(bad(format!("its version is {version}, expected {}", R::VERSION)).into()),
    }
    let expected = checksum(&fields);
    if sum != expected.as_str() {
        return Err(bad(format!("the checksum of its fields is {expected}, and it says {sum}")).into());
    }
    Ok(serde_json::from_value(Value::Object(fields)).map_err(|error| bad(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Garden {
        roses: u64,
        bees: Vec<String>,
    }

    impl Record for Garden {
        const FORMAT: &'static str = "garden";
        const VERSION: u64 = 3;
        const ADVICE: &'static str = "plant it anew";
    }

    /// What is written comes back; every wrong file is an error that names it.
    #[test]
    fn records_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garden.json");
        let garden = Garden { roses: u64::MAX, bees: vec!["\"b\"\n".to_owned(), String::new()] };
        write(&path, &garden).unwrap();
        assert_eq!(read::<Garden>(&path).unwrap(), garden);
        let text = std::fs::read_to_string(&path).unwrap();
        let wrong = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = read::<Garden>(&path).unwrap_err();
            assert!(error.to_string().contains("garden.json"), "{error}");
            error
        };
        for (from, to) in [
            ("roses", "rosez"),
            (&format!("{}", u64::MAX), "7"),
            ("\"garden\"", "\"desert\""),
            ("\"garden\"", "7"),
            ("version", "versions"),
            ("{", "["),
            ("}", ""),
            ("checksum\": \"", "checksum\": \"0"),
        ] {
            let error = wrong(from, to);
            let is_bad = |error: &Error| {
                matches!(error, Error::Shards(ShardError::BadFile { advice: "plant it anew", .. }))
            };
            assert!(is_bad(&error), "{from} {to}: {error}");
        }
        for found in [2, 4] {
            let error = wrong("\"version\": 3", &format!("\"version\": {found}"));
            let expected = |error: &Error| matches!(error, Error::Shards(ShardError::OtherVersion { found: f, supported: 3, .. }) if *f == found);
            assert!(expected(&error), "{error}");
        }
    }
}
