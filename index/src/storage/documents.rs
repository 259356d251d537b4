//! The documents file: id, title, text and metadata of every row of a segment.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use crate::error::{Damage, Error, Result};
use crate::file_format::files::{FileBytes, Finished, HeadedWriter, Output, check_crc, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::strings::in_order;

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

/// Writes documents one at a time. Memory: the ids and 16 bytes a document, and what waits to be written; at the end 16
/// bytes a document more.
pub(super) struct DocumentsWriter {
    file: HeadedWriter,
    /// Records that are not in the file yet.
    waiting: Vec<u8>,
    record_offsets: Vec<u64>,
    id_offsets: Vec<u64>,
    ids: String,
    has_metadata: bool,
}

/// Records are written when they have so many bytes: pieces that a disk takes at once.
const MAX_WAITING: usize = 1 << 18;

impl DocumentsWriter {
    pub fn create(output: &Output, name: &str) -> Result<DocumentsWriter> {
        Ok(DocumentsWriter {
            file: output.file(name, HEADER_LEN)?,
            waiting: Vec::new(),
            record_offsets: vec![HEADER_LEN as u64],
            id_offsets: vec![0],
            ids: String::new(),
            has_metadata: false,
        })
    }

    /// Whether a document that was added has metadata.
    pub fn has_metadata(&self) -> bool {
        self.has_metadata
    }

    pub fn add(&mut self, document: &NewDocument) -> Result<()> {
        let metadata_len = document.metadata.map_or(NO_METADATA, |metadata| metadata.len() as u32);
        let strings = [document.title, document.text, document.metadata.unwrap_or("")].map(str::as_bytes);
        let [title_len, text_len] = [document.title, document.text].map(|string| string.len() as u32);
        let mut head = RecordHead { title_len, text_len, metadata_len, crc: 0 };
        head.crc = head.crc(&strings);
        self.waiting.extend_from_slice(bytemuck::bytes_of(&head));
        for string in strings {
            self.waiting.extend_from_slice(string);
        }
        self.end_record(document.id, head)
    }

    /// Adds documents of another file as they lie there. Their checksums come along.
    pub fn copy(&mut self, documents: &Documents, rows: Range<u32>) -> Result<()> {
        for row in rows {
            let (head, strings) = documents.record(row)?;
            self.waiting.extend_from_slice(bytemuck::bytes_of(&head));
            self.waiting.extend_from_slice(strings);
            self.end_record(documents.id(row)?, head)?;
        }
        Ok(())
    }

    fn end_record(&mut self, id: &str, head: RecordHead) -> Result<()> {
        self.has_metadata |= head.metadata_len != NO_METADATA;
        self.record_offsets.push(self.file.position() + self.waiting.len() as u64);
        self.ids.push_str(id);
        self.id_offsets.push(self.ids.len() as u64);
        if self.waiting.len() >= MAX_WAITING { self.write_waiting() } else { Ok(()) }
    }

    fn write_waiting(&mut self) -> Result<()> {
        self.file.write(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    /// Writes the tables and the header. Sorts the ids in parallel on the current rayon pool if there are many.
    pub fn finish(mut self) -> Result<Finished> {
        self.write_waiting()?;
        let tables_at = self.file.position();
        let sorted = self.sorted();
        let tables: [&[u8]; 4] = [
            bytemuck::cast_slice(&self.record_offsets),
            bytemuck::cast_slice(&self.id_offsets),
            bytemuck::cast_slice(&sorted),
            self.ids.as_bytes(),
        ];
        let mut crc = crc32fast::Hasher::new();
        for table in tables {
            crc.update(table);
            self.file.write(table)?;
        }
        self.file.finish(&seal(&DocumentsHeader {
            start: Start::of(&KIND),
            rows: sorted.len() as u32,
            tables_at,
            ids_len: self.ids.len() as u64,
            tables_crc: crc.finalize(),
            ..DocumentsHeader::zeroed()
        }))
    }

    /// The rows in the order of their ids, those of equal ids in their own.
    fn sorted(&self) -> Vec<u32> {
        in_order((self.record_offsets.len() - 1) as u32, |row| {
            let row = row as usize;
            &self.ids[self.id_offsets[row] as usize..self.id_offsets[row + 1] as usize]
        })
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
    /// Where the last search for an id ended, among the sorted ones.
    last_found: AtomicU32,
}

/// Ids that are asked for in their order are found so many places behind the last one, in memory that is at hand. A
/// search of the whole table goes all over it.
const NEAR: [u32; 2] = [1, 16];

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
            last_found: AtomicU32::new(0),
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
        self.string(self.id_bytes(row), "an id")
    }

    fn id_bytes(&self, row: u32) -> Option<&[u8]> {
        self.between(&self.id_offsets, row).and_then(|range| self.map[self.ids.clone()].get(range))
    }

    /// The first row with an id for which `is_alive` holds: at most one of those with the id is not deleted.
    pub fn find(&self, id: &str, is_alive: impl Fn(u32) -> bool) -> Result<Option<u32>> {
        let id = id.as_bytes();
        for place in self.first_place(id)?..self.rows {
            let row = self.sorted(place)?;
            if self.id_bytes(row).ok_or_else(|| self.undecodable("an id"))? != id {
                break;
            }
            if is_alive(row) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// The first of the sorted places whose id is not less than this one.
    fn first_place(&self, id: &[u8]) -> Result<u32> {
        let id_at = |place: u32| self.id_bytes(self.sorted(place)?).ok_or_else(|| self.undecodable("an id"));
        let (mut low, mut high) = (0, self.rows);
        let last = self.last_found.load(Ordering::Relaxed);
        if last < self.rows && id_at(last)? < id {
            low = last + 1;
            for place in NEAR.map(|distance| last.saturating_add(distance)) {
                if place >= self.rows {
                    break;
                }
                if id_at(place)? >= id {
                    high = place;
                    break;
                }
                low = place + 1;
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if id_at(middle)? < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.last_found.store(low, Ordering::Relaxed);
        Ok(low)
    }

    /// What stands before the strings of a row, and the strings, which are not compared with their checksum.
    fn record(&self, row: u32) -> Result<(RecordHead, &[u8])> {
        let record = self
            .between(&self.record_offsets, row)
            .filter(|range| range.start >= self.records.start && range.end <= self.records.end)
            .and_then(|range| self.map.get(range))
            .ok_or_else(|| self.undecodable("a record"))?;
        let (head, strings) =
            record.split_first_chunk::<RECORD_HEAD>().ok_or_else(|| self.undecodable("a record"))?;
        Ok((bytemuck::pod_read_unaligned(head), strings))
    }

    /// The document of a row, checked against its checksum.
    pub fn document(&self, row: u32) -> Result<StoredDocument<'_>> {
        let (head, strings) = self.record(row)?;
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
    use proptest::prelude::*;
    use secateur_testkit::byte_ranges;
    use secateur_testkit::format::documented;

    use super::*;
    use crate::strings::SORTED_IN_PARALLEL;

    #[test]
    fn the_layout_is_that_of_format_md() {
        let fields = byte_ranges!(DocumentsHeader: rows, tables_at, ids_len, tables_crc);
        assert_eq!(documented("documents", 0)[..], fields);
        let fields = byte_ranges!(RecordHead: title_len, text_len, metadata_len, crc);
        assert_eq!(documented("documents", 1)[..], fields);
    }

    fn writer(ids: &[String]) -> DocumentsWriter {
        let mut writer = DocumentsWriter::create(&Output::Memory("x".into()), "documents").unwrap();
        for id in ids {
            writer.add(&NewDocument { id, title: "", text: "", metadata: None }).unwrap();
        }
        writer
    }

    /// The order of whole ids, and of rows where they are equal.
    fn plainly_sorted(ids: &[String]) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..ids.len() as u32).collect();
        sorted.sort_by_key(|row| (&ids[*row as usize], *row));
        sorted
    }

    proptest! {
        /// Ids that differ in the first bytes, behind them, or in zeros at their end only.
        #[test]
        fn ids_are_sorted(ids in prop::collection::vec("[a\0é]{1,12}|aaaaaaaa[ab]{0,2}", 0..40)) {
            prop_assert_eq!(writer(&ids).sorted(), plainly_sorted(&ids));
        }
    }

    proptest! {
        /// Rows are found by ids that are there and that are not, in any order of asking, and dead ones passed over.
        #[test]
        fn rows_are_found(
            ids in prop::collection::vec(0u32..60, 0..80),
            alive in any::<u128>(),
            asked in prop::collection::vec(0u32..70, 1..200),
            is_sorted in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            let mut writer = DocumentsWriter::create(&Output::Folder(folder.path().to_owned()), "documents").unwrap();
            for id in &ids {
                writer.add(&NewDocument { id, title: "", text: "", metadata: None }).unwrap();
            }
            let path = folder.path().join("documents");
            let map = FileBytes::map(&path, writer.finish().unwrap().written.size).unwrap();
            let documents = Documents::open(path, map, ids.len() as u32).unwrap();
            let mut asked: Vec<String> = asked.iter().map(u32::to_string).collect();
            if is_sorted {
                asked.sort();
            }
            for id in &asked {
                let is_alive = |row: u32| alive >> row & 1 == 1;
                let expected = (0..ids.len() as u32).find(|row| ids[*row as usize] == *id && is_alive(*row));
                prop_assert_eq!(documents.find(id, is_alive).unwrap(), expected);
            }
        }
    }

    #[test]
    fn many_ids_are_sorted() {
        let ids: Vec<String> = (0..SORTED_IN_PARALLEL).map(|row| (row * 7919 % 9973).to_string()).collect();
        assert_eq!(writer(&ids).sorted(), plainly_sorted(&ids));
    }
}
