//! Whole corpora, larger than memory: encoded chunk by chunk, with a journal that survives interruption.

use std::path::Path;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, TextKind};
use secateur_index::storage::EmbeddingJournal;

use crate::database::{Database, borrowed, is_empty};
use crate::error::{Error, Result};

/// Texts that are encoded between two entries of the journal: a few seconds of work, so that little is lost.
const CHUNK_TEXTS: usize = 128;

/// A chunk ends here too, so that long texts do not fill the memory.
const CHUNK_BYTES: usize = 4 << 20;

/// What a corpus is indexed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexOptions {
    /// Whether documents without title and text are taken; otherwise the first one is an error.
    pub allow_empty: bool,
    /// Whether the journal stays after the commit, for a caller that has yet to move the database to its place: the
    /// vectors are then never in neither. The caller removes it.
    pub keep_journal: bool,
}

/// Adds a corpus to a database and commits it. `progress` is called with the number of documents done.
///
/// Vectors are kept in the file `journal` while the work goes on. If it stops, by an error or a kill, the same call
/// with the same journal goes on from the last chunk that was finished, and ends with the same bytes. The journal is
/// removed at the end, unless the options keep it.
///
/// # Errors
///
/// Those of the corpus's items, of the encoder and of the database; nothing is committed then.
pub fn index_corpus<E>(
    database: &mut Database,
    corpus: impl IntoIterator<Item = std::result::Result<Document, E>>,
    journal: &Path,
    options: IndexOptions,
    mut progress: impl FnMut(usize),
) -> Result<()>
where
    Error: From<E>,
{
    let encoder = database.required_encoder()?.is_some();
    // Locked before the first chunk is encoded: the journal must have one writer too.
    database.changes()?;
    let mut vectors = if encoder { Some(open_journal(database, journal)?) } else { None };
    let mut done = 0;
    for chunk in chunks(corpus.into_iter(), |document| document.title.len() + document.text.len()) {
        let documents = chunk?;
        if !options.allow_empty
            && let Some(document) = documents.iter().find(|document| is_empty(document))
        {
            return Err(Error::EmptyDocument { doc_id: document.id.clone() });
        }
        let rows = match (&mut vectors, database.required_encoder()?) {
            (Some(vectors), Some(encoder)) => {
                Some(vectors.rows(encoder, &database.passages(&documents), TextKind::Passage)?)
            }
            _ => None,
        };
        database.add_with_rows(&documents, rows.as_deref())?;
        done += documents.len();
        progress(done);
    }
    database.commit()?;
    if vectors.is_some() && !options.keep_journal {
        remove(journal)?;
    }
    Ok(())
}

fn open_journal(database: &Database, path: &Path) -> Result<JournaledEncoding> {
    let (_, fingerprint) = database.encoder_identity().expect("the caller has seen that there is an encoder");
    let dim = database.dim().expect("a database with an encoder has vectors");
    JournaledEncoding::open(path, fingerprint.as_bytes(), TextKind::Passage, dim)
}

/// Encodes texts and writes their vectors as a .npy file (N, D), in their order. `progress` is called with the number
/// of texts done. Stops and goes on as [`index_corpus`] does, with a journal beside the file.
///
/// # Errors
///
/// Those of the items, of the encoder and of the disk; the file appears whole or not at all.
pub fn encode_to_npy<E>(
    encoder: &Encoder,
    kind: TextKind,
    texts: impl IntoIterator<Item = std::result::Result<String, E>>,
    path: &Path,
    mut progress: impl FnMut(usize),
) -> Result<usize>
where
    Error: From<E>,
{
    let journal_path = secateur_datasets::with_suffix(path, ".journal");
    let mut journal =
        JournaledEncoding::open(&journal_path, encoder.fingerprint().as_bytes(), kind, encoder.dim())?;
    let mut file = crate::npy::NpyWriter::create(path, encoder.dim())?;
    let mut done = 0;
    for chunk in chunks(texts.into_iter(), String::len) {
        let texts = chunk?;
        file.write(&journal.rows(encoder, &texts, kind)?)?;
        done += texts.len();
        progress(done);
    }
    file.finish(done)?;
    remove(&journal_path)?;
    Ok(done)
}

/// An encoder whose answers are kept, chunk by chunk, so that the same chunks need not be encoded again.
pub(crate) struct JournaledEncoding {
    journal: EmbeddingJournal,
    /// The number of the next chunk.
    next: usize,
}

impl JournaledEncoding {
    pub(crate) fn open(
        path: &Path,
        fingerprint: &[u8; 32],
        kind: TextKind,
        dim: usize,
    ) -> Result<JournaledEncoding> {
        let mut key = blake3::Hasher::new();
        key.update(fingerprint).update(format!("{kind:?}").as_bytes());
        Ok(JournaledEncoding { journal: EmbeddingJournal::open(path, key.finalize().into(), dim)?, next: 0 })
    }

    /// The vectors (B, D) of the next chunk of texts: from the journal if it holds just these texts at this place.
    pub(crate) fn rows(&mut self, encoder: &Encoder, texts: &[String], kind: TextKind) -> Result<Vec<f32>> {
        let hash = hash(texts);
        let number = self.next;
        self.next += 1;
        if let Some((stored, rows)) = self.journal.get(number)? {
            if stored == hash {
                return Ok(rows);
            }
            // The corpus has changed from here on.
            self.journal.truncate(number)?;
        }
        let rows = encoder.encode(&borrowed(texts), kind)?;
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
    std::fs::remove_file(path).map_err(|source| Error::Io { action: "remove", path: path.to_owned(), source })
}
