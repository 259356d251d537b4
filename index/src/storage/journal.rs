//! The journal of a corpus being encoded, so that encoding can stop at any moment and go on where it stopped.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::lock::LockedFile;
use crate::error::{Damage, Error, Result};
use crate::file_format::files::{checksum_at, corrupt, io_error, read_at, sync_folder};
use crate::file_format::header::{HEADER_LEN, Header, Kind};

const KIND: Kind = Kind { mark: b"SCTRJRNL", name: "an embedding journal", version: 1 };

/// A record begins with: hash (32 bytes), number of rows (u32), CRC-32 of the rows, CRC-32 of these 40 bytes, 4 zeros.
const RECORD_HEAD: usize = 48;

/// An append-only file of embeddings in the order in which a corpus is encoded: chunk number i holds the vectors of
/// the i-th chunk of texts, and a hash of those texts.
///
/// Durability: when [`append`](EmbeddingJournal::append) returns, the record survives a killed process and a power
/// failure. A record cut short by either is cut off at the next open. Memory: 16 bytes a chunk.
///
/// ```
/// use secateur_index::storage::EmbeddingJournal;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal");
/// let mut journal = EmbeddingJournal::open(&path, [7; 32], 2)?;
/// journal.append([1; 32], &[0.5, 0.25, 1.0, 2.0])?;
/// drop(journal);
///
/// let journal = EmbeddingJournal::open(&path, [7; 32], 2)?;
/// assert_eq!(journal.get(0)?, Some(([1; 32], vec![0.5, 0.25, 1.0, 2.0])));
/// assert_eq!(journal.get(1)?, None);
/// drop(journal);
/// let other_key = EmbeddingJournal::open(&path, [8; 32], 2)?;
/// assert_eq!(other_key.len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingJournal {
    path: PathBuf,
    file: LockedFile,
    dim: usize,
    /// Where each record begins, and last where the next one will.
    offsets: Vec<u64>,
}

