//! The database: documents, their vectors under one encoder, and a BM25 index, in one folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_datasets::{Document, Query, Run, ScoredDocument};
use secateur_encoders::{Encoder, Fingerprint, TextKind};
use secateur_index::search::{Recall, SearchOptions};
use secateur_index::storage::{
    EncoderIdentity, NewDocument, Settings, Snapshot, Store, Transaction, VectorIndex, VectorSettings,
    VerifyReport,
};
use secateur_index::{Bitmap, ComponentType, Hit as RowHit, Metric};

use crate::error::{Error, Result};
use crate::fusion::RankedList;
use crate::search::{Hit, SearchMode, SearchParams};

/// The key under which a database keeps what stands between title and text.
pub(crate) const SEPARATOR: &str = "passage_separator";

/// What is fixed when a database is created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateOptions {
    /// How vectors are compared. Without an encoder it has no meaning.
    pub metric: Metric,
    /// What vectors are rounded to when they are stored. Without an encoder it has no meaning.
    pub components: ComponentType,
    /// How vectors are searched: exactly, or with a graph. Without an encoder it has no meaning.
    pub index: VectorIndex,
    /// What stands between a document's title and its text when the encoder reads it.
    pub passage_separator: String,
    /// Notes of the caller's, kept with the database: [`Database::note`] gives them back.
    pub notes: Vec<(String, String)>,
}

impl Default for CreateOptions {
    fn default() -> CreateOptions {
        CreateOptions {
            metric: Metric::Cosine,
            components: ComponentType::F32,
            index: VectorIndex::Flat,
            passage_separator: " ".to_owned(),
            notes: Vec::new(),
        }
    }
}

/// Documents retrievable by id, searchable by meaning and by words, in one folder.
///
/// Any number of processes may have a database open; one at a time may write. A process that is killed at any moment
/// leaves the state of its last [`commit`](Database::commit).
///
/// ```
/// use secateur::{CreateOptions, Database, Document, SearchMode, SearchParams};
///
/// let folder = tempfile::tempdir()?;
/// let mut database = Database::create(folder.path().join("db"), None, &CreateOptions::default())?;
/// let document = |id: &str, text: &str| Document {
///     id: id.to_owned(),
///     title: String::new(),
///     text: text.to_owned(),
///     metadata: None,
/// };
/// database.add(&[document("1", "Prune roses in late winter."), document("2", "Bread rises overnight.")])?;
/// database.commit()?;
///
/// let hits = database.search("pruning a rose", &SearchParams::new(SearchMode::Sparse))?;
/// assert_eq!(hits[0].doc_id, "1");
/// assert_eq!(database.document("1")?.unwrap().text, "Prune roses in late winter.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Database {
    path: PathBuf,
    encoder: Option<Arc<Encoder>>,
    /// What searches see: the state of the last commit.
    snapshot: Snapshot,
    /// The changes since the last commit. While there are any the database is locked against other writers.
    changes: Option<Transaction<Store>>,
}

impl Database {
    /// Creates an empty database in a folder that is absent or empty. With an encoder every document gets a vector;
    /// without one the database searches by words alone.
    ///
    /// # Errors
    ///
    /// There is something in the folder, or it cannot be written.
    pub fn create(
        path: impl AsRef<Path>,
        encoder: Option<Arc<Encoder>>,
        options: &CreateOptions,
    ) -> Result<Database> {
        let path = path.as_ref();
        let mut properties = options.notes.iter().cloned().collect::<std::collections::BTreeMap<_, _>>();
        properties.insert(SEPARATOR.to_owned(), options.passage_separator.clone());
        let settings = Settings {
            vectors: encoder.as_ref().map(|encoder| VectorSettings {
                metric: options.metric,
                dim: encoder.dim(),
                components: options.components,
                index: options.index,
            }),
            encoder: encoder.as_ref().map(|encoder| EncoderIdentity {
                name: encoder.name().to_owned(),
                fingerprint: *encoder.fingerprint().as_bytes(),
            }),
            properties,
        };
        let snapshot = Store::create(path, &settings)?.snapshot().clone();
        Ok(Database { path: path.to_owned(), encoder, snapshot, changes: None })
    }

