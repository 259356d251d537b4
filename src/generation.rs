//! Generations: the documents of a database under another encoder, beside those that it has.

use std::path::Path;
use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, TextKind};
use secateur_index::storage::{EncoderIdentity, Generation, VectorSettings};

use crate::corpus::{JournaledEncoding, chunks, remove};
use crate::database::{CreateOptions, Database, SEPARATOR};
use crate::error::Result;

/// Encodes all documents of a database with another encoder and adds their vectors as a generation of their own.
/// `progress` is called with the number of documents done. Searches read the new generation when it is asked for
/// ([`Database::open_generation`]) or used ([`Database::use_generation`]).
///
/// Vectors are kept in the file `journal` while the work goes on, so that it can be stopped at any moment and go on from there,
/// as [`index_corpus`](crate::index_corpus) does. The database can be searched meanwhile, but not be changed.
///
/// # Errors
///
/// A generation has the name already, or the name is none; another process is writing, or there are changes that are not
/// committed; those of the encoder and of the disk. The database then stays as it was.
pub fn add_generation(
    database: &mut Database,
    name: &str,
    encoder: &Encoder,
    options: &CreateOptions,
    journal: &Path,
    mut progress: impl FnMut(usize),
) -> Result<()> {
    let mut store = database.store()?;
    let snapshot = store.snapshot().clone();
    let mut properties: std::collections::BTreeMap<_, _> = options.notes.iter().cloned().collect();
    properties.insert(SEPARATOR.to_owned(), options.passage_separator.clone());
    let mut writer = store.begin_generation(Generation {
        name: name.to_owned(),
        vectors: VectorSettings {
            metric: options.metric,
            dim: encoder.dim(),
            components: options.components,
            index: options.index,
        },
        encoder: Some(EncoderIdentity {
            name: encoder.name().to_owned(),
            fingerprint: *encoder.fingerprint().as_bytes(),
        }),
        properties,
    })?;
    let fingerprint = encoder.fingerprint().as_bytes();
    let mut vectors = JournaledEncoding::open(journal, fingerprint, TextKind::Passage, encoder.dim())?;
    let passages = snapshot.rows().map(|row| -> Result<String> {
        let stored = snapshot.document_at(row)?;
        let document = Document {
            title: stored.title.into_owned(),
            text: stored.text.into_owned(),
            ..Document::default()
        };
        Ok(document.passage(&options.passage_separator))
    });
    let mut done = 0;
    for chunk in chunks(passages, String::len) {
        let passages = chunk?;
        let rows = vectors.rows(encoder, &passages, TextKind::Passage)?;
        rows.chunks_exact(encoder.dim()).try_for_each(|row| writer.add(row))?;
        done += passages.len();
        progress(done);
    }
    let committed = writer.finish()?;
    drop(store);
    database.set_snapshot(committed)?;
    remove(journal)
}

impl Database {
    /// Opens a database as [`Database::open`] does, to read the vectors of a generation that need not be the one in use.
    ///
    /// # Errors
    ///
    /// As [`Database::open`], and there is no generation of this name.
    pub fn open_generation(
        path: impl AsRef<Path>,
        name: &str,
        encoder: Option<Arc<Encoder>>,
    ) -> Result<Database> {
        let path = path.as_ref();
        let snapshot = secateur_index::storage::Snapshot::open(path)?.with_generation(name)?;
        Database::with_snapshot(path, snapshot, encoder)
    }

    /// The name of the generation that this value reads: the one that was in use when it was opened, unless another was asked
    /// for; `None` in a database without vectors.
    pub fn generation(&self) -> Option<&str> {
        self.snapshot().generation()
    }

    /// The name of the generation that is read by those who ask for none.
    pub fn generation_in_use(&self) -> Option<&str> {
        self.snapshot().generation_in_use()
    }

    /// All generations, in the order in which they were added.
    pub fn generations(&self) -> &[Generation] {
        self.snapshot().generations()
    }

    /// Makes those who open the database from now on read this generation, at once and durably. This value goes on with its own.
    ///
    /// # Errors
    ///
    /// There is no such generation, another process is writing, or there are changes that are not committed.
    pub fn use_generation(&mut self, name: &str) -> Result<()> {
        let snapshot = self.store()?.use_generation(name)?;
        self.set_snapshot(snapshot)
    }

    /// Removes a generation that is not in use, at once and durably. Those who read it read on.
    ///
    /// # Errors
    ///
    /// There is no such generation, it is in use or read by this value, another process is writing, or there are changes that
    /// are not committed.
    pub fn drop_generation(&mut self, name: &str) -> Result<()> {
        if self.generation() == Some(name) {
            return Err(secateur_index::Error::GenerationInUse { name: name.to_owned() }.into());
        }
        let snapshot = self.store()?.drop_generation(name)?;
        self.set_snapshot(snapshot)
    }
}
