//! How a database is made: empty, or from a whole corpus in one go that survives interruption.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, Fingerprint};
use secateur_files::{Journal, kept_items};
use secateur_index::bm25::Analyzer;
use secateur_index::storage::{
    EncoderIdentity, Generation, Settings, Snapshot, Store, Unfinished, VectorIndex, VectorSettings,
    partial_folder, place_of_partial,
};
use secateur_index::{ComponentType, Metric};

use super::{AddOptions, Changes, Database, EncoderSource, PASSAGES, SEPARATOR, reading};
use crate::encode::Passages;
use crate::error::{Error, Result};
use crate::measure::metric_of;

/// How the vectors of an encoder are made, stored and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorOptions {
    /// How vectors are compared. Unless given: as the encoder's authors say, or by cosine if they say nothing.
    pub metric: Option<Metric>,
    /// What vectors are rounded to when they are stored.
    pub components: ComponentType,
    /// How vectors are searched: exactly, or with a graph.
    pub index: VectorIndex,
    /// What stands between a document's title and its text when the encoder reads it.
    pub passage_separator: String,
    /// How documents are split; `None` for one vector a document, of its beginning if it is longer than the encoder
    /// reads.
    pub passages: Option<Passages>,
    /// Where the encoder can be loaded again; where it was loaded from, unless given.
    pub source: Option<EncoderSource>,
}

impl Default for VectorOptions {
    fn default() -> VectorOptions {
        VectorOptions {
            metric: None,
            components: ComponentType::F32,
            index: VectorIndex::Flat,
            passage_separator: " ".to_owned(),
            passages: None,
            source: None,
        }
    }
}

impl Database {
    /// How the vectors of the generation that is read are stored, searched and made of documents. How they are compared
    /// is left to the encoder.
    pub(crate) fn vector_options(&self) -> VectorOptions {
        let Some(generation) = self.generation_read() else { return VectorOptions::default() };
        VectorOptions {
            metric: None,
            components: generation.vectors.components,
            index: generation.vectors.index,
            passage_separator: reading::separator(generation).to_owned(),
            passages: reading::passages(generation),
            source: None,
        }
    }
}

impl VectorOptions {
    /// The generation of an encoder's vectors.
    pub(super) fn generation(&self, name: &str, encoder: &Encoder) -> Generation {
        let source = self.source.as_ref().map(|source| source.settled(encoder));
        let source = source.unwrap_or_else(|| EncoderSource::of(encoder));
        Generation {
            name: name.to_owned(),
            vectors: self.vectors(encoder.dim(), || metric_of(encoder.settings().similarity)),
            encoder: Some(EncoderIdentity {
                name: encoder.name().to_owned(),
                fingerprint: *encoder.fingerprint().as_bytes(),
            }),
            properties: self.properties(Some(&source)),
        }
    }

    fn vectors(&self, dim: usize, metric: impl FnOnce() -> Metric) -> VectorSettings {
        let metric = self.metric.unwrap_or_else(metric);
        let passages = self.passages.is_some();
        VectorSettings { metric, dim, components: self.components, index: self.index, passages }
    }

    fn properties(&self, source: Option<&EncoderSource>) -> std::collections::BTreeMap<String, String> {
        let mut properties = EncoderSource::to_properties(source);
        properties.insert(SEPARATOR.to_owned(), self.passage_separator.clone());
        properties.extend(self.passages.map(|passages| (PASSAGES.to_owned(), passages.to_string())));
        properties
    }
}

/// Opens a database that is complete. The folder of an interrupted build holds nothing, and no answer would be right.
pub(super) fn finished(path: &Path) -> Result<Snapshot> {
    let snapshot = Snapshot::open(path)?;
    match place_of_partial(path) {
        Some(path) if snapshot.is_empty() => Err(secateur_index::Error::Unfinished { path }.into()),
        _ => Ok(snapshot),
    }
}

/// Which vectors the documents of a database get.
enum Vectors {
    /// None: searches go by words.
    None,
    /// Those that an encoder makes.
    Encoded(Arc<Encoder>),
    /// Those that the caller makes, of this many components.
    Given(usize),
}