impl EmbeddingJournal {
    /// Opens the journal at `path`, or creates it. A journal with another `key` or `dim`, and a file whose header was
    /// not completely written, start afresh. Reads the file through and cuts it off at the first record that is not
    /// whole.
    ///
    /// # Errors
    /// [`Error::Locked`] while another journal of the same file is open, [`Error::Corrupt`] for a file that is something
    /// else, [`Error::NewerFormat`], [`Error::Io`], [`Error::InvalidParameter`] for `dim` 0.
    pub fn open(path: impl AsRef<Path>, key: [u8; 32], dim: usize) -> Result<EmbeddingJournal> {
        let path = path.as_ref().to_owned();
        if dim == 0 || u32::try_from(dim).is_err() {
            return Err(Error::InvalidParameter { name: "dim", got: dim as f64, allowed: "1 to 2^32 - 1" });
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let file = LockedFile::try_lock(file, &path)?
            .map_err(|_| Error::Locked { path: path.clone(), holder: None })?;
        let len = file.0.metadata().map_err(io_error("read", &path))?.len();
        let mut journal = EmbeddingJournal { path, file, dim, offsets: vec![HEADER_LEN as u64] };
        let mut header = Header::new(&KIND);
        header.put(12, &(dim as u32).to_le_bytes());
        header.put(16, &key);
        let header = header.seal();
        if journal.has_header(&header, len)? {
            journal.find_records(len)?;
        } else {
            journal.start_afresh(&header)?;
        }
        Ok(journal)
    }

    /// Whether the file begins with this header. A file that is no journal is an error: it must not be overwritten.
    fn has_header(&self, expected: &[u8; HEADER_LEN], len: u64) -> Result<bool> {
        if len < HEADER_LEN as u64 {
            // Empty, or killed while creating: then it holds the beginning of a header.
            let mut start = vec![0; len as usize];
            read_at(&self.path, &self.file.0, 0, &mut start)?;
            let mark = &KIND.mark[..start.len().min(8)];
            if !start.starts_with(mark) {
                return Err(corrupt(&self.path, Damage::Magic { kind: KIND.name }));
            }
            return Ok(false);
        }
        let mut found = [0; HEADER_LEN];
        read_at(&self.path, &self.file.0, 0, &mut found)?;
        Header::read(&self.path, &found, &KIND)?;
        Ok(found == *expected)
    }

    fn start_afresh(&mut self, header: &[u8; HEADER_LEN]) -> Result<()> {
        let mut write = || {
            self.file.0.set_len(0)?;
            self.file.0.rewind()?;
            self.file.0.write_all(header)?;
            self.file.0.sync_all()
        };
        write().map_err(io_error("write", &self.path))?;
        let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
    }

    /// Finds the whole records of a file of `len` bytes and cuts off what follows them.
    fn find_records(&mut self, len: u64) -> Result<()> {
        let mut at = HEADER_LEN as u64;
        while let Some(head) = self.read_head(at, len)? {
            let start = at + RECORD_HEAD as u64;
            let bytes = head.num_bytes(self.dim);
            if checksum_at(&self.path, &self.file.0, start, bytes)? != head.rows_crc {
                break;
            }
            at = start + bytes;
            self.offsets.push(at);
        }
        if at < len {
            let cut = || {
                self.file.0.set_len(at)?;
                self.file.0.sync_all()
            };
            cut().map_err(io_error("truncate", &self.path))?;
        }
        Ok(())
    }

    /// The head of the record at `at`, if it is whole and its rows lie within `len` bytes.
    fn read_head(&self, at: u64, len: u64) -> Result<Option<RecordHead>> {
        let start = at + RECORD_HEAD as u64;
        if start > len {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_HEAD];
        read_at(&self.path, &self.file.0, at, &mut bytes)?;
        Ok(RecordHead::parse(&bytes).filter(|head| head.num_bytes(self.dim) <= len - start))
    }

    /// The number of chunks.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// D of the rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Chunk `number`: the hash and the rows, (B, D) row-major, read from disk; `None` beyond the last chunk.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the record was changed since the journal was opened, [`Error::Io`].
    pub fn get(&self, number: usize) -> Result<Option<([u8; 32], Vec<f32>)>> {
        let (Some(&at), Some(&end)) = (self.offsets.get(number), self.offsets.get(number + 1)) else {
            return Ok(None);
        };
        let damaged = || corrupt(&self.path, Damage::Undecodable { part: "a record" });
        let head = self.read_head(at, end)?.ok_or_else(damaged)?;
        let mut rows = vec![0.0f32; head.rows as usize * self.dim];
        read_at(&self.path, &self.file.0, at + RECORD_HEAD as u64, bytemuck::cast_slice_mut(&mut rows))?;
        if crc32fast::hash(bytemuck::cast_slice(&rows)) != head.rows_crc {
            return Err(damaged());
        }
        Ok(Some((head.hash, rows)))
    }

    /// Appends the next chunk: a hash of its texts and its rows, (B, D) row-major. Returns when they are on disk.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], or [`Error::Io`], after which the journal holds what it held before.
    pub fn append(&mut self, hash: [u8; 32], rows: &[f32]) -> Result<()> {
        let num_rows = rows.len() / self.dim;
        if !rows.len().is_multiple_of(self.dim) || u32::try_from(num_rows).is_err() {
            return Err(Error::RaggedVectors { dim: self.dim, got: rows.len() });
        }
        let bytes: &[u8] = bytemuck::cast_slice(rows);
        let head = RecordHead { hash, rows: num_rows as u32, rows_crc: crc32fast::hash(bytes) };
        let at = self.end();
        let mut write = || {
            self.file.0.seek(SeekFrom::Start(at))?;
            self.file.0.write_all(&head.to_bytes())?;
            self.file.0.write_all(bytes)?;
            self.file.0.sync_data()
        };
        if let Err(error) = write() {
            // Best effort: the next open cuts off a torn record all the same.
            let _ = self.file.0.set_len(at);
            return Err(io_error("append to", &self.path)(error));
        }
        self.offsets.push(at + (RECORD_HEAD + bytes.len()) as u64);
        Ok(())
    }

    /// Cuts off chunk `number` and all after it; beyond the last chunk it does nothing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn truncate(&mut self, number: usize) -> Result<()> {
        if number >= self.len() {
            return Ok(());
        }
        let cut = || {
            self.file.0.set_len(self.offsets[number])?;
            self.file.0.sync_all()
        };
        cut().map_err(io_error("truncate", &self.path))?;
        self.offsets.truncate(number + 1);
        Ok(())
    }

    fn end(&self) -> u64 {
        self.offsets[self.offsets.len() - 1]
    }
}

struct RecordHead {
    hash: [u8; 32],
    rows: u32,
    rows_crc: u32,
}

impl RecordHead {
    fn to_bytes(&self) -> [u8; RECORD_HEAD] {
        let mut bytes = [0; RECORD_HEAD];
        bytes[..32].copy_from_slice(&self.hash);
        bytes[32..36].copy_from_slice(&self.rows.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.rows_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head in these bytes, if its own checksum holds.
    fn parse(bytes: &[u8; RECORD_HEAD]) -> Option<RecordHead> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let is_whole = u32_at(40) == crc32fast::hash(&bytes[..40]) && bytes[44..] == [0; 4];
        is_whole.then(|| RecordHead {
            hash: std::array::from_fn(|byte| bytes[byte]),
            rows: u32_at(32),
            rows_crc: u32_at(36),
        })
    }

    fn num_bytes(&self, dim: usize) -> u64 {
        // At most 2^32 rows of 2^32 components: may exceed u64 only in a file that nobody can store.
        u64::from(self.rows).saturating_mul(dim as u64).saturating_mul(4)
    }
}
