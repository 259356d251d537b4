//! An append-only file of records, so that long work can stop at any moment and continue there.
//!
//! A [header] with the mark `SCTRJRNL`, then the records one after the other. A record is a head of 48 bytes and
//! the bytes that were appended. `index/FORMAT.md` has the table.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};

use crate::disk::{self, DiskFile, sync_name};
use crate::durable::with_suffix;
use crate::error::{AtPath, ErrorKind, PathError};
use crate::header::{self, HEADER_LEN, HeaderFault, Kind, Start};
use crate::lock::LockedFile;

const KIND: Kind = Kind { mark: *b"SCTRJRNL", name: "a journal", version: 1 };

/// The header of a journal.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct JournalHeader {
    start: Start,
    /// What an item of a record takes, in words of four bytes; 0 for one byte.
    width: u32,
    key: [u8; 32],
    zeros: [u32; 3],
    crc: u32,
}

const _: () = assert!(std::mem::offset_of!(JournalHeader, width) == 12);
const _: () = assert!(std::mem::offset_of!(JournalHeader, key) == 16);
const _: () = assert!(std::mem::offset_of!(JournalHeader, crc) == 60);

/// What stands before the bytes of a record.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RecordHead {
    hash: [u8; 32],
    items: u32,
    /// CRC-32 of the items.
    items_crc: u32,
    /// CRC-32 of the three fields before it.
    crc: u32,
    zeros: [u8; 4],
}

const RECORD_HEAD: usize = size_of::<RecordHead>();

const _: () = assert!(std::mem::offset_of!(RecordHead, items) == 32);
const _: () = assert!(std::mem::offset_of!(RecordHead, items_crc) == 36);
const _: () = assert!(std::mem::offset_of!(RecordHead, crc) == 40);
const _: () = assert!(RECORD_HEAD == 48);

/// How often a journal is opened that others remove meanwhile.
const LOCK_ATTEMPTS: usize = 100;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] PathError),
    /// Another journal of the same file is open.
    #[error("{} is being written by another process; wait for it to finish", path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The file is something else, or damaged, or of a later program. It is left as it is.
    #[error("{} is no journal that can be continued: {fault}; remove it, or name another file", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with its header.
        #[source]
        fault: HeaderFault,
    },
    /// The file keeps the results of other work, which are not thrown away unasked.
    #[error(
        "{} keeps {bytes} bytes of unfinished work with another model, other options or other input: finish that work \
         with its own, or remove the file to begin anew",
        path.display()
    )]
    OtherWork {
        /// The journal.
        path: PathBuf,
        /// The length of what it keeps.
        bytes: u64,
    },
    /// A record was changed since the journal was opened.
    #[error("record {number} of {} was changed while the journal was open; remove the file and begin anew", path.display())]
    Record {
        /// The journal.
        path: PathBuf,
        /// The record, counted from 0.
        number: usize,
    },
    /// The bytes of a record are not a whole number of items, or more items than a record holds.
    #[error(
        "a record of {got} bytes does not divide into items of {expected} bytes, at most {} of them",
        u32::MAX
    )]
    Length {
        /// The bytes of an item.
        expected: u64,
        /// The bytes given.
        got: usize,
    },
}

impl JournalError {
    /// Whose turn it is. A journal has the same keeper as a database.
    pub fn kind(&self) -> ErrorKind {
        match self {
            JournalError::Io(error) => error.kind(ErrorKind::Database),
            JournalError::Locked { .. }
            | JournalError::Header { .. }
            | JournalError::OtherWork { .. }
            | JournalError::Record { .. } => ErrorKind::Database,
            JournalError::Length { .. } => ErrorKind::Usage,
        }
    }
}

/// What was appended at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// A hash of what the bytes were made from.
    pub hash: [u8; 32],
    /// The result of some work.
    pub bytes: Vec<u8>,
}

