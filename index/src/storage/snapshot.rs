//! Reading: one consistent state of the database.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use secateur_files::AtPath;

use super::documents::StoredDocument;
use super::embeddings::{Embeddings, GenerationFiles, owner, size_of};
use super::generation::Generation;
use super::manifest::{Manifest, PACK};
use super::segment::Segment;
use super::settings::Settings;
use crate::bitmap::Bitmap;
use crate::bm25::{Analyzer, Bm25Index};
use crate::error::{Damage, Error, Result};
use crate::file_format::files::{corrupt, wrong_field};
use crate::topk::RowId;

/// The database as one commit left it. It stays as it is while later commits happen, needs no lock, and is cheap to
/// clone; to see later commits, open another one.
///
/// ```
/// use secateur_index::{Metric, storage::{NewDocument, Settings, Snapshot, Store}};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("db");
/// let mut store = Store::create(&path, &Settings::with_vectors(Metric::InnerProduct, 2))?;
/// let mut transaction = store.begin()?;
/// transaction.add(&NewDocument { id: "x", title: "", text: "east", metadata: None }, Some(&[1.0, 0.0]))?;
/// transaction.add(&NewDocument { id: "y", title: "", text: "north", metadata: None }, Some(&[0.0, 1.0]))?;
/// transaction.commit()?;
///
/// let snapshot = Snapshot::open(&path)?;
/// let hits = snapshot.flat()?.search(&[0.1, 0.9], 1)?;
/// assert_eq!(snapshot.id_at(hits[0].row)?, "y");
/// assert_eq!(snapshot.document("x")?.unwrap().text, "east");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot(pub(super) Arc<Inner>);

/// What a snapshot is.
pub(super) struct Inner {
    pub path: PathBuf,
    pub manifest: Manifest,
    generations: Vec<Generation>,
    /// The position of the one that is read.
    pub generation: usize,
    pub settings: Settings,
    pub views: Vec<SegmentView>,
    num_rows: u32,
    num_documents: u32,
    pub bm25: OnceLock<Arc<Bm25Index>>,
    /// The deleted vectors of each segment, where documents have several.
    pub deleted_vectors: OnceLock<Vec<Bitmap>>,
    /// Set when the first vectors were compared with their checksums.
    pub is_checked: OnceLock<()>,
}

/// A segment as this snapshot sees it.
#[derive(Clone)]
pub(super) struct SegmentView {
    /// The row number of its first document.
    pub base: u32,
    pub segment: Arc<Segment>,
    pub deleted: Arc<Bitmap>,
}

/// What [`Snapshot::verify`] went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files whose checksum was compared, the manifest included.
    pub num_files: usize,
    /// Their length in bytes, without the manifest.
    pub num_bytes: u64,
    /// Documents that are not deleted.
    pub num_documents: usize,
}