    /// Opens a database. Without the encoder that made its vectors it can be read and searched by words.
    ///
    /// # Errors
    ///
    /// There is no database, it is damaged or of a newer version; [`Error::EncoderMismatch`] if its vectors are another
    /// encoder's, [`Error::NoVectors`] if an encoder is given and it has none.
    pub fn open(path: impl AsRef<Path>, encoder: Option<Arc<Encoder>>) -> Result<Database> {
        let path = path.as_ref();
        Database::with_snapshot(path, Snapshot::open(path)?, encoder)
    }

    pub(crate) fn with_snapshot(
        path: &Path,
        snapshot: Snapshot,
        encoder: Option<Arc<Encoder>>,
    ) -> Result<Database> {
        if let Some(encoder) = &encoder {
            check_encoder(path, &snapshot, encoder)?;
        }
        Ok(Database { path: path.to_owned(), encoder, snapshot, changes: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(crate) fn has_changes(&self) -> bool {
        self.changes.is_some()
    }

    /// Goes on with a later state of the database, and with the generation that is read.
    pub(crate) fn set_snapshot(&mut self, snapshot: Snapshot) -> Result<()> {
        self.snapshot = match self.snapshot.generation() {
            Some(name) => snapshot.with_generation(name)?,
            None => snapshot,
        };
        Ok(())
    }

    /// Checks that no other process is writing to the database in this folder.
    ///
    /// # Errors
    ///
    /// One is, or there is no database.
    pub fn lock(path: impl AsRef<Path>) -> Result<()> {
        Store::open(path)?;
        Ok(())
    }

    /// Adds documents, with their vectors if the database has an encoder. Searches see them after the next commit.
    ///
    /// # Errors
    ///
    /// The database has several generations, an id is empty or taken, a document has neither title nor text, another process
    /// is writing, or the disk is full.
    /// Documents of the call before the one that fails stay added.
    pub fn add(&mut self, documents: &[Document]) -> Result<()> {
        if let Some(document) = documents.iter().find(|document| is_empty(document)) {
            return Err(Error::EmptyDocument { doc_id: document.id.clone() });
        }
        let rows = match self.required_encoder()? {
            None => None,
            Some(encoder) => Some(encoder.encode(&borrowed(&self.passages(documents)), TextKind::Passage)?),
        };
        self.add_with_rows(documents, rows.as_deref())
    }

    /// Adds documents whose vectors (B, D) are there already.
    pub(crate) fn add_with_rows(&mut self, documents: &[Document], rows: Option<&[f32]>) -> Result<()> {
        let dim = self.dim();
        let changes = self.changes()?;
        for (i, document) in documents.iter().enumerate() {
            let new = NewDocument {
                id: &document.id,
                title: &document.title,
                text: &document.text,
                metadata: document.metadata.as_deref(),
            };
            let row = rows.zip(dim).map(|(rows, dim)| &rows[i * dim..(i + 1) * dim]);
            changes.add(&new, row)?;
        }
        Ok(())
    }

    /// Deletes a document. Searches miss it after the next commit.
    ///
    /// # Errors
    ///
    /// There is no such document, or another process is writing.
    pub fn delete(&mut self, doc_id: &str) -> Result<()> {
        Ok(self.changes()?.delete(doc_id)?)
    }

    /// Makes all changes since the last commit visible and durable, at once: a crash leaves all of them or none.
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

    /// Searches for one query.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn search(&self, query: &str, params: &SearchParams) -> Result<Vec<Hit>> {
        Ok(self.search_batch(&[query], params)?.pop().unwrap_or_default())
    }

    /// Searches for many queries at once, which is faster than one by one: the hits of each query, at most
    /// `params.k`, best first. With a filter the hits are among the documents that match, and there are as many as without it
    /// if so many match. The first filter with a field reads the metadata of all documents.
    ///
    /// # Errors
    ///
    /// [`Error::NoVectors`] or [`Error::EncoderRequired`] for a dense or hybrid search without vectors or encoder; a
    /// parameter out of range; a damaged file.
    pub fn search_batch(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<Hit>>> {
        let matches = params.filter.as_ref().map(|filter| self.snapshot.matching(filter)).transpose()?;
        let among = matches.as_ref();
        match params.mode {
            SearchMode::Dense => self.dense(queries, params, params.k, among),
            SearchMode::Sparse => self.sparse(queries, params, params.k, among),
            SearchMode::Hybrid => {
                let depth = params.num_candidates.max(params.k);
                let dense = self.dense(queries, params, depth, among)?;
                let sparse = self.sparse(queries, params, depth, among)?;
                dense.iter().zip(&sparse).map(|(dense, sparse)| fuse(dense, sparse, params)).collect()
            }
        }
    }

    /// The answers to the queries of a data set, as a run. A query without hits has an entry without documents.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn run(&self, queries: &[Query], params: &SearchParams) -> Result<Run> {
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        let hits = self.search_batch(&texts, params)?;
        let scored = |hit: Hit| ScoredDocument { doc_id: hit.doc_id, score: hit.score };
        Ok(queries
            .iter()
            .zip(hits)
            .map(|(query, hits)| (query.id.clone(), hits.into_iter().map(scored).collect()))
            .collect())
    }

    fn dense(
        &self,
        queries: &[&str],
        params: &SearchParams,
        k: usize,
        among: Option<&Bitmap>,
    ) -> Result<Vec<Vec<Hit>>> {
        let Some(encoder) = self.required_encoder()? else {
            return Err(Error::NoVectors { path: self.path.clone() });
        };
        let vectors = encoder.encode(queries, TextKind::Query)?;
        let ef_search = params.ef_search.or(self.ef_search()).unwrap_or(SearchOptions::DEFAULT_EF);
        let options = SearchOptions { ef_search, filter: among };
        let hits = self.snapshot.index()?.search_batch(&vectors, k, &options)?;
        hits.into_iter().map(|hits| self.named(hits)).collect()
    }

    fn sparse(
        &self,
        queries: &[&str],
        params: &SearchParams,
        k: usize,
        among: Option<&Bitmap>,
    ) -> Result<Vec<Vec<Hit>>> {
        let hits = self.snapshot.bm25()?.search_batch(queries, k, params.bm25, among)?;
        hits.into_iter().map(|hits| self.named(hits)).collect()
    }

    fn named(&self, hits: Vec<RowHit>) -> Result<Vec<Hit>> {
        let mut hits = hits
            .into_iter()
            .map(|hit| {
                let doc_id = self.snapshot.id_at(hit.row)?.to_owned();
                Ok(Hit { doc_id, score: f64::from(hit.score) })
            })
            .collect::<Result<Vec<_>>>()?;
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.doc_id.cmp(&a.doc_id)));
        Ok(hits)
    }