/// An append-only file of records, each with a hash of what it was made from.
///
/// Durability: when [`append`](Journal::append) returns, the record survives a killed process and a power failure.
/// The next open cuts off an incomplete record. Memory: 8 bytes a record.
///
/// The file is locked as long as this is open, and only who has locked it removes it. A journal without a record is
/// removed when it is dropped.
///
/// ```
/// use secateur_files::{Journal, Record};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal");
/// let mut journal = Journal::open(&path, [7; 32], 0)?;
/// journal.append([1; 32], b"a result")?;
/// drop(journal);
///
/// let journal = Journal::open(&path, [7; 32], 0)?;
/// assert_eq!(journal.get(0)?, Some(Record { hash: [1; 32], bytes: b"a result".to_vec() }));
/// assert_eq!(journal.get(1)?, None);
/// drop(journal);
/// assert!(Journal::open(&path, [8; 32], 0).is_err(), "it keeps the results of other work");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Journal {
    file: LockedFile,
    /// Whether the file is known to be this journal. Until then it may be somebody else's.
    is_ours: bool,
    /// The bytes of an item.
    item: u64,
    /// Where each record begins, and last where the next one will.
    offsets: Vec<u64>,
}

impl Journal {
    /// The journal of the work that makes the file or folder `output`: NAME.journal beside it.
    ///
    /// ```
    /// let journal = secateur_files::Journal::beside("out/corpus.npy".as_ref());
    /// assert_eq!(journal, std::path::Path::new("out/corpus.npy.journal"));
    /// ```
    pub fn beside(output: &Path) -> PathBuf {
        with_suffix(output, ".journal")
    }

    /// Opens the journal at `path`, or creates it. A journal with another `key` or `width` is refused if anything is
    /// in it. An empty one, and a file whose header was not completely written, start afresh. Reads the file through
    /// and cuts it off at the first record that is not whole.
    ///
    /// A record consists of items of `width` words of four bytes; of single bytes if `width` is 0.
    ///
    /// # Errors
    /// [`JournalError::Locked`], [`JournalError::Header`], [`JournalError::OtherWork`], [`JournalError::Io`].
    pub fn open(path: &Path, key: [u8; 32], width: u32) -> Result<Journal, JournalError> {
        let file = Journal::lock(path)?;
        let len = file.0.file().metadata().at("read", path)?.len();
        let (item, offsets) = (bytes_of_item(width), vec![HEADER_LEN as u64]);
        let mut journal = Journal { file, is_ours: false, item, offsets };
        let header = JournalHeader { start: Start::of(&KIND), width, key, ..JournalHeader::zeroed() };
        let header = header::seal(&header);
        if journal.has_header(&header, len)? {
            journal.find_records(len)?;
        } else if len > (HEADER_LEN + RECORD_HEAD) as u64 {
            return Err(JournalError::OtherWork { path: path.to_owned(), bytes: len - HEADER_LEN as u64 });
        } else {
            journal.start_afresh(&header)?;
        }
        journal.is_ours = true;
        Ok(journal)
    }

    /// The file, locked; a new one where there is none.
    fn lock(path: &Path) -> Result<LockedFile, JournalError> {
        let locked = || JournalError::Locked { path: path.to_owned() };
        for _ in 0..LOCK_ATTEMPTS {
            let file = LockedFile::try_lock(DiskFile::open_or_create(path)?)?.map_err(|_| locked())?;
            // It may have been removed after it was opened, and before it was locked.
            if file.is_in_place() {
                return Ok(file);
            }
        }
        Err(locked())
    }

    /// Removes the file: what it was kept for is done. Where it cannot be removed it stays, and nothing has failed.
    pub fn remove(self) {
        self.remove_file();
    }

    /// Removes the journal at `path`, as [`remove`](Journal::remove) does, unless somebody has it open.
    pub fn remove_unused(path: &Path) {
        if let Ok(Ok(file)) = DiskFile::append(path).and_then(LockedFile::try_lock)
            && file.is_in_place()
        {
            let _ = disk::remove_file(path);
        }
    }

    fn remove_file(&self) {
        if self.file.is_in_place() {
            let _ = disk::remove_file(self.path());
        }
    }