/// Makes a database; [`Database::builder`] begins one.
///
/// ```
/// use secateur::{Database, Document, SearchParams};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("db");
/// let corpus = [("1", "Prune roses in late winter."), ("2", "Bread rises overnight.")]
///     .map(|(id, text)| Ok::<_, secateur::Error>(Document::new(id, text)));
/// let database = Database::builder(&path).build_from(corpus, |_| {})?;
/// assert_eq!(database.search("pruning a rose", &SearchParams::default())?[0].doc_id, "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder makes nothing until `create` or `build_from` is called"]
pub struct DatabaseBuilder {
    path: PathBuf,
    vectors: Vectors,
    options: VectorOptions,
    analyzer: Analyzer,
    allow_empty: bool,
}

impl Database {
    /// Begins to make a database in a folder. Without more settings it has no vectors and is searched by words.
    pub fn builder(path: impl AsRef<Path>) -> DatabaseBuilder {
        DatabaseBuilder {
            path: path.as_ref().to_owned(),
            vectors: Vectors::None,
            options: VectorOptions::default(),
            analyzer: Analyzer::default(),
            allow_empty: false,
        }
    }
}

impl DatabaseBuilder {
    /// Every document gets a vector of this encoder.
    pub fn encoder(self, encoder: impl Into<Arc<Encoder>>) -> DatabaseBuilder {
        DatabaseBuilder { vectors: Vectors::Encoded(encoder.into()), ..self }
    }

    /// Every document comes with a vector of `dim` components that the caller makes: see
    /// [`Database::add_with_vectors`] and [`Database::search_vector`].
    pub fn vectors(self, dim: usize) -> DatabaseBuilder {
        DatabaseBuilder { vectors: Vectors::Given(dim), ..self }
    }

    /// How vectors are searched: exactly unless given.
    pub fn index(mut self, index: VectorIndex) -> DatabaseBuilder {
        self.options.index = index;
        self
    }

    /// How vectors are compared: as the encoder's authors say unless given.
    pub fn metric(mut self, metric: Metric) -> DatabaseBuilder {
        self.options.metric = Some(metric);
        self
    }

    /// All that can be said of the vectors, at once.
    pub fn vector_options(self, options: VectorOptions) -> DatabaseBuilder {
        DatabaseBuilder { options, ..self }
    }

    /// What makes words of texts and of queries, for searches by words: English unless given. It cannot be changed
    /// later.
    pub fn analyzer(self, analyzer: Analyzer) -> DatabaseBuilder {
        DatabaseBuilder { analyzer, ..self }
    }

    /// Whether [`build_from`](DatabaseBuilder::build_from) takes documents that have neither title nor text;
    /// otherwise the first one is an error.
    pub fn allow_empty(self, allow_empty: bool) -> DatabaseBuilder {
        DatabaseBuilder { allow_empty, ..self }
    }

    /// Where the database is to be made.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same in another place.
    pub(crate) fn at(self, path: PathBuf) -> DatabaseBuilder {
        DatabaseBuilder { path, ..self }
    }

    /// Makes an empty database in a folder that is absent or empty.
    ///
    /// # Errors
    ///
    /// There is something in the folder, or it cannot be written. A dimension or a parameter of the index is out of
    /// range.
    pub fn create(self) -> Result<Database> {
        self.check_passages()?;
        let path = self.path.clone();
        self.create_in(&path)
    }

    /// Makes a database of a whole corpus, which may be larger than memory. It appears when it is complete.
    /// `progress` is called with the number of documents done.
    ///
    /// Everything happens in a folder beside it (`NAME.partial`), and the vectors are kept in a file meanwhile
    /// (`NAME.journal`). After an error or a kill, the same call continues from the last stored vectors, and ends
    /// with the same bytes.
    ///
    /// # Errors
    ///
    /// There is something at the path, or another process is building there. The errors of the corpus's items, of the
    /// encoder and of the disk.
    pub fn build_from<E>(
        self,
        corpus: impl IntoIterator<Item = std::result::Result<Document, E>>,
        progress: impl FnMut(usize),
    ) -> Result<Database>
    where
        Error: From<E>,
    {
        let allow_empty = self.allow_empty;
        let options = AddOptions { replace: false, allow_empty };
        let corpus = corpus.into_iter().map(|item| item.map(|document| (document, None)));
        self.build(|database, journal| database.fill(corpus, options, journal, progress))
    }

