//! Adding and replacing documents: some at once, or as many as there are in files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, TextKind};
use secateur_files::{Journal, with_suffix};
use secateur_index::filter::Filter;
use secateur_index::metadata;
use secateur_index::storage::{Generation, NewDocument, Store};

use super::reading::{PassageVectors, Reading, name_of, texts_of};
use super::{Changes, Database, check_not_empty};
use crate::encode::journaled::{JournaledEncoding, borrowed};
use crate::encode::stream::{self, Destination, Stage, Vectors};
use crate::error::{Error, Result};

/// What a bulk change does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AddOptions {
    /// A document whose id is taken replaces the one that has it; otherwise it is an error.
    pub replace: bool,
    /// Documents without title and text are taken; otherwise the first one is an error.
    pub allow_empty: bool,
}

/// What a bulk change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AddReport {
    /// Documents that are new.
    pub num_added: usize,
    /// Documents that replaced others.
    pub num_replaced: usize,
}

impl Database {
    /// Adds documents, with their vectors if the database has an encoder. Searches see them after the next commit.
    ///
    /// A database with several generations needs the encoder of each: see [`Database::with_all_encoders`].
    ///
    /// # Errors
    ///
    /// An id is empty, taken, or twice in the call, or a document has neither title nor text. An encoder is missing,
    /// another process is writing, or the disk is full. No document of the call is added then, and the changes before
    /// it stay. After an error of the disk they can only be forgotten.
    pub fn add(&mut self, documents: &[Document]) -> Result<()> {
        check_not_empty(documents)?;
        self.all_or_none(|database| {
            database.check_new(documents)?;
            let rows = database.encoded(documents)?;
            database.write_rows(documents, &rows, false).map(drop)
        })
    }

    /// Adds documents, and replaces those that have their ids, in the next commit. Returns how many are replaced. Of an
    /// id that comes twice, the last document counts.
    ///
    /// ```
    /// use secateur::{Database, Document};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// database.add(&[Document::new("1", "Bread rises overnight.")])?;
    /// database.commit()?;
    /// let replaced = database.upsert(&[Document::new("1", "Bread rises for a day."), Document::new("2", "Bees dance.")])?;
    /// assert_eq!(replaced, 1);
    /// database.commit()?;
    /// assert_eq!(database.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Database::add`], but for ids that are taken or come twice. No document is replaced then.
    pub fn upsert(&mut self, documents: &[Document]) -> Result<usize> {
        check_not_empty(documents)?;
        self.all_or_none(|database| {
            let rows = database.encoded(documents)?;
            database.write_rows(documents, &rows, true)
        })
    }

    /// Adds documents with vectors that the caller has made: (B, D), row-major, one row a document. For a database
    /// whose vectors no encoder makes: see [`DatabaseBuilder::vectors`](crate::DatabaseBuilder::vectors).
    ///
    /// # Errors
    ///
    /// The vectors are not one of D finite components for each document; otherwise as [`Database::add`].
    pub fn add_with_vectors(&mut self, documents: &[Document], vectors: &[f32]) -> Result<()> {
        check_not_empty(documents)?;
        self.all_or_none(|database| {
            let rows = database.given(documents.len(), vectors.to_vec())?;
            database.check_new(documents)?;
            database.write_rows(documents, &rows, false).map(drop)
        })
    }

    /// [`Database::upsert`] with vectors that the caller has made, as [`Database::add_with_vectors`].
    ///
    /// # Errors
    ///
    /// As both.
    pub fn upsert_with_vectors(&mut self, documents: &[Document], vectors: &[f32]) -> Result<usize> {
        check_not_empty(documents)?;
        self.all_or_none(|database| {
            let rows = database.given(documents.len(), vectors.to_vec())?;
            database.write_rows(documents, &rows, true)
        })
    }

