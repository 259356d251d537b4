//! The database: documents, their vectors under one encoder, and a BM25 index, in one folder.
//!
//! A [`DatabaseBuilder`] makes a [`Database`]. [`AddOptions`] and [`AddReport`] go with the documents that are added.
//! [`VectorOptions`] say how vectors are made, stored and searched; an [`EncoderRecord`] with its [`EncoderSource`] is
//! what is remembered of their encoder. [`DatabaseInfo`] and [`GenerationInfo`] describe what there is.

mod builder;
mod changes;
mod documents;
mod encoder_record;
mod generation;
mod info;
mod ingest;
mod maintenance;
mod on_device;
mod query;
pub(crate) mod reading;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, Fingerprint};
use secateur_index::bm25::Analyzer;
use secateur_index::flat::DeviceCodes;
use secateur_index::search::Recall;
use secateur_index::storage::{
    EncoderIdentity, Generation, Snapshot, Store, Transaction, VectorIndex, VerifyReport,
};

use crate::error::{Error, Result};
use changes::Changes;

pub use builder::{DatabaseBuilder, VectorOptions};
pub use encoder_record::{EncoderRecord, EncoderSource};
pub use info::{DatabaseInfo, GenerationInfo};
pub use ingest::{AddOptions, AddReport};
pub(crate) use query::encode;

/// The key under which a database keeps what stands between title and text.
const SEPARATOR: &str = "passage_separator";

/// The key under which a generation keeps how documents are split.
const PASSAGES: &str = "passages";

/// The key under which a generation keeps the name of the one that it took the place of.
const REPLACES: &str = "replaces";

/// Documents retrievable by id, searchable by meaning and by words, in one folder.
///
/// Any number of processes may have a database open; one at a time may write. If a process is killed, the database is
/// in the state of the last [`commit`](Database::commit). Threads may share a database to search it.
///
/// ```
/// use secateur::{Database, Document, SearchParams};
///
/// let folder = tempfile::tempdir()?;
/// let mut database = Database::builder(folder.path().join("db")).create()?;
/// database.add(&[
///     Document::new("1", "Prune roses in late winter.").title("Roses"),
///     Document::new("2", "Bread rises overnight."),
/// ])?;
/// database.commit()?;
///
/// let found = database.search_documents("pruning a rose", &SearchParams::default())?;
/// let (hit, document) = &found[0];
/// assert_eq!((hit.doc_id.as_str(), document.title.as_str()), ("1", "Roses"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Database {
    path: PathBuf,
    encoder: Option<Arc<Encoder>>,
    /// The encoders of other generations, by their names: documents are added with a vector of each.
    others: HashMap<String, Arc<Encoder>>,
    /// What searches see: the state of the last commit.
    snapshot: Snapshot,
    /// The codes of its vectors in the memory of a GPU, if that searches them.
    codes: Option<Arc<DeviceCodes>>,
    /// The changes since the last commit. While there are any, other writers cannot open the database.
    changes: Changes,
}