impl Snapshot {
    /// Opens the last commit of the database in the folder `path`.
    ///
    /// Checks the manifest, and of every segment the lengths of the files, their headers and the tables that lookups
    /// index by. Damage to the files of a generation that is not in use is an error of [`Snapshot::with_generation`],
    /// of [`Snapshot::verify`] and of what writes segments anew.
    ///
    /// Payloads are checked when they are read: documents and BM25 by checksum. The first 64 MiB of vectors, codes and
    /// graphs are checked by the first search that reads them, all of them by [`Snapshot::verify`].
    ///
    /// # Errors
    /// [`Error::NotADatabase`], [`Error::Corrupt`], [`Error::NewerFormat`] or [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Snapshot> {
        Snapshot::open_with(path.as_ref(), &[])
    }

    /// The last commit of the database, with the segments that this snapshot has open already. For readers that stay
    /// open while others write: it costs what is new, and what filters and checks have read is kept.
    ///
    /// ```
    /// use secateur_index::storage::{NewDocument, Settings, Snapshot, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("db");
    /// let mut store = Store::create(&path, &Settings::bm25_only())?;
    /// let reader = Snapshot::open(&path)?;
    /// let mut transaction = store.begin()?;
    /// transaction.add(&NewDocument { id: "1", title: "", text: "cats", metadata: None }, None)?;
    /// transaction.commit()?;
    /// assert_eq!((reader.len(), reader.latest()?.len()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Snapshot::open`]. The generation that is read is gone: [`Error::UnknownGeneration`].
    pub fn latest(&self) -> Result<Snapshot> {
        let latest = Snapshot::open_with(&self.0.path, &self.0.views)?;
        match self.generation().filter(|_| self.generation() != self.generation_in_use()) {
            Some(asked_for) => latest.with_generation(asked_for),
            None => Ok(latest),
        }
    }

    fn open_with(path: &Path, known: &[SegmentView]) -> Result<Snapshot> {
        let mut manifest = Manifest::read(path)?;
        loop {
            let commit = manifest.commit;
            let loaded = Snapshot::load(path, manifest, known);
            if loaded.as_ref().is_ok_and(Snapshot::is_whole) {
                return loaded;
            }
            // A compaction may have removed a segment after the manifest was read, or another writer a generation. Then
            // there is a newer manifest.
            manifest = Manifest::read(path)?;
            if manifest.commit == commit {
                return loaded;
            }
        }
    }

    /// Whether the files of all generations can be read.
    fn is_whole(&self) -> bool {
        self.0.views.iter().all(|view| view.segment.embeddings().is_ok())
    }

    /// The same if the files of the generation that is read are whole; those of others may be damaged.
    fn checked(self) -> Result<Snapshot> {
        for view in &self.0.views {
            view.segment.embeddings_of(self.0.generation).map_err(|error| self.whose(error))?;
        }
        Ok(self)
    }

    /// Says of a damaged file which generation it is of.
    pub(super) fn whose(&self, error: Error) -> Error {
        let Error::Corrupt { file, damage } = error else { return error };
        let segments = self.0.path.join(super::SEGMENTS);
        let Some(position) = owner(self.generation_files(), &segments, &file) else {
            return corrupt(&file, damage);
        };
        let generation = self.0.generations[position].name.clone();
        let is_in_use = position == self.0.manifest.active as usize;
        corrupt(&file, Damage::OfGeneration { generation, is_in_use, damage: Box::new(damage) })
    }

    /// The snapshot of a manifest, with the segments of `known` that it names taken from there. The files of the
    /// generation in use must be whole.
    pub(super) fn load(path: &Path, manifest: Manifest, known: &[SegmentView]) -> Result<Snapshot> {
        let file = path.join(super::manifest::FILE_NAME);
        let generations =
            manifest.generations.iter().map(|record| record.read(&file)).collect::<Result<Vec<_>>>()?;
        let files: Vec<GenerationFiles> = generations
            .iter()
            .zip(&manifest.generations)
            .map(|(generation, record)| GenerationFiles { id: record.id, settings: generation.vectors })
            .collect();
        let segments = path.join(super::SEGMENTS);
        let mut views = Vec::with_capacity(manifest.segments.len());
        let (mut num_rows, mut num_documents) = (0, 0);
        let size: u64 = manifest.segments.iter().map(|record| u64::from(size_of(record, &files))).sum();
        if size > u64::from(u32::MAX) {
            return Err(corrupt(&file, wrong_field("the number of vectors", "below 2^32", size)));
        }
        for record in &manifest.segments {
            let same = known.iter().map(|view| &view.segment).find(|known| known.is_of(record, &files));
            // What was damaged may have been restored.
            let segment = match same.filter(|known| known.embeddings().is_ok()) {
                Some(known) => Arc::clone(known),
                None => Arc::new(Segment::open(&segments, record, &files)?),
            };
            let deleted = Arc::new(Bitmap::from_words(record.deleted.clone()));
            let base = num_rows;
            // The manifest's check keeps the sum of rows within u32.
            num_rows += record.rows;
            num_documents += record.rows - deleted.len();
            views.push(SegmentView { base, segment, deleted });
        }
        let generation = manifest.active as usize;
        let snapshot = Snapshot(Arc::new(Inner {
            path: path.to_owned(),
            settings: settings(&manifest, &generations, generation, manifest.analyzer(&file)?),
            manifest,
            generations,
            generation,
            views,
            num_rows,
            num_documents,
            bm25: OnceLock::new(),
            deleted_vectors: OnceLock::new(),
            is_checked: OnceLock::new(),
        }));
        snapshot.checked()
    }

    /// This state of the database, with the vectors of another generation.
    ///
    /// # Errors
    /// [`Error::UnknownGeneration`], with the names of those that there are. [`Error::Corrupt`] if its files are
    /// damaged.
    pub fn with_generation(&self, name: &str) -> Result<Snapshot> {
        let generation = self.0.manifest.position(name)?;
        let Inner { path, manifest, generations, views, num_rows, num_documents, bm25, .. } = &*self.0;
        let snapshot = Snapshot(Arc::new(Inner {
            path: path.clone(),
            manifest: manifest.clone(),
            generations: generations.clone(),
            generation,
            settings: settings(manifest, generations, generation, self.0.settings.analyzer),
            views: views.clone(),
            num_rows: *num_rows,
            num_documents: *num_documents,
            bm25: bm25.clone(),
            deleted_vectors: OnceLock::new(),
            is_checked: OnceLock::new(),
        }));
        snapshot.checked()
    }

    /// Whether both read the same documents and vectors, through generations of the same name.
    pub fn is_same(&self, other: &Snapshot) -> bool {
        self.generation() == other.generation() && self.0.manifest == other.0.manifest
    }

    /// The name of the generation that is read: the one in use, unless another was asked for. `None` in a database
    /// without vectors.
    pub fn generation(&self) -> Option<&str> {
        self.0.generations.get(self.0.generation).map(|generation| generation.name.as_str())
    }

    /// The name of the generation that is read by those who ask for none.
    pub fn generation_in_use(&self) -> Option<&str> {
        self.0.generations.get(self.0.manifest.active as usize).map(|generation| generation.name.as_str())
    }

    /// All generations, in the order in which they were added.
    pub fn generations(&self) -> &[Generation] {
        &self.0.generations
    }

    /// The folder of the database.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The number of this commit: 0 for an empty database, one more with each commit.
    pub fn commit_number(&self) -> u64 {
        self.0.manifest.commit
    }

    /// The settings that were fixed when the database was created, or when the generation that is read was added.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The number of documents, without the deleted ones.
    pub fn len(&self) -> usize {
        self.0.num_documents as usize
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of rows, deleted ones included: every [`RowId`] is below it.
    pub fn num_rows(&self) -> usize {
        self.0.num_rows as usize
    }

    /// Rows, or vectors of the generation that has the most of them.
    pub(super) fn size(&self) -> usize {
        let generations: Vec<GenerationFiles> = self.generation_files().collect();
        self.0.manifest.segments.iter().map(|record| size_of(record, &generations) as usize).sum()
    }

    /// The vectors of the generation that is read, those of deleted rows included: as many as rows unless documents
    /// have several.
    pub fn num_vectors(&self) -> usize {
        self.num_vectors_of_all().get(self.0.generation).copied().unwrap_or_default()
    }

    /// [`Snapshot::num_vectors`] of each generation.
    pub fn num_vectors_of_all(&self) -> Vec<usize> {
        let segments = &self.0.manifest.segments;
        let vectors = |generation: GenerationFiles| {
            segments.iter().map(|record| generation.num_vectors(record) as usize).sum()
        };
        self.generation_files().map(vectors).collect()
    }

    /// The generations as segments know them.
    pub(super) fn generation_files(&self) -> impl Iterator<Item = GenerationFiles> + '_ {
        let generations = self.0.generations.iter().zip(&self.0.manifest.generations);
        generations
            .map(|(generation, record)| GenerationFiles { id: record.id, settings: generation.vectors })
    }

    /// The number of segments: a search goes through one after the other.
    pub fn num_segments(&self) -> usize {
        self.0.views.len()
    }

    /// The length of the segments' files in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.0.views.iter().map(|view| view.segment.num_bytes()).sum()
    }

    /// The names and lengths in bytes of all segments' files, such as `vectors`, `bm25/meta.json` and `g7/graph`. Those
    /// in packs are among them, in place of the packs.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        let files = self.0.manifest.segments.iter().flat_map(|segment| &segment.files);
        files.filter(|file| file.name != PACK).map(|file| (file.name.as_str(), file.size))
    }

    /// The rows of the documents that are not deleted, in ascending order. This is the order in which the documents
    /// were added.
    pub fn rows(&self) -> impl Iterator<Item = RowId> + '_ {
        self.0.views.iter().flat_map(|view| {
            (0..view.segment.rows())
                .filter(|row| !view.deleted.contains(*row))
                .map(|row| RowId(view.base + row))
        })
    }

    /// The row of a document, `None` if there is no such document.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the table of ids cannot be decoded.
    pub fn row(&self, id: &str) -> Result<Option<RowId>> {
        Ok(self.find(id)?.map(|(number, row)| RowId(self.0.views[number].base + row)))
    }

    /// Whether there is a document with this id.
    ///
    /// # Errors
    /// As [`Snapshot::row`].
    pub fn contains(&self, id: &str) -> Result<bool> {
        Ok(self.find(id)?.is_some())
    }

    /// The document with this id, `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its record does not match its checksum.
    pub fn document(&self, id: &str) -> Result<Option<StoredDocument<'_>>> {
        self.find(id)?.map(|(number, row)| self.0.views[number].segment.documents().document(row)).transpose()
    }

    /// The document in a row.
    ///
    /// # Errors
    /// [`Error::UnknownRow`] for a row that does not exist or is deleted, [`Error::Corrupt`] as
    /// [`Snapshot::document`].
    pub fn document_at(&self, row: RowId) -> Result<StoredDocument<'_>> {
        let (view, row) = self.locate(row)?;
        view.segment.documents().document(row)
    }

    /// The id of the document in a row.
    ///
    /// # Errors
    /// As [`Snapshot::document_at`].
    pub fn id_at(&self, row: RowId) -> Result<&str> {
        let (view, row) = self.locate(row)?;
        view.segment.documents().id(row)
    }

    /// The vector in a row, as it was stored: D components, converted to f32 if they are of another type. Where
    /// documents have several, (n, D) row-major.
    ///
    /// # Errors
    /// [`Error::NoVectors`], or [`Error::UnknownRow`] for a row that does not exist or is deleted.
    pub fn vector(&self, row: RowId) -> Result<Cow<'_, [f32]>> {
        if self.0.settings.vectors.is_none() {
            return Err(Error::NoVectors);
        }
        let (view, row) = self.locate(row)?;
        Ok(self.embeddings(view)?.of_row(row).to_f32())
    }

    /// The CRC-32 of the manifest of this commit. The manifest has the checksums of all files, so that of another state
    /// or of another database differs. `None` if there has been another commit meanwhile, which replaced it.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn checksum(&self) -> Result<Option<u32>> {
        let file = self.0.path.join(super::manifest::FILE_NAME);
        let bytes = std::fs::read(&file).at("read", &file)?;
        let manifest = Manifest::decode(&file, &bytes)?;
        Ok((manifest == self.0.manifest).then(|| crc32fast::hash(&bytes)))
    }

    /// Reads the whole database and compares every checksum and every invariant that FORMAT.md lists.
    ///
    /// # Errors
    /// The first fault found, naming the file.
    pub fn verify(&self) -> Result<VerifyReport> {
        let mut report = VerifyReport { num_files: 1, num_bytes: 0, num_documents: self.len() };
        for view in &self.0.views {
            report.num_bytes += view.segment.verify(&view.deleted).map_err(|error| self.whose(error))?;
            report.num_files += view.segment.num_files();
        }
        // Checks across segments: if a live id is found in its own segment, no other segment has it alive.
        for row in self.rows() {
            let id = self.id_at(row)?;
            if self.row(id)? != Some(row) {
                let (view, _) = self.locate(row)?;
                let damage = wrong_field("rows of an id that are not deleted", 1, format!("2 for {id:?}"));
                return Err(corrupt(view.segment.documents().path(), damage));
            }
        }
        Ok(report)
    }

    /// The vectors of the generation that is read.
    pub(super) fn embeddings<'s>(&self, view: &'s SegmentView) -> Result<&'s Embeddings> {
        view.segment.embeddings_of(self.0.generation)?.ok_or(Error::NoVectors)
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    pub(super) fn views(&self) -> &[SegmentView] {
        &self.0.views
    }

    /// The segment (by position) and the row in it of the document with this id.
    pub(super) fn find(&self, id: &str) -> Result<Option<(usize, u32)>> {
        for (number, view) in self.0.views.iter().enumerate() {
            let found = view.segment.documents().find(id, |row| !view.deleted.contains(row))?;
            if let Some(row) = found {
                return Ok(Some((number, row)));
            }
        }
        Ok(None)
    }

    /// The segment of a row and the row's number in it.
    fn locate(&self, row: RowId) -> Result<(&SegmentView, u32)> {
        let unknown = || Error::UnknownRow { row: row.0, rows: self.0.num_rows };
        if row.0 >= self.0.num_rows {
            return Err(unknown());
        }
        // The first view has base 0, and no view is empty.
        let number = self.0.views.partition_point(|view| view.base <= row.0) - 1;
        let view = &self.0.views[number];
        let local = row.0 - view.base;
        if local >= view.segment.rows() || view.deleted.contains(local) {
            return Err(unknown());
        }
        Ok((view, local))
    }
}

/// The settings of a generation, or of a database without one.
fn settings(
    manifest: &Manifest,
    generations: &[Generation],
    generation: usize,
    analyzer: Option<Analyzer>,
) -> Settings {
    match generations.get(generation).cloned() {
        Some(Generation { vectors, encoder, properties, .. }) => {
            Settings { vectors: Some(vectors), encoder, analyzer, properties }
        }
        None => Settings { vectors: None, encoder: None, analyzer, properties: manifest.outer_properties() },
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("path", &self.0.path)
            .field("commit", &self.0.manifest.commit)
            .field("documents", &self.len())
            .finish_non_exhaustive()
    }
}
