//! The documents file: id, title, text and metadata of every row of a segment.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use crate::error::{Damage, Error, Result};
use crate::file_format::files::{FileBytes, Finished, HeadedWriter, Output, check_crc, corrupt, wrong_field};
use crate::file_format::header::read_header;

const KIND: Kind = Kind { mark: *b"SCTRDOCS", name: "a documents file", version: 1 };

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DocumentsHeader {
    start: Start,
    rows: u32,
    /// Where the tables begin.
    tables_at: u64,
    /// The length of the ids.
    ids_len: u64,
    /// CRC-32 of all bytes from the tables on.
    tables_crc: u32,
    zeros: [u32; 6],
    crc: u32,
}

const _: () = assert!(offset_of!(DocumentsHeader, rows) == 12);
const _: () = assert!(offset_of!(DocumentsHeader, tables_at) == 16);
const _: () = assert!(offset_of!(DocumentsHeader, ids_len) == 24);
const _: () = assert!(offset_of!(DocumentsHeader, tables_crc) == 32);

/// What stands before the strings of a record.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RecordHead {
    title_len: u32,
    text_len: u32,
    metadata_len: u32,
    /// CRC-32 of the three lengths and of the strings.
    crc: u32,
}

const RECORD_HEAD: usize = size_of::<RecordHead>();

const _: () = assert!(offset_of!(RecordHead, crc) == 12);

impl RecordHead {
    fn crc(&self, strings: &[&[u8]]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytemuck::bytes_of(self)[..offset_of!(RecordHead, crc)]);
        strings.iter().for_each(|string| crc.update(string));
        crc.finalize()
    }
}

/// The length of metadata that is not there.
const NO_METADATA: u32 = u32::MAX;
/// The longest id: ids are keys, held in memory while a segment is written.
pub(super) const MAX_ID_LEN: usize = 65_535;

/// A document to be stored. `metadata` is a JSON object as it was written; it is kept byte for byte, and
/// [filters](crate::filter) ask for what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDocument<'a> {
    /// The document's id, 1 to 65,535 bytes, unique in the database.
    pub id: &'a str,
    /// The title, which may be empty.
    pub title: &'a str,
    /// The text.
    pub text: &'a str,
    /// A JSON object.
    pub metadata: Option<&'a str>,
}

/// A document read back. Its strings borrow from the memory map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument<'a> {
    /// The document's id.
    pub id: Cow<'a, str>,
    /// The title, which may be empty.
    pub title: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
    /// The JSON object that was stored, if any.
    pub metadata: Option<Cow<'a, str>>,
}

impl StoredDocument<'_> {
    /// The same as a document to be stored, in another database or again.
    pub fn as_new(&self) -> NewDocument<'_> {
        NewDocument { id: &self.id, title: &self.title, text: &self.text, metadata: self.metadata.as_deref() }
    }
}

/// Writes documents one at a time. Memory: the ids and 16 bytes a document.
pub(super) struct DocumentsWriter {
    file: HeadedWriter,
    record_offsets: Vec<u64>,
    id_offsets: Vec<u64>,
    ids: String,
}

impl DocumentsWriter {
    pub fn create(output: &Output, name: &str) -> Result<DocumentsWriter> {
        Ok(DocumentsWriter {
            file: output.file(name, HEADER_LEN)?,
            record_offsets: vec![HEADER_LEN as u64],
            id_offsets: vec![0],
            ids: String::new(),
        })
    }

    pub fn add(&mut self, document: &NewDocument) -> Result<()> {
        let metadata_len = document.metadata.map_or(NO_METADATA, |metadata| metadata.len() as u32);
        let strings = [document.title, document.text, document.metadata.unwrap_or("")].map(str::as_bytes);
        let [title_len, text_len] = [document.title, document.text].map(|string| string.len() as u32);
        let mut head = RecordHead { title_len, text_len, metadata_len, crc: 0 };
        head.crc = head.crc(&strings);

        self.file.write(bytemuck::bytes_of(&head))?;
        for string in strings {
            self.file.write(string)?;
        }
        self.record_offsets.push(self.file.position());
        self.ids.push_str(document.id);
        self.id_offsets.push(self.ids.len() as u64);
        Ok(())
    }

