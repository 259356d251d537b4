//! The lengths file: the number of terms of each document, exact and in Lucene's one-byte form.

use std::mem::offset_of;
use std::path::PathBuf;

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};
use tantivy::fieldnorm::FieldNormReader;

use crate::error::Result;
use crate::file_format::files::{FileBytes, Finished, Output, corrupt, wrong_field};
use crate::file_format::header::read_header;

const KIND: Kind = Kind { mark: *b"SCTRLENS", name: "a lengths file", version: 1 };

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LengthsHeader {
    start: Start,
    rows: u32,
    /// The sum of all lengths.
    num_terms: u64,
    /// How many lengths are above 0.
    num_docs: u32,
    zeros: [u32; 8],
    crc: u32,
}

const _: () = assert!(offset_of!(LengthsHeader, rows) == 12);
const _: () = assert!(offset_of!(LengthsHeader, num_terms) == 16);
const _: () = assert!(offset_of!(LengthsHeader, num_docs) == 24);

pub(crate) fn write(output: &Output, name: &str, lengths: &[u32]) -> Result<Finished> {
    let mut file = output.file(name, HEADER_LEN)?;
    let codes: Vec<u8> = lengths.iter().map(|length| FieldNormReader::fieldnorm_to_id(*length)).collect();
    file.write(bytemuck::cast_slice(lengths))?;
    file.write(&codes)?;
    let num_terms: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    let num_docs = lengths.iter().filter(|length| **length > 0).count();
    file.finish(&seal(&LengthsHeader {
        start: Start::of(&KIND),
        rows: lengths.len() as u32,
        num_terms,
        num_docs: num_docs as u32,
        ..LengthsHeader::zeroed()
    }))
}

/// A lengths file, mapped.
pub(crate) struct Lengths {
    path: PathBuf,
    map: FileBytes,
    rows: usize,
    num_terms: u64,
    num_docs: u32,
}

impl Lengths {
    /// Opens a file of `rows` rows, and checks its header.
    pub(crate) fn open(path: PathBuf, map: FileBytes, rows: u32) -> Result<Lengths> {
        let LengthsHeader { rows: found, num_terms, num_docs, .. } = read_header(&path, &map, &KIND)?;
        if found != rows {
            return Err(corrupt(&path, wrong_field("rows", rows, found)));
        }
        let expected = HEADER_LEN as u64 + 5 * u64::from(rows);
        if map.len() as u64 != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, map.len())));
        }
        Ok(Lengths { rows: rows as usize, num_terms, num_docs, path, map })
    }

    /// Checks what the header says of the lengths: searches subtract those of deleted documents from it.
    pub(crate) fn check(&self) -> Result<()> {
        let num_terms: u64 = self.lengths().iter().map(|length| u64::from(*length)).sum();
        let num_docs = self.lengths().iter().filter(|length| **length > 0).count();
        if (num_terms, num_docs) == (self.num_terms, self.num_docs as usize) {
            return Ok(());
        }
        let found = format!("{} in {} documents", self.num_terms, self.num_docs);
        let expected = format!("{num_terms} in {num_docs} documents");
        Err(corrupt(&self.path, wrong_field("the number of terms", expected, found)))
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
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The exact number of terms of a document.
    pub fn length(&self, row: u32) -> u32 {
        self.lengths()[row as usize]
    }

    fn lengths(&self) -> &[u32] {
        bytemuck::cast_slice(&self.map[HEADER_LEN..HEADER_LEN + 4 * self.rows])
    }

    /// The lengths as Lucene keeps them, one byte a document.
    pub fn codes(&self) -> &[u8] {
        &self.map[HEADER_LEN + 4 * self.rows..]
    }
}

#[cfg(test)]
mod tests {
    use secateur_testkit::byte_ranges;
    use secateur_testkit::format::documented;

    use super::*;
    use crate::error::Error;

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = byte_ranges!(LengthsHeader: rows, num_terms, num_docs);
        assert_eq!(documented("lengths", 0)[..], fields);
    }

    /// Sums that do not follow from the lengths, behind a header whose checksum is right: a search would subtract more
    /// than there is. (Found by the fuzz target `segment`.)
    #[test]
    fn wrong_sums_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lengths");
        let output = Output::Folder(folder.path().to_owned());
        let size = write(&output, "lengths", &[3, 0, 5]).unwrap().written.size;
        let open = || Lengths::open(path.clone(), FileBytes::map(&path, size).unwrap(), 3).unwrap();
        open().check().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (at, what) in [(16, "the sum"), (24, "the number of documents")] {
            let mut bytes = whole.clone();
            bytes[at] -= 1;
            let crc = crc32fast::hash(&bytes[..HEADER_LEN - 4]);
            bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(open().check(), Err(Error::Corrupt { .. })), "{what}");
        }
    }
}