    /// Whether the file begins with this header. A file that is no journal is an error: it must not be overwritten.
    fn has_header(&self, expected: &[u8; HEADER_LEN], len: u64) -> Result<bool, JournalError> {
        let fault = |fault| JournalError::Header { path: self.path().to_owned(), fault };
        let mut found = vec![0; len.min(HEADER_LEN as u64) as usize];
        self.file.0.read_at(0, &mut found)?;
        if found.len() < HEADER_LEN {
            // Empty, or killed while creating: then it holds the beginning of a header.
            let mark = &KIND.mark[..found.len().min(KIND.mark.len())];
            return if found.starts_with(mark) {
                Ok(false)
            } else {
                Err(fault(HeaderFault::Mark { kind: KIND.name }))
            };
        }
        header::read::<JournalHeader>(&found, &KIND).map_err(fault)?;
        Ok(found == expected)
    }

    fn start_afresh(&mut self, header: &[u8; HEADER_LEN]) -> Result<(), JournalError> {
        let file = &mut self.file.0;
        file.set_len(0)?;
        file.rewind().and_then(|()| file.write_all(header)).at("write", file.path())?;
        file.sync()?;
        Ok(sync_name(file.path())?)
    }

    /// Finds the whole records of a file of `len` bytes and cuts off what follows them.
    fn find_records(&mut self, len: u64) -> Result<(), JournalError> {
        let mut at = HEADER_LEN as u64;
        while let Some(head) = read_head(&self.file.0, self.item, at, len)? {
            let start = at + RECORD_HEAD as u64;
            let bytes = head.num_bytes(self.item);
            if self.checksum(start, bytes)? != head.items_crc {
                break;
            }
            at = start + bytes;
            self.offsets.push(at);
        }
        if at < len {
            self.cut(at)?;
        }
        Ok(())
    }

    /// The CRC-32 of `len` bytes at a position, read in pieces.
    fn checksum(&self, mut at: u64, len: u64) -> Result<u32, JournalError> {
        let (end, mut hasher) = (at + len, crc32fast::Hasher::new());
        let mut buffer = vec![0; len.min(1 << 18) as usize];
        while at < end {
            let piece = &mut buffer[..(end - at).min(1 << 18) as usize];
            self.file.0.read_at(at, piece)?;
            hasher.update(piece);
            at += piece.len() as u64;
        }
        Ok(hasher.finalize())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.0.path()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Record `number`, read from disk; `None` beyond the last record.
    ///
    /// # Errors
    /// [`JournalError::Record`], [`JournalError::Io`].
    pub fn get(&self, number: usize) -> Result<Option<Record>, JournalError> {
        let (Some(&at), Some(&end)) = (self.offsets.get(number), self.offsets.get(number + 1)) else {
            return Ok(None);
        };
        let changed = || JournalError::Record { path: self.path().to_owned(), number };
        let head = read_head(&self.file.0, self.item, at, end)?.ok_or_else(changed)?;
        let mut bytes = vec![0; head.num_bytes(self.item) as usize];
        self.file.0.read_at(at + RECORD_HEAD as u64, &mut bytes)?;
        if crc32fast::hash(&bytes) != head.items_crc {
            return Err(changed());
        }
        Ok(Some(Record { hash: head.hash, bytes }))
    }

    /// Appends a record: a hash of what it was made from and its bytes. Returns when they are on disk.
    ///
    /// # Errors
    /// [`JournalError::Length`], or [`JournalError::Io`], after which the journal holds what it held before.
    pub fn append(&mut self, hash: [u8; 32], bytes: &[u8]) -> Result<(), JournalError> {
        let items = bytes.len() as u64 / self.item;
        let items = u32::try_from(items).ok().filter(|_| (bytes.len() as u64).is_multiple_of(self.item));
        let items = items.ok_or(JournalError::Length { expected: self.item, got: bytes.len() })?;
        let head = RecordHead::new(hash, items, crc32fast::hash(bytes));
        let at = self.offsets[self.len()];
        let file = &mut self.file.0;
        let written = file
            .seek(SeekFrom::Start(at))
            .and_then(|_| file.write_all(bytemuck::bytes_of(&head)))
            .and_then(|()| file.write_all(bytes))
            .at("append to", file.path())
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Best effort: the next open cuts off a torn record all the same.
            let _ = file.set_len(at);
            return Err(error.into());
        }
        self.offsets.push(at + (RECORD_HEAD + bytes.len()) as u64);
        Ok(())
    }