    /// Adds a whole corpus, which may be larger than memory, and commits it at once. Each document comes with a vector
    /// in a database whose vectors no encoder makes, and without elsewhere. `progress` is called with the number of
    /// documents done.
    ///
    /// Vectors that encoders make are kept in files beside the database (`DATABASE.add.GENERATION.journal`) meanwhile.
    /// After an error or a kill, the same call continues from the last stored vectors.
    ///
    /// # Errors
    ///
    /// The errors of the corpus's items, and those of [`Database::add`]. Nothing is committed then.
    pub fn add_from<E>(
        &mut self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        options: AddOptions,
        progress: impl FnMut(usize),
    ) -> Result<AddReport>
    where
        Error: From<E>,
    {
        self.add_from_if(corpus, options, progress, || Ok(()))
    }

    /// [`Database::add_from`] that asks before it commits. All documents are added then, and `progress` was called with
    /// their number.
    ///
    /// # Errors
    ///
    /// Those of [`Database::add_from`], and what `before_commit` answers. Nothing is committed then.
    pub fn add_from_if<E>(
        &mut self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        options: AddOptions,
        mut progress: impl FnMut(usize),
        before_commit: impl FnOnce() -> Result<()>,
    ) -> Result<AddReport>
    where
        Error: From<E>,
    {
        if self.changes.is_some() {
            return Err(Error::UncommittedChanges { path: self.path.clone() });
        }
        let added = self.add_all_chunks(corpus, options, &mut progress);
        match added.and_then(|added| before_commit().map(|()| added)) {
            Ok((report, journals)) => {
                let store = self.commit_locked()?;
                // Before anybody else can write: his journals have the same names.
                journals.into_iter().for_each(JournaledEncoding::remove);
                drop(store);
                Ok(report)
            }
            Err(error) => {
                // What was added so far must not get into somebody's next commit.
                self.changes = Changes::default();
                Err(error)
            }
        }
    }

    /// Where the vectors of a generation are kept while documents are added: DATABASE.add.NAME.journal.
    pub fn add_journal(&self, generation: &Generation) -> PathBuf {
        Journal::beside(&with_suffix(&self.path, &format!(".add.{}", generation.name)))
    }

    /// Adds a corpus to a database that is being built, and commits it. If an encoder makes its vectors, they are kept
    /// in this journal meanwhile, which stays. Returns the lock that keeps others away.
    pub(super) fn fill<E>(
        &mut self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        options: AddOptions,
        journal: &Path,
        progress: impl FnMut(usize),
    ) -> Result<Option<Store>>
    where
        Error: From<E>,
    {
        // Locked before the first chunk is encoded: the journal must have one writer too.
        self.changes()?;
        let paths = if self.encodes() { vec![journal.to_owned()] } else { Vec::new() };
        self.stream(corpus, options, &paths, progress)?;
        self.commit_locked()
    }

    fn add_all_chunks<E>(
        &mut self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        options: AddOptions,
        progress: &mut impl FnMut(usize),
    ) -> Result<(AddReport, Vec<JournaledEncoding>)>
    where
        Error: From<E>,
    {
        // Locked before the first chunk is encoded: the journals must have one writer too.
        self.changes()?;
        let paths = match self.encodes() {
            true => self.generations().iter().map(|generation| self.add_journal(generation)).collect(),
            false => Vec::new(),
        };
        self.stream(corpus, options, &paths, progress)
    }

    /// Adds a corpus, chunk by chunk. There is a journal for each generation, if encoders make vectors.
    fn stream<E>(
        &mut self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        options: AddOptions,
        journals: &[PathBuf],
        progress: impl FnMut(usize),
    ) -> Result<(AddReport, Vec<JournaledEncoding>)>
    where
        Error: From<E>,
    {
        let encoders: Vec<(Generation, Arc<Encoder>)> = match journals.is_empty() {
            true => Vec::new(),
            false => self.encoders()?.into_iter().map(|(of, encoder)| (of, Arc::clone(encoder))).collect(),
        };
        let mut stages = Vec::with_capacity(encoders.len());
        for ((_, encoder), journal) in encoders.iter().zip(journals) {
            stages.push(Stage::new(encoder, JournaledEncoding::open(journal, encoder, TextKind::Passage)?));
        }
        let report = AddReport::default();
        let mut added = Added { database: self, encoders: &encoders, options, report, progress };
        let journals = stream::encode(corpus, stages, &mut added)?;
        Ok((added.report, journals))
    }

