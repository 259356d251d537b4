//! Writing: the holder of a database's write lock.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, disk};

use super::embeddings::GenerationFiles;
use super::lock::WriterLock;
use super::manifest::{Manifest, PACK};
use super::pack;
use super::settings::{RECALL, Settings};
use super::snapshot::Snapshot;
use crate::error::{Error, Result};
use crate::search::{RecallCurve, check_ef_search};
use crate::vector_index::RESERVED;

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
/// assert!(matches!(transaction.add(&document, None), Err(Error::RepeatedDocument { .. })));
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
    pub(super) snapshot: Snapshot,
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

    /// Changes the ef of searches that name none, of the generation in use, in a commit of its own.
    ///
    /// # Errors
    /// [`Error::NotHnsw`], [`Error::InvalidParameter`] for 0, and those of
    /// [`Transaction::commit`](super::Transaction::commit).
    pub fn set_ef_search(&mut self, ef_search: usize) -> Result<Snapshot> {
        let properties = Store::properties_with_ef(&self.snapshot, ef_search)?;
        self.set_properties(properties)
    }

    /// Keeps what was measured of the generation in use, and makes its ef that of searches that name none, in a commit
    /// of its own. [`Snapshot::recall_curve`] gives it back.
    ///
    /// # Errors
    /// As [`Store::set_ef_search`].
    pub fn set_recall_curve(&mut self, curve: &RecallCurve) -> Result<Snapshot> {
        let mut properties = Store::properties_with_ef(&self.snapshot, curve.ef_search)?;
        properties.push((RECALL.to_owned(), curve.to_string()));
        self.set_properties(properties)
    }

    /// [`Store::set_recall_curve`] of the named generation.
    ///
    /// # Errors
    /// As [`Store::set_ef_search`], and [`Error::UnknownGeneration`].
    pub fn set_recall_curve_of(&mut self, generation: &str, curve: &RecallCurve) -> Result<Snapshot> {
        let position = self.snapshot.manifest().position(generation)?;
        let read = self.snapshot.with_generation(generation)?;
        let mut properties = Store::properties_with_ef(&read, curve.ef_search)?;
        properties.push((RECALL.to_owned(), curve.to_string()));
        self.set_properties_of(position, properties)
    }

    /// Replaces the settings of the layers above of the named generation, in a commit of its own.
    ///
    /// # Errors
    /// [`Error::UnknownGeneration`], [`Error::ReservedProperty`], and those of a commit.
    pub fn set_properties_of_layers_above(
        &mut self,
        generation: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<Snapshot> {
        let mut manifest = self.snapshot.manifest().clone();
        manifest.commit += 1;
        replace_properties(&mut manifest, generation, properties)?;
        self.replace_manifest(manifest, NewFolders::default())
    }

    /// What a change of ef changes in the manifest.
    fn properties_with_ef(snapshot: &Snapshot, ef_search: usize) -> Result<Vec<(String, String)>> {
        let index = snapshot.settings().vectors.map(|vectors| vectors.index);
        let index = index.filter(|index| index.ef_search().is_some()).ok_or(Error::NotHnsw)?;
        check_ef_search(ef_search)?;
        Ok(index.with_ef_search(ef_search).to_properties())
    }

    /// Adds to the properties of the generation in use, in a commit of its own.
    fn set_properties(&mut self, properties: Vec<(String, String)>) -> Result<Snapshot> {
        self.set_properties_of(self.snapshot.manifest().active as usize, properties)
    }

    fn set_properties_of(&mut self, position: usize, properties: Vec<(String, String)>) -> Result<Snapshot> {
        let mut manifest = self.snapshot.manifest().clone();
        manifest.commit += 1;
        if let Some(generation) = manifest.generations.get_mut(position) {
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
        self.snapshot.generation_files().collect()
    }

    /// Removes the names of segments of an older snapshot that the present one lacks.
    pub(super) fn remove_segments_of(&self, old: &Snapshot) {
        for segment in &old.manifest().segments {
            if !self.snapshot.manifest().segments.iter().any(|named| named.folder == segment.folder) {
                // What cannot be removed now, the next writer removes.
                let _ = remove_segment(&self.segment_folder(&segment.folder));
            }
        }
    }

    /// Removes the segments, and the files of generations in them, that the manifest does not name, and a half-written
    /// manifest.
    pub(super) fn remove_garbage(&self) -> Result<()> {
        let segments = self.path.join(super::SEGMENTS);
        for name in list(&segments)? {
            let folder = segments.join(&name);
            let named = &self.snapshot.manifest().segments;
            let packed = name.strip_suffix(pack::SUFFIX);
            let segment = named.iter().find(|segment| segment.folder == packed.unwrap_or(&name));
            let Some(record) = segment.filter(|segment| packed.is_none() || segment.file(PACK).is_some())
            else {
                remove_all(&folder)?;
                continue;
            };
            if packed.is_some() {
                continue;
            }
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

/// Replaces the settings of the layers above of a generation.
pub(super) fn replace_properties(
    manifest: &mut Manifest,
    generation: &str,
    properties: BTreeMap<String, String>,
) -> Result<()> {
    if let Some(name) = properties.keys().find(|name| name.starts_with(RESERVED)) {
        return Err(Error::ReservedProperty { name: name.clone() });
    }
    let position = manifest.position(generation)?;
    let kept = &mut manifest.generations[position].properties;
    kept.retain(|name, _| name.starts_with(RESERVED));
    kept.extend(properties);
    Ok(())
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

/// Folders that are removed with all that is in them, and with the packs beside them, unless they are committed. What
/// cannot be removed now, the next writer removes.
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
            let _ = remove_segment(folder);
        }
    }
}

/// Removes the folder of a segment and its pack, whichever there is.
fn remove_segment(folder: &Path) -> Result<()> {
    disk::remove_if_there(&pack::path(folder))?;
    Ok(disk::remove_if_there(folder)?)
}
