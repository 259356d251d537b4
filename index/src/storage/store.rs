//! Writing: the holder of a database's write lock, and its transactions.

use std::borrow::BorrowMut;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, disk};

use super::documents::{MAX_ID_LEN, NewDocument};
use super::embeddings::GenerationFiles;
use super::lock::WriterLock;
use super::manifest::Manifest;
use super::segment::{BM25_BUDGET, SegmentWriter, deleted_words};
use super::settings::{RECALL, Settings};
use super::snapshot::Snapshot;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::search::{RecallCurve, check_ef_search};

/// A database opened for writing. One at a time exists for a database, over all processes.
///
/// ```
/// use secateur_index::{Error, storage::{NewDocument, Settings, Store}};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
/// let mut transaction = store.begin()?;
/// let document = NewDocument { id: "1", title: "A title", text: "Some text", metadata: None };
/// transaction.add(&document, None)?;
/// assert!(matches!(transaction.add(&document, None), Err(Error::DuplicateDocument { .. })));
/// assert_eq!(transaction.commit()?.len(), 1);
///
/// let mut transaction = store.begin()?;
/// transaction.delete("1")?;
/// drop(transaction); // aborts
/// assert_eq!(store.snapshot().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Store {
    path: PathBuf,
    snapshot: Snapshot,
    _lock: WriterLock,
}

