//! The lengths file: the number of terms of each document, exact and in Lucene's one-byte form.

use std::path::PathBuf;

use memmap2::Mmap;
use tantivy::fieldnorm::FieldNormReader;

use super::files::{HeadedWriter, Written, corrupt, map, wrong_field};
use super::header::{HEADER_LEN, Header, Kind};
use crate::error::Result;

const KIND: Kind = Kind { mark: b"SCTRLENS", name: "a lengths file", version: 1 };

pub(super) fn write(path: PathBuf, lengths: &[u32]) -> Result<Written> {
    let mut file = HeadedWriter::create(path, HEADER_LEN)?;
    let codes: Vec<u8> = lengths.iter().map(|length| FieldNormReader::fieldnorm_to_id(*length)).collect();
    file.write(bytemuck::cast_slice(lengths))?;
    file.write(&codes)?;
    let num_terms: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    let num_docs = lengths.iter().filter(|length| **length > 0).count();
    let mut header = Header::new(&KIND);
    header.put(12, &(lengths.len() as u32).to_le_bytes());
    header.put(16, &num_terms.to_le_bytes());
    header.put(24, &(num_docs as u32).to_le_bytes());
    file.finish(&header.seal())
}

/// A lengths file, mapped.
pub(crate) struct Lengths {
    map: Mmap,
    rows: usize,
    num_terms: u64,
    num_docs: u32,
}

impl Lengths {
    /// Opens a file of `size` bytes and `rows` rows, and checks its header.
    pub(super) fn open(path: PathBuf, size: u64, rows: u32) -> Result<Lengths> {
        let map = map(&path, size)?;
        let header = Header::read(&path, &map, &KIND)?;
        if header.u32(12) != rows {
            return Err(corrupt(&path, wrong_field("rows", rows, header.u32(12))));
        }
        let expected = HEADER_LEN as u64 + 5 * u64::from(rows);
        if size != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, size)));
        }
        Ok(Lengths { rows: rows as usize, num_terms: header.u64(16), num_docs: header.u32(24), map })
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    /// The sum of all lengths.
    pub fn num_terms(&self) -> u64 {
        self.num_terms
    }

    /// The number of documents with at least one term.
    pub fn num_docs(&self) -> u32 {
        self.num_docs
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The exact number of terms of a document.
    pub fn length(&self, row: u32) -> u32 {
        bytemuck::cast_slice::<u8, u32>(&self.map[HEADER_LEN..HEADER_LEN + 4 * self.rows])[row as usize]
    }

    /// The lengths as Lucene keeps them, one byte a document.
    pub fn codes(&self) -> &[u8] {
        &self.map[HEADER_LEN + 4 * self.rows..]
    }
}