    /// Makes a database of a corpus, as [`DatabaseBuilder::build_from`]. The journal is the caller's and stays, so that
    /// several databases of the same vectors encode them once.
    pub(crate) fn build_with_journal<E>(
        self,
        corpus: impl IntoIterator<Item = std::result::Result<Document, E>>,
        journal: &Path,
        progress: impl FnMut(usize),
    ) -> Result<Database>
    where
        Error: From<E>,
    {
        let options = AddOptions { replace: false, allow_empty: self.allow_empty };
        let corpus = corpus.into_iter().map(|item| item.map(|document| (document, None)));
        self.build(|database, _| database.fill(corpus, options, journal, progress))
    }

    /// Makes a database of documents with vectors that the caller has made, as [`DatabaseBuilder::build_from`]. For a
    /// builder that [`DatabaseBuilder::vectors`] was called on.
    ///
    /// # Errors
    ///
    /// As [`DatabaseBuilder::build_from`]. A vector is missing or has another length.
    pub fn build_with_vectors<E>(
        self,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        progress: impl FnMut(usize),
    ) -> Result<Database>
    where
        Error: From<E>,
    {
        let options = AddOptions { replace: false, allow_empty: self.allow_empty };
        self.build(|database, journal| database.fill(corpus, options, journal, progress))
    }

    /// Makes the database beside its place, has it filled, with a journal at hand, and gives it its place.
    fn build(self, fill: impl FnOnce(&mut Database, &Path) -> Result<Option<Store>>) -> Result<Database> {
        let path = self.path.clone();
        self.check_passages()?;
        self.check_unfinished()?;
        let unfinished = Unfinished::begin(&path)?;
        let mut database = self.create_in(unfinished.folder())?;
        let encoder = database.encoder.clone();
        let filled = fill(&mut database, unfinished.journal());
        drop(database);
        let lock = match filled {
            Ok(lock) => lock,
            Err(error) => {
                // What is worth keeping is in the journal; the disk may be full.
                unfinished.abandon();
                return Err(error);
            }
        };
        unfinished.finish(lock)?;
        let database = Database::open(&path)?;
        match encoder {
            Some(encoder) => database.with_encoder(encoder),
            None => Ok(database),
        }
    }

    /// Passages need an encoder that reads them whole.
    fn check_passages(&self) -> Result<()> {
        match (self.options.passages, &self.vectors) {
            (None, _) => Ok(()),
            (Some(passages), Vectors::Encoded(encoder)) => passages.check(encoder),
            (Some(_), Vectors::None | Vectors::Given(_)) => Err(Error::PassagesWithoutEncoder),
        }
    }

    /// Refuses to throw away the vectors that an interrupted build with another encoder has kept.
    fn check_unfinished(&self) -> Result<()> {
        let journal = Journal::beside(&self.path);
        let num_vectors = kept_items(&journal);
        let Ok(snapshot) = Snapshot::open(partial_folder(&self.path)) else { return Ok(()) };
        let Some(identity) = snapshot.settings().encoder.as_ref().filter(|_| num_vectors > 0) else {
            return Ok(());
        };
        let got = match &self.vectors {
            Vectors::Encoded(encoder) => Some((encoder.name().to_owned(), Box::new(*encoder.fingerprint()))),
            Vectors::None | Vectors::Given(_) => None,
        };
        if got.as_ref().is_some_and(|(_, got)| *got.as_bytes() == identity.fingerprint) {
            return Ok(());
        }
        Err(Error::UnfinishedWork {
            journal,
            num_vectors,
            expected_name: identity.name.clone(),
            expected: Box::new(Fingerprint::from_bytes(identity.fingerprint)),
            got,
        })
    }

    fn create_in(self, folder: &Path) -> Result<Database> {
        let (options, analyzer) = (&self.options, Some(self.analyzer));
        let (settings, encoder) = match self.vectors {
            Vectors::None => {
                let properties = options.properties(None);
                (Settings { properties, analyzer, ..Settings::bm25_only() }, None)
            }
            Vectors::Given(dim) => {
                let vectors = Some(options.vectors(dim, || Metric::Cosine));
                let properties = options.properties(None);
                (Settings { vectors, encoder: None, analyzer, properties }, None)
            }
            Vectors::Encoded(encoder) => {
                let Generation { vectors, encoder: identity, properties, .. } =
                    options.generation("", &encoder);
                (Settings { vectors: Some(vectors), encoder: identity, analyzer, properties }, Some(encoder))
            }
        };
        let snapshot = Store::create(folder, &settings)?.snapshot().clone();
        Ok(Database {
            path: folder.to_owned(),
            encoder,
            others: Default::default(),
            snapshot,
            codes: None,
            changes: Changes::default(),
        })
    }
}