    /// Writes the tables and the header.
    pub fn finish(mut self) -> Result<Finished> {
        let rows = self.record_offsets.len() - 1;
        let tables_at = self.file.position();
        let id = |row: &u32| {
            let row = *row as usize;
            &self.ids[self.id_offsets[row] as usize..self.id_offsets[row + 1] as usize]
        };
        let mut sorted: Vec<u32> = (0..rows as u32).collect();
        sorted.sort_unstable_by(|a, b| id(a).cmp(id(b)).then(a.cmp(b)));

        let mut crc = crc32fast::Hasher::new();
        let mut write = |bytes: &[u8]| {
            crc.update(bytes);
            self.file.write(bytes)
        };
        for offset in self.record_offsets.iter().chain(&self.id_offsets) {
            write(&offset.to_le_bytes())?;
        }
        for row in &sorted {
            write(&row.to_le_bytes())?;
        }
        write(self.ids.as_bytes())?;

        self.file.finish(&seal(&DocumentsHeader {
            start: Start::of(&KIND),
            rows: rows as u32,
            tables_at,
            ids_len: self.ids.len() as u64,
            tables_crc: crc.finalize(),
            ..DocumentsHeader::zeroed()
        }))
    }
}

/// A documents file, mapped.
pub(super) struct Documents {
    path: PathBuf,
    map: FileBytes,
    rows: u32,
    records: Range<usize>,
    record_offsets: Range<usize>,
    id_offsets: Range<usize>,
    sorted: Range<usize>,
    ids: Range<usize>,
}

impl Documents {
    /// Opens a file of `rows` rows, and checks its header and its tables.
    pub fn open(path: PathBuf, map: FileBytes, rows: u32) -> Result<Documents> {
        let header: DocumentsHeader = read_header(&path, &map, &KIND)?;
        if header.rows != rows {
            return Err(corrupt(&path, wrong_field("rows", rows, header.rows)));
        }
        // Every end is checked against the file's length before anything is indexed by it.
        let end_of =
            |start: usize, len: u64| usize::try_from(len).ok().and_then(|len| start.checked_add(len));
        let layout = || {
            let tables = usize::try_from(header.tables_at).ok().filter(|at| *at >= HEADER_LEN)?;
            let id_offsets = end_of(tables, 8 * (u64::from(rows) + 1))?;
            let sorted = end_of(id_offsets, 8 * (u64::from(rows) + 1))?;
            let ids = end_of(sorted, 4 * u64::from(rows))?;
            let end = end_of(ids, header.ids_len)?;
            Some((tables, id_offsets, sorted, ids, end))
        };
        let Some((tables, id_offsets, sorted, ids, end)) = layout().filter(|layout| layout.4 == map.len())
        else {
            return Err(corrupt(&path, wrong_field("the end of the tables", map.len(), "elsewhere")));
        };
        check_crc(&path, "the tables", header.tables_crc, crc32fast::hash(&map[tables..]))?;
        Ok(Documents {
            path,
            rows,
            records: HEADER_LEN..tables,
            record_offsets: tables..id_offsets,
            id_offsets: id_offsets..sorted,
            sorted: sorted..ids,
            ids: ids..end,
            map,
        })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The number of rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The id of a row.
    pub fn id(&self, row: u32) -> Result<&str> {
        let bytes =
            self.between(&self.id_offsets, row).and_then(|range| self.map[self.ids.clone()].get(range));
        self.string(bytes, "an id")
    }

    /// The rows with an id, ascending: at most one of them is not deleted.
    pub fn rows_of(&self, id: &str) -> Result<Vec<u32>> {
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.id(self.sorted(middle)?)? < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut rows = Vec::new();
        while low < self.rows {
            let row = self.sorted(low)?;
            if self.id(row)? != id {
                break;
            }
            rows.push(row);
            low += 1;
        }
        Ok(rows)
    }

    /// The document of a row, checked against its checksum.
    pub fn document(&self, row: u32) -> Result<StoredDocument<'_>> {
        let record = self
            .between(&self.record_offsets, row)
            .filter(|range| range.start >= self.records.start && range.end <= self.records.end)
            .and_then(|range| self.map.get(range))
            .ok_or_else(|| self.undecodable("a record"))?;
        let (head, strings) =
            record.split_first_chunk::<RECORD_HEAD>().ok_or_else(|| self.undecodable("a record"))?;
        let head: RecordHead = bytemuck::pod_read_unaligned(head);
        check_crc(&self.path, "a record", head.crc, head.crc(&[strings]))?;

        let (title_len, text_len) = (head.title_len as usize, head.text_len as usize);
        let metadata_len = Some(head.metadata_len).filter(|len| *len != NO_METADATA);
        let text_end = title_len.saturating_add(text_len);
        let end = text_end.saturating_add(metadata_len.unwrap_or(0) as usize);
        if end != strings.len() {
            return Err(self.undecodable("a record"));
        }
        let string = |range: Range<usize>| self.string(strings.get(range), "a record").map(Cow::Borrowed);
        Ok(StoredDocument {
            id: Cow::Borrowed(self.id(row)?),
            title: string(0..title_len)?,
            text: string(title_len..text_end)?,
            metadata: metadata_len.map(|_| string(text_end..end)).transpose()?,
        })
    }