impl Store {
    /// Creates an empty database in the folder `path`, which must be absent or empty. A folder that holds no more
    /// than an interrupted creation left is completed.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::InvalidParameter`] for a dimension or a parameter of the index out of range,
    /// [`Error::ReservedProperty`], [`Error::Locked`],
    /// [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, settings: &Settings) -> Result<Store> {
        let path = path.as_ref();
        settings.check()?;
        disk::create_folders(path)?;
        for name in list(path)? {
            if !super::BEFORE_MANIFEST.contains(&name.as_str()) {
                return Err(Error::AlreadyExists { path: path.to_owned() });
            }
        }
        let lock = WriterLock::take(path)?;
        let segments = path.join(super::SEGMENTS);
        disk::create_folders(&segments)?;
        if !list(&segments)?.is_empty() {
            return Err(Error::AlreadyExists { path: path.to_owned() });
        }
        Manifest::empty(settings).write(path)?;
        disk::sync_name(path)?;
        Store::with_lock(path, lock)
    }

    /// Opens the database in the folder `path` for writing, and removes what a killed writer left behind.
    ///
    /// # Errors
    /// [`Error::Locked`] if another writer has it; otherwise as [`Snapshot::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        // Read first, so that a folder that is no database gets no LOCK file.
        Manifest::read(path)?;
        let lock = WriterLock::take(path)?;
        let store = Store::with_lock(path, lock)?;
        store.remove_garbage()?;
        Ok(store)
    }

    fn with_lock(path: &Path, lock: WriterLock) -> Result<Store> {
        Ok(Store { path: path.to_owned(), snapshot: Snapshot::open(path)?, _lock: lock })
    }

    /// The state after the last commit.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Begins a transaction. Nothing it does is visible before [`Transaction::commit`]; dropping it undoes it.
    ///
    /// # Errors
    /// None at present; reserved for storage that has to be prepared.
    pub fn begin(&mut self) -> Result<Transaction<&mut Store>> {
        Ok(Transaction::new(self))
    }

    /// Begins a transaction that keeps the store, for callers that hold both in one value; the lock is released when
    /// the transaction ends.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn into_transaction(self) -> Result<Transaction<Store>> {
        Ok(Transaction::new(self))
    }

    /// Changes the ef of searches that name none, of the generation in use, in a commit of its own.
    ///
    /// # Errors
    /// [`Error::NotHnsw`], [`Error::InvalidParameter`] for 0, and those of [`Transaction::commit`].
    pub fn set_ef_search(&mut self, ef_search: usize) -> Result<Snapshot> {
        let properties = self.ef_search_properties(ef_search)?;
        self.set_properties(properties)
    }

    /// Keeps what was measured of the generation in use, and makes its ef that of searches that name none, in a commit
    /// of its own. [`Snapshot::recall_curve`] gives it back.
    ///
    /// # Errors
    /// As [`Store::set_ef_search`].
    pub fn set_recall_curve(&mut self, curve: &RecallCurve) -> Result<Snapshot> {
        let mut properties = self.ef_search_properties(curve.ef_search)?;
        properties.push((RECALL.to_owned(), curve.to_string()));
        self.set_properties(properties)
    }

    /// What a change of ef changes in the manifest.
    fn ef_search_properties(&self, ef_search: usize) -> Result<Vec<(String, String)>> {
        let index = self.snapshot.settings().vectors.map(|vectors| vectors.index);
        let index = index.filter(|index| index.ef_search().is_some()).ok_or(Error::NotHnsw)?;
        check_ef_search(ef_search)?;
        Ok(index.with_ef_search(ef_search).to_properties())
    }

    /// Adds to the properties of the generation in use, in a commit of its own.
    fn set_properties(&mut self, properties: Vec<(String, String)>) -> Result<Snapshot> {
        let mut manifest = self.snapshot.manifest().clone();
        manifest.commit += 1;
        if let Some(generation) = manifest.generations.get_mut(manifest.active as usize) {
            generation.properties.extend(properties);
        }
        self.replace_manifest(manifest, NewFolders::default())
    }

    /// The folder of the segment number `number` that the next commit adds.
    pub(super) fn new_segment_folder(&self, number: usize) -> PathBuf {
        let mut name = format!("{:010}", self.snapshot.commit_number() + 1);
        if number > 0 {
            name.push_str(&format!("-{number}"));
        }
        self.segment_folder(&name)
    }

    pub(super) fn segment_folder(&self, name: &str) -> PathBuf {
        self.path.join(super::SEGMENTS).join(name)
    }

    /// The generations as segments know them.
    pub(super) fn generation_files(&self) -> Vec<GenerationFiles> {
        let generations = self.snapshot.generations().iter().zip(&self.snapshot.manifest().generations);
        generations
            .map(|(generation, record)| GenerationFiles { id: record.id, settings: generation.vectors })
            .collect()
    }

    /// Removes the names of segments of an older snapshot that the present one lacks.
    pub(super) fn remove_segments_of(&self, old: &Snapshot) {
        for segment in &old.manifest().segments {
            if !self.snapshot.manifest().segments.iter().any(|named| named.folder == segment.folder) {
                // What cannot be removed now, the next writer removes.
                let _ = disk::remove_folder(&self.path.join(super::SEGMENTS).join(&segment.folder));
            }
        }
    }

    /// Removes the segments, and the files of generations in them, that the manifest does not name, and a half-written
    /// manifest.
    pub(super) fn remove_garbage(&self) -> Result<()> {
        let segments = self.path.join(super::SEGMENTS);
        for name in list(&segments)? {
            let folder = segments.join(&name);
            let Some(record) =
                self.snapshot.manifest().segments.iter().find(|segment| segment.folder == name)
            else {
                remove_all(&folder)?;
                continue;
            };
            for name in list(&folder)? {
                let is_named = |file: &str| file.split('/').next() == Some(&name);
                if !record.files.iter().any(|file| is_named(&file.name)) {
                    remove_all(&folder.join(name))?;
                }
            }
        }
        Ok(disk::remove_if_there(&self.path.join("MANIFEST.tmp"))?)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// Removes a file, or a folder with all that is in it.
fn remove_all(path: &Path) -> Result<()> {
    match disk::remove_if_there(path) {
        // Elsewhere files that a reader has mapped cannot be removed; they do no harm.
        Err(_) if !cfg!(unix) => Ok(()),
        removed => Ok(removed?),
    }
}

/// The names in a folder.
fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).at("list", folder)?;
    let name = |entry: io::Result<fs::DirEntry>| {
        Ok(entry.at("list", folder)?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}

/// Additions and deletions that become visible together, or not at all.
///
/// Memory: the ids of the documents added, about 100 bytes a document, and a bounded amount of postings. Documents and
/// vectors go to disk as they come. The store is borrowed or owned: see [`Store::begin`], [`Store::into_transaction`].
pub struct Transaction<S: BorrowMut<Store>> {
    store: S,
    /// For each committed segment the new set of deleted rows, if it changes.
    deleted: Vec<Option<Bitmap>>,
    added: Option<Added>,
    has_failed: bool,
}

/// The segment that a transaction writes.
struct Added {
    writer: SegmentWriter,
    /// Removed with its files unless it is committed. After the writer: dropping it closes them.
    folders: NewFolders,
    /// Rows of the ids that are not deleted again.
    rows: HashMap<String, u32>,
    num_rows: u32,
    deleted: Bitmap,
}

impl<S: BorrowMut<Store>> Transaction<S> {
    fn new(store: S) -> Transaction<S> {
        let deleted = vec![None; store.borrow().snapshot.views().len()];
        Transaction { store, deleted, added: None, has_failed: false }
    }

    /// Adds a document, with its vector if and only if the database has vectors.
    ///
    /// # Errors
    /// [`Error::DuplicateDocument`] if the id is taken (a document deleted earlier in this transaction frees its id).
    /// [`Error::SeveralGenerations`], [`Error::DocumentSize`], [`Error::InvalidMetadata`], [`Error::VectorPresence`],
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::TooManyRows`]. After each
    /// of these the document is not added and the transaction goes on. [`Error::Io`] or [`Error::Bm25`]: the
    /// transaction can only be dropped.
    pub fn add(&mut self, document: &NewDocument<'_>, vector: Option<&[f32]>) -> Result<()> {
        self.check(document, vector)?;
        let result = self.write(document, vector);
        self.has_failed |= result.is_err();
        result
    }

    fn check(&self, document: &NewDocument<'_>, vector: Option<&[f32]>) -> Result<()> {
        let id = document.id;
        let sizes = [
            ("the id", id.len(), 1, MAX_ID_LEN),
            ("the title", document.title.len(), 0, MAX_STRING_LEN),
            ("the text", document.text.len(), 0, MAX_STRING_LEN),
            ("the metadata", document.metadata.map_or(0, str::len), 0, MAX_STRING_LEN),
        ];
        for (field, got, min, max) in sizes {
            if !(min..=max).contains(&got) {
                let id = id.chars().take(64).collect();
                return Err(Error::DocumentSize { id, field, got, min, max });
            }
        }
        if let Some(got) = document.metadata.and_then(other_than_object) {
            return Err(Error::InvalidMetadata { id: id.into(), got });
        }
        if let generations @ [_, _, ..] = self.store.borrow().snapshot.generations() {
            let names = generations.iter().map(|generation| generation.name.clone()).collect();
            return Err(Error::SeveralGenerations { names });
        }
        match (self.store.borrow().snapshot.settings().vectors, vector) {
            (Some(settings), Some(vector)) => settings.check_vector(vector)?,
            (None, None) => {}
            (settings, _) => {
                return Err(Error::VectorPresence { id: id.into(), expected: settings.is_some() });
            }
        }
        if self.locate(id)?.is_some() {
            return Err(Error::DuplicateDocument { id: id.into() });
        }
        let num_rows = self.store.borrow().snapshot.num_rows()
            + self.added.as_ref().map_or(0, |added| added.num_rows as usize);
        if num_rows >= u32::MAX as usize {
            return Err(Error::TooManyRows);
        }
        Ok(())
    }

    fn write(&mut self, document: &NewDocument<'_>, vector: Option<&[f32]>) -> Result<()> {
        let added = match &mut self.added {
            Some(added) => added,
            None => {
                let store = self.store.borrow();
                let folder = store.new_segment_folder(0);
                let folders = NewFolders::new(folder.clone());
                self.added.insert(Added {
                    writer: SegmentWriter::create(
                        folder,
                        &store.generation_files(),
                        store.snapshot.settings().analyzer,
                        BM25_BUDGET,
                    )?,
                    folders,
                    rows: HashMap::new(),
                    num_rows: 0,
                    deleted: Bitmap::default(),
                })
            }
        };
        added.writer.add(document, vector.as_slice())?;
        added.rows.insert(document.id.to_owned(), added.num_rows);
        added.num_rows += 1;
        Ok(())
    }

    /// Deletes a document, be it committed or added by this transaction.
    ///
    /// # Errors
    /// [`Error::UnknownDocument`] if no document has this id, or no longer.
    pub fn delete(&mut self, id: &str) -> Result<()> {
        match self.locate(id)? {
            None => return Err(Error::UnknownDocument { id: id.into() }),
            Some(Place::Committed(number, row)) => {
                let view = &self.store.borrow().snapshot.views()[number];
                self.deleted[number].get_or_insert_with(|| (*view.deleted).clone()).insert(row);
            }
            Some(Place::Added) => {
                if let Some(added) = &mut self.added
                    && let Some(row) = added.rows.remove(id)
                {
                    added.deleted.insert(row);
                }
            }
        }
        Ok(())
    }

    /// Whether a document with this id would be there after a commit.
    ///
    /// # Errors
    /// As [`Snapshot::row`].
    pub fn contains(&self, id: &str) -> Result<bool> {
        Ok(self.locate(id)?.is_some())
    }

    fn locate(&self, id: &str) -> Result<Option<Place>> {
        if self.added.as_ref().is_some_and(|added| added.rows.contains_key(id)) {
            return Ok(Some(Place::Added));
        }
        let committed = self.store.borrow().snapshot.find(id)?;
        Ok(committed
            .filter(|(number, row)| {
                !self.deleted[*number].as_ref().is_some_and(|deleted| deleted.contains(*row))
            })
            .map(|(number, row)| Place::Committed(number, row)))
    }

    /// Makes the changes visible and durable. When this returns, they survive a crash and a power failure. If it fails,
    /// the database is as it was. Without changes nothing is written. If the database has an HNSW index, the graph of
    /// the rows added is built, in parallel on the current rayon pool.
    ///
    /// # Errors
    /// [`Error::TransactionFailed`] after a failed write, [`Error::Io`], [`Error::Bm25`]. Should the last step, syncing
    /// the folder, fail, the changes are visible but may not survive a power failure.
    pub fn commit(mut self) -> Result<Snapshot> {
        if self.has_failed {
            return Err(Error::TransactionFailed);
        }
        let mut manifest = self.store.borrow().snapshot.manifest().clone();
        manifest.commit += 1;
        for (record, deleted) in manifest.segments.iter_mut().zip(&self.deleted) {
            if let Some(deleted) = deleted {
                record.deleted = deleted_words(deleted, record.rows);
            }
        }
        if let Some(Added { writer, folders, deleted, .. }) = self.added.take() {
            manifest.segments.push(writer.finish(&deleted)?);
            return self.store.borrow_mut().replace_manifest(manifest, folders);
        }
        if manifest.segments == self.store.borrow().snapshot.manifest().segments {
            return Ok(self.store.borrow().snapshot.clone());
        }
        self.store.borrow_mut().replace_manifest(manifest, NewFolders::default())
    }
}

impl Store {
    /// Commits: the manifest becomes this one, which names the new folders.
    pub(super) fn replace_manifest(
        &mut self,
        manifest: Manifest,
        mut new_folders: NewFolders,
    ) -> Result<Snapshot> {
        if new_folders.len() > 0 {
            disk::sync_folder(&self.path.join(super::SEGMENTS))?;
        }
        // Opened before it is committed, so that what cannot be read back is never committed.
        let next = Snapshot::load(&self.path, manifest.clone(), self.snapshot.views())?;
        let result = manifest.write(&self.path);
        // A failure can come before or after the rename; the disk knows which.
        let is_committed =
            result.is_ok() || Manifest::read(&self.path).is_ok_and(|on_disk| on_disk == manifest);
        if is_committed {
            new_folders.keep();
            self.snapshot = next.clone();
        }
        result.map(|()| next)
    }
}

/// Folders that are removed with all that is in them unless they are committed. What cannot be removed now, the next
/// writer removes.
#[derive(Default)]
pub(super) struct NewFolders(Vec<PathBuf>);

impl NewFolders {
    pub fn new(folder: PathBuf) -> NewFolders {
        NewFolders(vec![folder])
    }

    pub fn push(&mut self, folder: PathBuf) {
        self.0.push(folder);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = disk::remove_folder(folder);
        }
    }
}

/// What metadata is, if not a JSON object.
fn other_than_object(metadata: &str) -> Option<&'static str> {
    match (serde_json::from_str::<serde::de::IgnoredAny>(metadata), metadata.trim_start().chars().next()) {
        (Err(_), _) => Some("no JSON"),
        (Ok(_), Some('{')) => None,
        (Ok(_), Some('[')) => Some("a list"),
        (Ok(_), Some('"')) => Some("a string"),
        (Ok(_), _) => Some("null, a boolean or a number"),
    }
}

/// The longest title, text or metadata: their lengths are stored in 32 bits, of which one value means "absent".
const MAX_STRING_LEN: usize = u32::MAX as usize - 1;

enum Place {
    /// Segment (by position) and row in it.
    Committed(usize, u32),
    Added,
}