    /// Cuts off record `number` and all after it; beyond the last record it does nothing.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn truncate(&mut self, number: usize) -> Result<(), JournalError> {
        if number >= self.len() {
            return Ok(());
        }
        self.cut(self.offsets[number])?;
        self.offsets.truncate(number + 1);
        Ok(())
    }

    fn cut(&self, at: u64) -> Result<(), JournalError> {
        self.file.0.set_len(at)?;
        Ok(self.file.0.sync()?)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Still locked.
        if self.is_ours && self.is_empty() {
            self.remove_file();
        }
    }
}

/// How many bytes the journal at `path` keeps behind its header; 0 if there is none. It may be open elsewhere.
///
/// ```
/// use secateur_files::{Journal, kept_bytes};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal");
/// assert_eq!(kept_bytes(&path), 0);
/// let mut journal = Journal::open(&path, [7; 32], 0)?;
/// assert_eq!(kept_bytes(&path), 0);
/// journal.append([1; 32], b"a result")?;
/// assert!(kept_bytes(&path) > 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kept_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len().saturating_sub(HEADER_LEN as u64))
}

/// How many items the journal at `path` keeps, by the heads of its records; 0 if there is none. It may be open
/// elsewhere, and the items themselves are not read.
///
/// ```
/// use secateur_files::{Journal, kept_items};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal");
/// assert_eq!(kept_items(&path), 0);
/// let mut journal = Journal::open(&path, [7; 32], 2)?;
/// journal.append([1; 32], &[0; 3 * 8])?;
/// journal.append([2; 32], &[0; 8])?;
/// assert_eq!(kept_items(&path), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn kept_items(path: &Path) -> u64 {
    let count = || -> Option<u64> {
        let file = DiskFile::open(path).ok()?;
        let len = file.file().metadata().ok()?.len();
        let mut header = [0; HEADER_LEN];
        file.read_at(0, &mut header).ok()?;
        let item = bytes_of_item(header::read::<JournalHeader>(&header, &KIND).ok()?.width);
        let (mut at, mut items) = (HEADER_LEN as u64, 0);
        while let Some(head) = read_head(&file, item, at, len).ok()? {
            items += u64::from(head.items);
            at += RECORD_HEAD as u64 + head.num_bytes(item);
        }
        Some(items)
    };
    count().unwrap_or(0)
}

/// The bytes of an item of `width` words, as a header has it.
fn bytes_of_item(width: u32) -> u64 {
    if width == 0 { 1 } else { 4 * u64::from(width) }
}

/// The head of the record at `at`, if it is whole and its items lie within `len` bytes.
fn read_head(file: &DiskFile, item: u64, at: u64, len: u64) -> Result<Option<RecordHead>, PathError> {
    let start = at + RECORD_HEAD as u64;
    if start > len {
        return Ok(None);
    }
    let mut head = RecordHead::zeroed();
    file.read_at(at, bytemuck::bytes_of_mut(&mut head))?;
    Ok(Some(head).filter(|head| head.is_whole() && head.num_bytes(item) <= len - start))
}

impl RecordHead {
    /// The bytes of its items, each of `item` bytes.
    fn num_bytes(&self, item: u64) -> u64 {
        // At most 2^32 items of 2^34 bytes: may exceed u64 only in a file that nobody can store.
        u64::from(self.items).saturating_mul(item)
    }

    fn new(hash: [u8; 32], items: u32, items_crc: u32) -> RecordHead {
        let mut head = RecordHead { hash, items, items_crc, crc: 0, zeros: [0; 4] };
        head.crc = head.own_crc();
        head
    }

    fn own_crc(&self) -> u32 {
        crc32fast::hash(&bytemuck::bytes_of(self)[..40])
    }

    fn is_whole(&self) -> bool {
        self.crc == self.own_crc() && self.zeros == [0; 4]
    }
}

#[cfg(test)]
mod tests;
