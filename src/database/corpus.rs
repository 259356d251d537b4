//! Whole corpora, larger than memory: encoded chunk by chunk, with a journal that survives interruption.

use std::path::Path;

use secateur_datasets::Document;
use secateur_encoders::TextKind;

use super::{Database, check_not_empty};
use crate::encode::journaled::{JournaledEncoding, chunks};
use crate::error::{Error, Result};

/// Adds a corpus to a database and commits it. `progress` is called with the number of documents done.
///
/// Vectors are kept in the file `journal` meanwhile. After an error or a kill, the same call with the same journal
/// continues after the last finished chunk, and ends with the same bytes.
///
/// # Errors
///
/// The errors of the corpus's items, of the encoder and of the database. Nothing is committed then.
pub(super) fn add_corpus<E>(
    database: &mut Database,
    corpus: impl IntoIterator<Item = std::result::Result<Document, E>>,
    journal: &Path,
    allow_empty: bool,
    mut progress: impl FnMut(usize),
) -> Result<()>
where
    Error: From<E>,
{
    // Locked before the first chunk is encoded: the journal must have one writer too.
    database.changes()?;
    let mut vectors = match database.required_encoder()? {
        Some(encoder) => Some(JournaledEncoding::open(journal, encoder, TextKind::Passage)?),
        None => None,
    };
    let mut done = 0;
    for chunk in chunks(corpus.into_iter(), |document| document.title.len() + document.text.len()) {
        let documents = chunk?;
        if !allow_empty {
            check_not_empty(&documents)?;
        }
        let rows = match (&mut vectors, database.required_encoder()?) {
            (Some(vectors), Some(encoder)) => Some(vectors.rows(encoder, &database.passages(&documents))?),
            _ => None,
        };
        database.add_with_rows(&documents, rows.as_deref())?;
        done += documents.len();
        progress(done);
    }
    database.commit()
}
