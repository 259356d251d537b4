//! Encoding that can stop at any moment and go on where it stopped.

use std::path::{Path, PathBuf};

use secateur_encoders::{Encoder, TextKind};
use secateur_index::storage::EmbeddingJournal;

use crate::error::Result;

/// How many texts are encoded between two entries of the journal: a few seconds of work, so that an interruption
/// loses little.
const CHUNK_TEXTS: usize = 128;

/// A chunk ends here too, so that long texts do not fill the memory.
const CHUNK_BYTES: usize = 4 << 20;

/// An encoder with a journal: the vectors of each chunk are kept, so that the same chunks need not be encoded again.
pub(crate) struct JournaledEncoding {
    path: PathBuf,
    journal: EmbeddingJournal,
    kind: TextKind,
    /// The number of the next chunk.
    next: usize,
}

impl JournaledEncoding {
    pub(crate) fn open(path: &Path, encoder: &Encoder, kind: TextKind) -> Result<JournaledEncoding> {
        let mut key = blake3::Hasher::new();
        key.update(encoder.fingerprint().as_bytes()).update(format!("{kind:?}").as_bytes());
        let journal = EmbeddingJournal::open(path, key.finalize().into(), encoder.dim())?;
        Ok(JournaledEncoding { path: path.to_owned(), journal, kind, next: 0 })
    }

    /// The vectors (B, D) of the next chunk of texts: from the journal if it holds just these texts at this place.
    pub(crate) fn rows(&mut self, encoder: &Encoder, texts: &[String]) -> Result<Vec<f32>> {
        let hash = hash(texts);
        let number = self.next;
        self.next += 1;
        if let Some((stored, rows)) = self.journal.get(number)? {
            if stored == hash {
                return Ok(rows);
            }
            if number == 0 {
                // Not one vector would be of use, and they may be the work of hours.
                let bytes = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
                return Err(secateur_index::Error::OtherWork { path: self.path.clone(), bytes }.into());
            }
            // The corpus has changed from here on.
            self.journal.truncate(number)?;
        }
        let rows = encoder.encode(&borrowed(texts), self.kind)?;
        self.journal.append(hash, &rows)?;
        Ok(rows)
    }
}

fn hash(texts: &[String]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Groups items until a chunk is full. The first error ends the chunks.
pub(crate) fn chunks<T, E>(
    mut items: impl Iterator<Item = std::result::Result<T, E>>,
    bytes: impl Fn(&T) -> usize,
) -> impl Iterator<Item = std::result::Result<Vec<T>, E>> {
    std::iter::from_fn(move || {
        let mut chunk = Vec::new();
        let mut size = 0;
        while chunk.len() < CHUNK_TEXTS && size < CHUNK_BYTES {
            match items.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(item)) => {
                    size += bytes(&item);
                    chunk.push(item);
                }
            }
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    })
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    Ok(secateur_files::disk::remove_file(path)?)
}

pub(crate) fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
