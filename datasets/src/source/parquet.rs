//! Parquet files, as the Hugging Face hub keeps data sets.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Reader;
use crate::entry::{Entry, FieldNames, parse_entry};
use crate::error::{Error, Result};
use crate::fault::Fault;

/// Rows as JSON objects.
type Rows = Box<dyn Iterator<Item = std::result::Result<Value, String>> + Send>;

/// The rows of a file as JSON objects, one row group in memory at a time.
pub(crate) struct ParquetRows {
    path: PathBuf,
    rows: Rows,
    number: u64,
}

impl ParquetRows {
    /// Opens a file. Without the cargo feature `parquet` that is an error.
    pub(crate) fn open(path: &Path) -> Result<ParquetRows> {
        Ok(ParquetRows { path: path.to_owned(), rows: rows(path)?, number: 0 })
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
        Some(row.map_err(|reason| self.fault(Fault::Undecodable { reason })))
    }
}

#[cfg(feature = "parquet")]
fn rows(path: &Path) -> Result<Rows> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::reader::RowIter;
    use secateur_files::AtPath;

    let file = std::fs::File::open(path).at("open", path)?;
    let reader = SerializedFileReader::new(file).map_err(|error| {
        let reason = format!("it cannot be read as Parquet: {error}");
        Error::File { path: path.to_owned(), fault: Fault::Undecodable { reason } }
    })?;
    let rows = RowIter::from_file_into(Box::new(reader) as Box<dyn FileReader>);
    Ok(Box::new(rows.map(|row| row.map(|row| row.to_json_value()).map_err(|error| error.to_string()))))
}

#[cfg(not(feature = "parquet"))]
fn rows(path: &Path) -> Result<Rows> {
    Err(Error::NoParquet { path: path.to_owned() })
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