impl Database {
    /// Opens a database without an encoder: it can be read, changed where no vectors are to be made, and searched by
    /// words.
    ///
    /// # Errors
    ///
    /// There is no database, it is unfinished, damaged or of a newer version.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        let path = path.as_ref();
        Ok(Database {
            path: path.to_owned(),
            encoder: None,
            others: HashMap::new(),
            snapshot: builder::finished(path)?,
            codes: None,
            changes: Changes::default(),
        })
    }

    /// Opens a database with the encoder of its vectors. `reload` loads it from what the database remembers;
    /// [`EncoderRecord::load`] does so if models stay in their places. A database without an encoder is opened as
    /// [`Database::open`] does.
    ///
    /// ```no_run
    /// use secateur::database::EncoderRecord;
    /// use secateur::Database;
    /// let database = Database::open_with("garden.db", EncoderRecord::load)?;
    /// # Ok::<(), secateur::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Database::open`], and those of `reload` and [`Database::with_encoder`].
    pub fn open_with<E: From<Error>>(
        path: impl AsRef<Path>,
        reload: impl FnOnce(&EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<Database, E> {
        Database::open(path)?.reload_encoder(reload)
    }

    /// The same database with the encoder of its vectors, as [`Database::open_with`].
    ///
    /// # Errors
    ///
    /// Those of `reload` and [`Database::with_encoder`].
    pub fn reload_encoder<E: From<Error>>(
        self,
        reload: impl FnOnce(&EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<Database, E> {
        match self.encoder_record() {
            Some(record) => Ok(self.with_encoder(reload(&record)?)?),
            None => Ok(self),
        }
    }

    /// The same database with this encoder, which must be the one that made its vectors.
    ///
    /// # Errors
    ///
    /// [`Error::EncoderMismatch`] if its vectors are another encoder's, [`Error::NoVectors`] if it has none, and
    /// [`Error::NoEncoder`] if no encoder made them.
    pub fn with_encoder(self, encoder: impl Into<Arc<Encoder>>) -> Result<Database> {
        let encoder = encoder.into();
        check_encoder(&self.path, &self.snapshot, &encoder)?;
        Ok(Database { encoder: Some(encoder), ..self })
    }

    /// The same database with the encoders of all its generations, so that documents can be added while it has several.
    /// `reload` is called for each generation whose encoder is not there yet, with its name.
    ///
    /// # Errors
    ///
    /// Those of `reload`, and [`Error::EncoderMismatch`].
    pub fn with_all_encoders<E: From<Error>>(
        mut self,
        mut reload: impl FnMut(&str, &EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<Database, E> {
        for generation in self.generations().to_vec() {
            let Some(identity) = &generation.encoder else { continue };
            if self.encoder_of(&generation).is_ok() {
                continue;
            }
            let encoder = reload(&generation.name, &EncoderRecord::read(identity, &generation.properties))?;
            if *encoder.fingerprint().as_bytes() != identity.fingerprint {
                return Err(mismatch(&self.path, identity, &encoder).into());
            }
            if self.generation_name() == Some(&generation.name) {
                self.encoder = Some(encoder);
            } else {
                self.others.insert(generation.name, encoder);
            }
        }
        Ok(self)
    }

    /// The encoder of a generation, if it is there and is the one that made its vectors.
    fn encoder_of(&self, generation: &Generation) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        let Some(identity) = &generation.encoder else { return Err(Error::NoEncoder { path: path() }) };
        let is_it = |encoder: &&Arc<Encoder>| *encoder.fingerprint().as_bytes() == identity.fingerprint;
        // The encoder that is read may serve another generation too: with another index, say.
        let known = self.others.get(&generation.name).into_iter().chain(&self.encoder);
        match known.into_iter().find(is_it) {
            Some(encoder) => Ok(encoder),
            None => Err(match self.generations() {
                [_] => Error::EncoderRequired { path: path(), name: identity.name.clone() },
                _ => Error::GenerationEncoder {
                    path: path(),
                    generation: generation.name.clone(),
                    name: identity.name.clone(),
                },
            }),
        }
    }

    /// Continues with a later state of the database, and with the generation that is read.
    pub(crate) fn set_snapshot(&mut self, snapshot: Snapshot) -> Result<()> {
        self.snapshot = match self.snapshot.generation() {
            Some(name) => snapshot.with_generation(name)?,
            None => snapshot,
        };
        self.codes = None;
        Ok(())
    }

    /// Goes on with what other processes have committed since this value was opened, at the cost of what is new. The
    /// generation that is read stays, unless it was the one in use and another one is now.
    ///
    /// # Errors
    ///
    /// There are uncommitted changes, or a file is damaged. The generation that is read, or its encoder, is gone.
    pub fn refresh(&mut self) -> Result<()> {
        if self.changes.is_some() {
            return Err(Error::UncommittedChanges { path: self.path.clone() });
        }
        let latest = self.snapshot.latest()?;
        if let Some(encoder) = &self.encoder {
            check_encoder(&self.path, &latest, encoder)?;
        }
        self.snapshot = latest;
        self.codes = None;
        Ok(())
    }

    /// Checks that no other process is changing the database in this folder.
    ///
    /// # Errors
    ///
    /// One is, or there is no database.
    pub fn check_unlocked(path: impl AsRef<Path>) -> Result<()> {
        Store::open(path)?;
        Ok(())
    }

    /// What is committed, to be searched while this value is changed: without changes, with the same encoders.
    ///
    /// ```
    /// use secateur::{Database, Document};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// let reader = database.reader();
    /// database.add(&[Document::new("1", "Bees dance.")])?;
    /// database.commit()?;
    /// assert_eq!((reader.len(), database.reader().len()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self) -> Database {
        Database {
            path: self.path.clone(),
            encoder: self.encoder.clone(),
            others: self.others.clone(),
            snapshot: self.snapshot.clone(),
            codes: self.codes.clone(),
            changes: Changes::default(),
        }
    }

    /// Whether there are changes since the last commit.
    pub fn has_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The encoder of the vectors, if it is loaded.
    pub fn encoder(&self) -> Option<&Arc<Encoder>> {
        self.encoder.as_ref()
    }

    /// Deletes a document. Searches miss it after the next commit.
    ///
    /// # Errors
    ///
    /// There is no such document, or another process is writing.
    pub fn delete(&mut self, doc_id: &str) -> Result<()> {
        Ok(self.changes()?.delete(doc_id)?)
    }

    /// Makes all changes since the last commit visible and durable at once. A crash leaves all of them or none.
    ///
    /// # Errors
    ///
    /// The disk refuses; the database then stays as it was, and the changes are lost.
    pub fn commit(&mut self) -> Result<()> {
        if let Some(changes) = self.changes.take() {
            let committed = changes.commit()?;
            self.set_snapshot(committed)?;
        }
        Ok(())
    }

    /// Forgets all changes since the last commit. Other processes can write again.
    ///
    /// ```
    /// use secateur::{Database, Document};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// database.add(&[Document::new("1", "Bees dance.")])?;
    /// database.rollback();
    /// database.commit()?;
    /// assert!(database.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rollback(&mut self) {
        self.changes = Changes::default();
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// How many vectors the generation that is read has: as many as documents, or as passages of them. Those of deleted
    /// documents that still take space are included.
    pub fn num_vectors(&self) -> usize {
        self.snapshot.num_vectors()
    }

    /// How many texts its encoders have cut since they were loaded.
    pub fn num_cut_texts(&self) -> usize {
        self.encoder.iter().chain(self.others.values()).map(|encoder| encoder.num_cut_texts()).sum()
    }

    /// The length of the vectors; `None` in a database without.
    pub fn dim(&self) -> Option<usize> {
        self.snapshot.settings().vectors.map(|vectors| vectors.dim)
    }

    /// How vectors are searched; `None` in a database without.
    pub fn vector_index(&self) -> Option<VectorIndex> {
        self.snapshot.settings().vectors.map(|vectors| vectors.index)
    }

    /// What makes words of texts and of queries. For a database of before there were several, the one that is nearest
    /// to what it does.
    pub fn analyzer(&self) -> Analyzer {
        self.snapshot.settings().analyzer.unwrap_or_default()
    }

    /// The ef of searches that name none; `None` where an ef makes no difference.
    pub(crate) fn ef_search(&self) -> Option<usize> {
        self.vector_index()?.ef_search()
    }

    /// The encoder of the vectors, as the database remembers it; `None` where no encoder makes vectors.
    pub fn encoder_record(&self) -> Option<EncoderRecord> {
        let settings = self.snapshot.settings();
        Some(EncoderRecord::read(settings.encoder.as_ref()?, &settings.properties))
    }

    /// Reads every file through and compares checksums and invariants.
    ///
    /// # Errors
    ///
    /// The first damage found, with its file.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.snapshot.verify()?)
    }

    /// The recall of the HNSW index at `k` with the default ef. Up to `num_queries` of the database's own vectors are
    /// the queries, so no encoder is needed. `None` without an HNSW index or without documents.
    ///
    /// # Errors
    ///
    /// A damaged file; k is 0.
    pub fn sample_recall(&self, k: usize, num_queries: usize) -> Result<Option<Recall>> {
        let Some(ef_search) = self.ef_search() else { return Ok(None) };
        let step = self.len().div_ceil(num_queries.max(1)).max(1);
        let mut queries = Vec::new();
        for row in self.snapshot.rows().step_by(step) {
            queries.extend_from_slice(&self.snapshot.vector(row)?);
        }
        if queries.is_empty() {
            return Ok(None);
        }
        Ok(self.snapshot.index()?.recall(&queries, k, &[ef_search])?.pop())
    }

    /// Title, separator and text of the document with this id, if there is one.
    pub(crate) fn passage(&self, doc_id: &str) -> Result<Option<String>> {
        Ok(self.document(doc_id)?.map(|document| self.passage_of(&document)))
    }

    /// What a model reads of a document: title, separator and text.
    pub(crate) fn passage_of(&self, document: &Document) -> String {
        document.passage(self.separator())
    }

    /// What stands between title and text of a document where a model reads it. Cross-encoders that rank hits anew
    /// should read the same.
    pub fn separator(&self) -> &str {
        self.snapshot.settings().properties.get(SEPARATOR).map_or(" ", String::as_str)
    }

    /// The checksum of the manifest of the commit that is read; `None` if there is a later one.
    pub(crate) fn checksum(&self) -> Result<Option<u32>> {
        Ok(self.snapshot.checksum()?)
    }

    /// A description that differs after each commit, and between databases of other settings or encoders.
    pub(crate) fn state(&self) -> String {
        format!("{} {} {:?}", self.snapshot.commit_number(), self.len(), self.snapshot.settings())
    }

    /// The encoder for documents; `None` if no encoder makes vectors.
    fn required_encoder(&self) -> Result<Option<&Arc<Encoder>>> {
        match (&self.encoder, &self.snapshot.settings().encoder) {
            (Some(encoder), _) => Ok(Some(encoder)),
            (None, None) => Ok(None),
            (None, Some(identity)) => {
                Err(Error::EncoderRequired { path: self.path.clone(), name: identity.name.clone() })
            }
        }
    }

    /// The encoder for queries.
    fn query_encoder(&self) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        match (self.required_encoder()?, self.dim()) {
            (Some(encoder), _) => Ok(encoder),
            (None, Some(_)) => Err(Error::NoEncoder { path: path() }),
            (None, None) => Err(Error::NoVectors { path: path() }),
        }
    }

    /// The encoder of the generation in use, which this value must read.
    pub(crate) fn serving_encoder(&self) -> Result<&Arc<Encoder>> {
        let encoder = self.query_encoder()?;
        let [read, in_use] = [self.generation_name(), self.generation_in_use()]
            .map(|name| name.unwrap_or_default().to_owned());
        if read == in_use {
            return Ok(encoder);
        }
        Err(Error::GenerationNotInUse { path: self.path.clone(), generation: read, in_use })
    }

    /// The open transaction, which the first change begins. While it is open, other processes cannot write.
    pub(crate) fn changes(&mut self) -> Result<&mut Transaction<Store>> {
        let changes = match self.changes.take() {
            Some(changes) => changes,
            None => {
                let store = Store::open(&self.path)?;
                // Another writer may have committed since this value was opened.
                self.set_snapshot(store.snapshot().clone())?;
                store.into_transaction()?
            }
        };
        Ok(self.changes.insert(changes))
    }
}

fn check_encoder(path: &Path, snapshot: &Snapshot, encoder: &Encoder) -> Result<()> {
    let settings = snapshot.settings();
    let path_of = || path.to_owned();
    let Some(identity) = &settings.encoder else {
        return Err(match settings.vectors {
            Some(_) => Error::NoEncoder { path: path_of() },
            None => Error::NoVectors { path: path_of() },
        });
    };
    if identity.fingerprint == *encoder.fingerprint().as_bytes() {
        return Ok(());
    }
    let same = |generation: &&Generation| {
        generation
            .encoder
            .as_ref()
            .is_some_and(|other| other.fingerprint == *encoder.fingerprint().as_bytes())
    };
    match snapshot.generations().iter().find(same) {
        Some(generation) => Err(Error::EncoderOfGeneration {
            path: path_of(),
            got_name: encoder.name().to_owned(),
            generation: generation.name.clone(),
            read: snapshot.generation().unwrap_or_default().to_owned(),
        }),
        None => Err(mismatch(path, identity, encoder)),
    }
}

fn mismatch(path: &Path, identity: &EncoderIdentity, encoder: &Encoder) -> Error {
    Error::other_encoder(path, &identity.name, Fingerprint::from_bytes(identity.fingerprint), encoder)
}

/// Refuses documents without title and text, in which there is nothing to find.
fn check_not_empty<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Result<()> {
    match documents.into_iter().find(|document| document.is_empty()) {
        Some(document) => Err(Error::EmptyDocument { doc_id: document.id.clone() }),
        None => Ok(()),
    }
}
