//! The database: documents, their vectors under one encoder, and a BM25 index, in one folder.
//!
//! A [`DatabaseBuilder`] makes a [`Database`]. [`AddOptions`] and [`AddReport`] go with the documents that are added.
//! [`VectorOptions`] say how vectors are made, stored and searched; an [`EncoderRecord`] with its [`EncoderSource`] is
//! what is remembered of their encoder. [`DatabaseInfo`] and [`GenerationInfo`] describe what there is.

mod all_or_none;
mod builder;
mod changes;
mod documents;
mod encoder_record;
mod encoders;
mod generation;
mod info;
mod ingest;
mod maintenance;
mod on_device;
mod query;
pub(crate) mod reading;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::Encoder;
use secateur_index::bm25::Analyzer;
use secateur_index::flat::DeviceCodes;
use secateur_index::search::Recall;
use secateur_index::storage::{Snapshot, Store, Transaction, VectorIndex, VerifyReport};

use crate::error::{Error, Result};
use changes::Changes;
use encoders::check_encoder;

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

    /// Deletes a document. Searches miss it after the next commit.
    ///
    /// # Errors
    ///
    /// There is no such document, or another process is writing.
    pub fn delete(&mut self, doc_id: &str) -> Result<()> {
        Ok(self.changes()?.delete(doc_id)?)
    }

    /// Deletes documents and returns how many. An id that comes twice is one document. An id that no document has is
    /// passed over with `missing_ok`, and an error without.
    ///
    /// # Errors
    ///
    /// [`Error::MissingDocuments`], another process is writing, or a file is damaged. No document is deleted then.
    pub fn delete_all(&mut self, doc_ids: &[impl AsRef<str>], missing_ok: bool) -> Result<usize> {
        self.all_or_none(|database| {
            let changes = database.changes()?;
            let ids: BTreeSet<&str> = doc_ids.iter().map(AsRef::as_ref).collect();
            let mut missing = Vec::new();
            for id in &ids {
                if !changes.contains(id)? {
                    missing.push(*id);
                    continue;
                }
                changes.delete(id)?;
            }
            match missing.first() {
                Some(first) if !missing_ok => {
                    Err(Error::MissingDocuments { doc_id: (*first).to_owned(), others: missing.len() - 1 })
                }
                _ => Ok(ids.len() - missing.len()),
            }
        })
    }

    /// Makes all changes since the last commit visible and durable at once. A crash leaves all of them or none.
    ///
    /// # Errors
    ///
    /// The disk refuses; the database then stays as it was, and the changes are lost.
    pub fn commit(&mut self) -> Result<()> {
        self.commit_locked().map(drop)
    }

    /// [`Database::commit`] that keeps other writers away until the store is dropped. There is none without changes.
    fn commit_locked(&mut self) -> Result<Option<Store>> {
        let Some(changes) = self.changes.take() else { return Ok(None) };
        let store = changes.commit_locked()?;
        self.set_snapshot(store.snapshot().clone())?;
        Ok(Some(store))
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

/// Refuses documents without title and text, in which there is nothing to find.
fn check_not_empty<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Result<()> {
    match documents.into_iter().find(|document| document.is_empty()) {
        Some(document) => Err(Error::EmptyDocument { doc_id: document.id.clone() }),
        None => Ok(()),
    }
}