    /// The document with this id, if there is one.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn document(&self, doc_id: &str) -> Result<Option<Document>> {
        let stored = self.snapshot.document(doc_id)?;
        Ok(stored.map(|stored| Document {
            id: stored.id.into_owned(),
            title: stored.title.into_owned(),
            text: stored.text.into_owned(),
            metadata: stored.metadata.map(|metadata| metadata.into_owned()),
        }))
    }

    /// Whether there is a document with this id.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn contains(&self, doc_id: &str) -> Result<bool> {
        Ok(self.snapshot.contains(doc_id)?)
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_empty()
    }

    /// The length of the vectors; `None` in a database without.
    pub fn dim(&self) -> Option<usize> {
        self.snapshot.settings().vectors.map(|vectors| vectors.dim)
    }

    /// How vectors are searched; `None` in a database without.
    pub fn vector_index(&self) -> Option<VectorIndex> {
        self.snapshot.settings().vectors.map(|vectors| vectors.index)
    }

    /// The ef of searches that name none; `None` where an ef makes no difference.
    pub(crate) fn ef_search(&self) -> Option<usize> {
        self.vector_index()?.ef_search()
    }

    /// The name and the fingerprint of the encoder that made the vectors.
    pub fn encoder_identity(&self) -> Option<(&str, Fingerprint)> {
        let identity = self.snapshot.settings().encoder.as_ref()?;
        Some((&identity.name, Fingerprint::from_bytes(identity.fingerprint)))
    }

    /// A note that was given when the database was created.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.snapshot.settings().properties.get(key).map(String::as_str)
    }

    /// Reads every file through and compares checksums and invariants.
    ///
    /// # Errors
    ///
    /// The first damage found, with its file.
    pub fn verify(&self) -> Result<VerifyReport> {
        Ok(self.snapshot.verify()?)
    }

    /// What searches of the HNSW index find of the `k` true hits with the ef that is set, asked with up to `num_queries` of the
    /// database's own vectors, which need no encoder; `None` without an HNSW index or without documents.
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

    /// What the encoder reads of each document: title, separator and text.
    pub(crate) fn passages(&self, documents: &[Document]) -> Vec<String> {
        let separator = self.note(SEPARATOR).unwrap_or(" ");
        documents.iter().map(|document| document.passage(separator)).collect()
    }

    /// What the encoder reads of the document with this id, if there is one.
    pub(crate) fn passage(&self, doc_id: &str) -> Result<Option<String>> {
        let document = self.document(doc_id)?;
        Ok(document.map(|document| document.passage(self.note(SEPARATOR).unwrap_or(" "))))
    }

    /// A description that differs after each commit, and between databases of other settings or encoders.
    pub(crate) fn state(&self) -> String {
        format!("{} {} {:?}", self.snapshot.commit_number(), self.len(), self.snapshot.settings())
    }

    /// The encoder, `None` if the database has no vectors.
    pub(crate) fn required_encoder(&self) -> Result<Option<&Encoder>> {
        match (&self.encoder, &self.snapshot.settings().encoder) {
            (Some(encoder), _) => Ok(Some(encoder)),
            (None, None) => Ok(None),
            (None, Some(identity)) => {
                Err(Error::EncoderRequired { path: self.path.clone(), name: identity.name.clone() })
            }
        }
    }

    /// The open transaction, begun at the first change. While it is open, other processes cannot write.
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
    let Some(identity) = &snapshot.settings().encoder else {
        return Err(Error::NoVectors { path: path.to_owned() });
    };
    if identity.fingerprint != *encoder.fingerprint().as_bytes() {
        return Err(Error::EncoderMismatch {
            path: path.to_owned(),
            expected_name: identity.name.clone(),
            expected: Box::new(Fingerprint::from_bytes(identity.fingerprint)),
            got_name: encoder.name().to_owned(),
            got: Box::new(*encoder.fingerprint()),
        });
    }
    Ok(())
}

fn fuse(dense: &[Hit], sparse: &[Hit], params: &SearchParams) -> Result<Vec<Hit>> {
    let keyed = |hits: &[Hit]| hits.iter().map(|hit| (hit.doc_id.clone(), hit.score)).collect::<Vec<_>>();
    let (dense, sparse) = (keyed(dense), keyed(sparse));
    let dense = RankedList { hits: &dense, weight: params.dense_weight };
    let fused = params.fusion.fuse(&[dense, RankedList::new(&sparse)])?;
    Ok(fused.into_iter().take(params.k).map(|(doc_id, score)| Hit { doc_id, score }).collect())
}

/// Whether there is nothing of a document to find.
pub(crate) fn is_empty(document: &Document) -> bool {
    document.title.trim().is_empty() && document.text.trim().is_empty()
}

pub(crate) fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}
