//! The journal of a corpus being encoded, so that encoding can stop at any moment and go on where it stopped.

use std::path::Path;

use secateur_files::{Journal, JournalError, kept_items};

use crate::error::{Damage, Error, Result};
use crate::file_format::files::corrupt;
use crate::file_format::header::header_error;

/// An append-only file of embeddings in the order in which a corpus is encoded. Chunk number i holds the vectors of the
/// i-th chunk of texts, and a hash of those texts.
///
/// Durability: when [`append`](EmbeddingJournal::append) returns, the record survives a killed process and a power
/// failure. A record cut short by either is cut off at the next open. Memory: 8 bytes a chunk. A journal without a
/// record is removed when it is dropped.
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
/// assert!(EmbeddingJournal::open(&path, [8; 32], 2).is_err(), "it keeps the vectors of another encoder");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EmbeddingJournal {
    /// An item of a record is a vector.
    journal: Journal,
    dim: usize,
}

/// The hash of a chunk of texts, and its rows.
type Chunk = ([u8; 32], Vec<f32>);

impl EmbeddingJournal {
    /// Opens the journal at `path`, or creates it. A journal with another `key` or `dim` is refused if it keeps
    /// anything. A file whose header was not completely written starts afresh. Reads the file through and cuts it off
    /// at the first record that is not whole.
    ///
    /// # Errors
    /// [`Error::OtherWork`]. [`Error::Locked`] while another journal of the same file is open. [`Error::Corrupt`] for a
    /// file that is something else, [`Error::NewerFormat`], [`Error::Io`], [`Error::InvalidParameter`] for `dim` 0.
    pub fn open(path: impl AsRef<Path>, key: [u8; 32], dim: usize) -> Result<EmbeddingJournal> {
        let width = u32::try_from(dim).ok().filter(|width| *width > 0);
        let allowed = "1 to 2^32 - 1";
        let width = width.ok_or(Error::InvalidParameter { name: "dim", got: dim as f64, allowed })?;
        Ok(EmbeddingJournal { journal: Journal::open(path.as_ref(), key, width)?, dim })
    }

    /// The number of chunks.
    pub fn len(&self) -> usize {
        self.journal.len()
    }

    /// Whether there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty()
    }

    /// D of the rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Chunk `number`: the hash and the rows, (B, D) row-major, read from disk; `None` beyond the last chunk.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the record was changed since the journal was opened, [`Error::Io`].
    pub fn get(&self, number: usize) -> Result<Option<Chunk>> {
        let Some(record) = self.journal.get(number)? else { return Ok(None) };
        let mut rows = vec![0.0f32; record.bytes.len() / 4];
        bytemuck::cast_slice_mut(&mut rows).copy_from_slice(&record.bytes);
        Ok(Some((record.hash, rows)))
    }

    /// Appends the next chunk: a hash of its texts and its rows, (B, D) row-major. Returns when they are on disk.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], or [`Error::Io`], after which the journal holds what it held before.
    pub fn append(&mut self, hash: [u8; 32], rows: &[f32]) -> Result<()> {
        Ok(self.journal.append(hash, bytemuck::cast_slice(rows))?)
    }

    /// Removes the file, as [`Journal::remove`] does: the vectors are where they belong.
    pub fn remove(self) {
        self.journal.remove();
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Error {
        match error {
            JournalError::Io(error) => Error::Io(error),
            JournalError::Locked { path } => Error::Locked { path, holder: None },
            JournalError::Header { path, fault } => header_error(&path, fault),
            JournalError::OtherWork { path, .. } => Error::OtherWork { num_vectors: kept_items(&path), path },
            JournalError::Record { path, .. } => corrupt(&path, Damage::Undecodable { part: "a record" }),
            JournalError::Length { expected, got } => {
                Error::RaggedVectors { dim: expected as usize / 4, got: got / 4 }
            }
        }
    }
}