    /// Deletes all documents whose metadata match, and returns how many. Searches miss them after the next commit.
    ///
    /// ```
    /// use secateur::{Database, Document};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// database.add(&[Document::new("old", "a").metadata(r#"{"year": 1999}"#), Document::new("new", "b")])?;
    /// database.commit()?;
    /// assert_eq!(database.delete_matching(&"year < 2000".parse()?)?, 1);
    /// database.commit()?;
    /// assert!(!database.contains("old")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::UncommittedChanges`]: the filter looks at what is committed. Another process is writing, a file is
    /// damaged, or the metadata of a document cannot be read. Nothing is deleted then.
    pub fn delete_matching(&mut self, filter: &Filter) -> Result<usize> {
        if self.changes.is_some() {
            return Err(Error::UncommittedChanges { path: self.path.clone() });
        }
        self.changes()?;
        let snapshot = self.snapshot.clone();
        let rows = snapshot.matching(filter)?;
        // Columns of earlier versions know nothing of metadata that cannot be read: nobody can say whether it matches.
        for row in rows.iter() {
            let document = snapshot.document_at(secateur_index::RowId(row))?;
            metadata::check_stored(&document.id, document.metadata.as_deref())?;
        }
        let changes = self.changes()?;
        for row in rows.iter() {
            changes.delete(snapshot.id_at(secateur_index::RowId(row))?)?;
        }
        Ok(rows.len() as usize)
    }

    /// Refuses ids that are taken or come twice, before anything is encoded.
    fn check_new<'d>(&mut self, documents: impl IntoIterator<Item = &'d Document>) -> Result<()> {
        let changes = self.changes()?;
        let mut ids = HashSet::new();
        for document in documents {
            changes.check_new(&document.id)?;
            if !ids.insert(&document.id) {
                return Err(secateur_index::Error::RepeatedDocument { id: document.id.clone() }.into());
            }
        }
        Ok(())
    }

    /// Whether encoders make the vectors of any generation.
    fn encodes(&self) -> bool {
        self.generations().iter().any(|generation| generation.encoder.is_some())
    }

    /// Each generation with its encoder.
    fn encoders(&self) -> Result<Vec<(Generation, &Arc<Encoder>)>> {
        let encoder = |generation: &Generation| {
            let encoder = self.encoder_of(generation)?;
            Ok((generation.clone(), encoder))
        };
        self.generations().iter().map(encoder).collect()
    }

    /// The vectors of documents in every generation, made by the encoders.
    fn encoded(&mut self, documents: &[Document]) -> Result<Vec<PassageVectors>> {
        // What another writer has committed may have changed the generations.
        self.changes()?;
        if self.generations().is_empty() {
            return Ok(Vec::new());
        }
        let rows = |(generation, encoder): &(Generation, &Arc<Encoder>)| {
            let reading = Reading::of(documents, generation, encoder)?;
            let rows = encoder.encode(&borrowed(&reading.texts), TextKind::Passage)?;
            Ok(reading.rows(generation.vectors.dim, rows))
        };
        self.encoders()?.iter().map(rows).collect()
    }

    /// Vectors of the caller's, for the one generation there is.
    fn given(&mut self, num_documents: usize, rows: Vec<f32>) -> Result<Vec<PassageVectors>> {
        let dim = self.takes_vectors()?;
        if rows.len() != num_documents * dim {
            return Err(Error::VectorCount { documents: num_documents, dim, got: rows.len() });
        }
        Ok(vec![PassageVectors::one_each(dim, rows)])
    }

    /// The length of vectors that the caller makes, if the caller is to make them.
    fn takes_vectors(&mut self) -> Result<usize> {
        self.changes()?;
        let Some(dim) = self.dim() else { return Err(Error::NoVectors { path: self.path.clone() }) };
        match self.generations().iter().find_map(|generation| generation.encoder.as_ref()) {
            Some(identity) => {
                Err(Error::VectorsOfAnEncoder { path: self.path.clone(), name: identity.name.clone() })
            }
            None => Ok(dim),
        }
    }

    fn given_one_each(
        &mut self,
        documents: &[Document],
        vectors: Vec<Option<Vec<f32>>>,
    ) -> Result<Vec<PassageVectors>> {
        let dim = self.dim().unwrap_or_default();
        let mut rows = Vec::with_capacity(documents.len() * dim);
        for (document, vector) in documents.iter().zip(vectors) {
            let Some(vector) = vector else {
                let id = document.id.clone();
                return Err(secateur_index::Error::VectorPresence { id, expected: true }.into());
            };
            if self.dim().is_some() && vector.len() != dim {
                let doc_id = document.id.clone();
                return Err(Error::VectorLength { doc_id, expected: dim, got: vector.len() });
            }
            rows.extend(vector);
        }
        self.given(documents.len(), rows)
    }

    /// Writes documents with their vectors in each generation. Returns how many replaced others.
    fn write_rows(
        &mut self,
        documents: &[Document],
        rows: &[PassageVectors],
        replace: bool,
    ) -> Result<usize> {
        let changes = self.changes()?;
        let mut num_replaced = 0;
        for (number, document) in documents.iter().enumerate() {
            let new = NewDocument {
                id: &document.id,
                title: &document.title,
                text: &document.text,
                metadata: document.metadata.as_deref(),
            };
            let vectors: Vec<&[f32]> = rows.iter().map(|rows| rows.of_document(number)).collect();
            if replace {
                num_replaced += usize::from(changes.upsert(&new, &vectors)?);
            } else {
                changes.add_all(&new, &vectors)?;
            }
        }
        Ok(num_replaced)
    }
}