    /// Reads every record and checks the order of the ids and that no id is alive twice.
    pub fn verify(&self, is_alive: impl Fn(u32) -> bool) -> Result<()> {
        let mut alive: HashMap<&str, u32> = HashMap::new();
        let mut previous: Option<(&str, u32)> = None;
        for place in 0..self.rows {
            self.document(place)?;
            let row = self.sorted(place)?;
            let entry = (self.id(row)?, row);
            if previous.is_some_and(|previous| previous >= entry) {
                let got = format!("{:?} in row {row} after {previous:?}", entry.0);
                return Err(corrupt(&self.path, wrong_field("the order of ids", "ascending", got)));
            }
            previous = Some(entry);
            if is_alive(row) && alive.insert(entry.0, row).is_some() {
                let damage =
                    wrong_field("rows of an id that are not deleted", 1, format!("2 for {:?}", entry.0));
                return Err(corrupt(&self.path, damage));
            }
        }
        Ok(())
    }

    /// Entry `place` of the rows sorted by id.
    fn sorted(&self, place: u32) -> Result<u32> {
        let at = self.sorted.start + 4 * place as usize;
        self.map[..self.sorted.end]
            .get(at..at + 4)
            .and_then(|bytes| bytes.first_chunk())
            .map(|bytes| u32::from_le_bytes(*bytes))
            .filter(|row| *row < self.rows)
            .ok_or_else(|| self.undecodable("the table of sorted rows"))
    }

    /// Entries `row` and `row + 1` of a table of offsets.
    fn between(&self, table: &Range<usize>, row: u32) -> Option<Range<usize>> {
        let at = table.start + 8 * row as usize;
        let pair = self.map[..table.end].get(at..at + 16)?;
        let (start, end) = pair.split_first_chunk::<8>()?;
        let start = usize::try_from(u64::from_le_bytes(*start)).ok()?;
        let end = usize::try_from(u64::from_le_bytes(*end.first_chunk()?)).ok()?;
        Some(start..end)
    }

    fn string<'a>(&self, bytes: Option<&'a [u8]>, part: &'static str) -> Result<&'a str> {
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(|| self.undecodable(part))
    }

    fn undecodable(&self, part: &'static str) -> Error {
        corrupt(&self.path, Damage::Undecodable { part })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use secateur_testkit::byte_ranges;
    use secateur_testkit::format::documented;

    use super::*;

    #[test]
    fn the_layout_is_that_of_format_md() {
        let fields = byte_ranges!(DocumentsHeader: rows, tables_at, ids_len, tables_crc);
        assert_eq!(documented("documents", 0)[..], fields);
        let fields = byte_ranges!(RecordHead: title_len, text_len, metadata_len, crc);
        assert_eq!(documented("documents", 1)[..], fields);
    }
}
