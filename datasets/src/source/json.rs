//! JSON: an object a line, or one list of objects.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::Reader;
use crate::entry::{Entry, FieldNames, parse_entry};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::{Lines, read_text};
use crate::record::without_place;

/// Lines of JSON objects.
pub(super) struct JsonLines {
    lines: Lines,
    names: FieldNames,
}

impl JsonLines {
    pub fn open(path: &Path, names: &FieldNames) -> Result<JsonLines> {
        Ok(JsonLines { lines: Lines::open(path)?, names: names.clone() })
    }
}

impl Reader for JsonLines {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        let parsed = match self.lines.next()? {
            Ok((_, line)) => parse_entry(line, &self.names),
            Err(error) => return Some(Err(error)),
        };
        Some(parsed.map(|parsed| parsed.record).map_err(|fault| self.lines.error(fault)))
    }

    fn error(&self, fault: Fault) -> Error {
        self.lines.error(fault)
    }

    fn line(&self) -> u64 {
        self.lines.number()
    }
}

/// A file with one list of objects, which is in memory as a whole.
pub(super) struct JsonList {
    path: PathBuf,
    objects: std::vec::IntoIter<Box<RawValue>>,
    names: FieldNames,
    number: u64,
}

impl JsonList {
    pub fn open(path: &Path, names: &FieldNames) -> Result<JsonList> {
        let text = read_text(path)?;
        let objects: Vec<Box<RawValue>> = serde_json::from_str(&text).map_err(|error| Error::Line {
            path: path.to_owned(),
            line: error.line() as u64,
            fault: Fault::BadJson { column: error.column(), message: without_place(&error) },
        })?;
        Ok(JsonList { path: path.to_owned(), objects: objects.into_iter(), names: names.clone(), number: 0 })
    }
}

impl Reader for JsonList {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        let object = self.objects.next()?;
        self.number += 1;
        let parsed = parse_entry(object.get(), &self.names);
        Some(parsed.map(|parsed| parsed.record).map_err(|fault| self.error(fault)))
    }

    fn error(&self, fault: Fault) -> Error {
        Error::Record { path: self.path.clone(), number: self.number, fault }
    }

    fn line(&self) -> u64 {
        self.number
    }
}
