//! Parquet files, as the Hugging Face hub keeps data sets.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use secateur_files::AtPath;
use serde_json::Value;

use super::Reader;
use super::fields::{Entry, FieldNames, parse_entry};
use crate::error::{Error, Result};
use crate::fault::Fault;

/// The rows of a file as JSON objects, one row group in memory at a time.
pub(crate) struct ParquetRows {
    path: PathBuf,
    rows: RowIter<'static>,
    number: u64,
}

impl ParquetRows {
    pub(crate) fn open(path: &Path) -> Result<ParquetRows> {
        let file = File::open(path).at("open", path)?;
        let reader = SerializedFileReader::new(file).map_err(|error| refused(path, &error))?;
        let rows = RowIter::from_file_into(Box::new(reader) as Box<dyn FileReader>);
        Ok(ParquetRows { path: path.to_owned(), rows, number: 0 })
    }

    /// A fault of the row that was read last.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        Error::Record { path: self.path.clone(), number: self.number, fault }
    }

    /// The number of the row that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Iterator for ParquetRows {
    type Item = Result<Value>;

    fn next(&mut self) -> Option<Result<Value>> {
        let row = self.rows.next()?;
        self.number += 1;
        Some(row.map(|row| row.to_json_value()).map_err(|error| {
            self.fault(Fault::Undecodable { reason: error.to_string() })
        }))
    }
}

fn refused(path: &Path, error: &ParquetError) -> Error {
    let reason = format!("it cannot be read as Parquet: {error}");
    Error::File { path: path.to_owned(), fault: Fault::Undecodable { reason } }
}

/// The rows of a file as documents.
pub(super) struct ParquetDocuments {
    rows: ParquetRows,
    names: FieldNames,
}

impl ParquetDocuments {
    pub fn open(path: &Path, names: &FieldNames) -> Result<ParquetDocuments> {
        Ok(ParquetDocuments { rows: ParquetRows::open(path)?, names: names.clone() })
    }
}

impl Reader for ParquetDocuments {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let parsed = parse_entry(&row.to_string(), &self.names);
        Some(parsed.map(|parsed| parsed.record).map_err(|fault| self.rows.fault(fault)))
    }

    fn error(&self, fault: Fault) -> Error {
        self.rows.fault(fault)
    }

    fn line(&self) -> u64 {
        self.rows.number()
    }
}