/// Documents on their way into a database, each perhaps with a vector of the caller's.
struct Added<'d, P> {
    database: &'d mut Database,
    /// Those that make vectors.
    encoders: &'d [(Generation, Arc<Encoder>)],
    options: AddOptions,
    report: AddReport,
    progress: P,
}

impl<P: FnMut(usize)> Destination for Added<'_, P> {
    type Item = (Document, Option<Vec<f32>>);

    fn bytes(&self, (document, _): &(Document, Option<Vec<f32>>)) -> usize {
        document.title.len() + document.text.len()
    }

    fn name(&self, (document, _): &(Document, Option<Vec<f32>>), _: usize) -> String {
        name_of(document)
    }

    fn check(&mut self, items: &[(Document, Option<Vec<f32>>)]) -> Result<()> {
        let documents = || items.iter().map(|(document, _)| document);
        if !self.options.allow_empty {
            check_not_empty(documents())?;
        }
        if !self.options.replace {
            // Those on their way before these are compared when these are written.
            self.database.check_new(documents())?;
        }
        if items.iter().any(|(_, vector)| vector.is_some()) {
            self.database.takes_vectors()?;
        } else if self.encoders.is_empty() && !self.database.generations().is_empty() {
            // No encoder makes these vectors, so a document lacks its own.
            self.database.encoders()?;
        }
        Ok(())
    }

    fn texts(&self, (document, _): &(Document, Option<Vec<f32>>), encoder: usize) -> Result<Vec<String>> {
        let (generation, encoder) = &self.encoders[encoder];
        texts_of(document, generation, encoder)
    }

    fn write(&mut self, items: Vec<(Document, Option<Vec<f32>>)>, vectors: Vec<Vectors>) -> Result<()> {
        let (documents, given): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let rows = match given.iter().any(Option::is_some) {
            true => self.database.given_one_each(&documents, given)?,
            false => {
                let of = self.encoders.iter().zip(vectors);
                of.map(|((_, encoder), vectors)| PassageVectors::streamed(encoder.dim(), vectors)).collect()
            }
        };
        let replaced = self.database.write_rows(&documents, &rows, self.options.replace)?;
        self.report.num_replaced += replaced;
        self.report.num_added += documents.len() - replaced;
        (self.progress)(self.report.num_added + self.report.num_replaced);
        Ok(())
    }
}
