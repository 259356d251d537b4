//! A database that is being built beside the place where it will be.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, Journal, PathError, disk};

use super::lock::{self, WriterLock};
use super::manifest;
use super::partial::partial_folder;
use super::store::Store;
use crate::error::{Error, Result};

/// The place of a database that appears when it is whole, and not before.
///
/// The database is made in the folder `NAME.partial`, its vectors are kept in the file `NAME.journal`, and
/// [`finish`](Unfinished::finish) renames the folder. The journal goes last: at every moment the vectors are in it or
/// in the database at its place. A build that was killed is begun anew with the same journal.
///
/// ```
/// use secateur_index::storage::{Settings, Store, Unfinished};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("db");
/// let unfinished = Unfinished::begin(&path)?;
/// let store = Store::create(unfinished.folder(), &Settings::bm25_only())?;
/// assert!(!path.exists());
/// unfinished.finish(Some(store))?;
/// assert_eq!(Store::open(&path)?.snapshot().len(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    partial: PathBuf,
    journal: PathBuf,
}

impl Unfinished {
    /// Prepares the place `path`, which must be absent, and removes what an interrupted build of the same database
    /// has left, but for its journal.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`], [`Error::Locked`] while another process builds there, [`Error::Io`] if the folder
    /// that would be removed holds files of somebody else.
    pub fn begin(path: impl AsRef<Path>) -> Result<Unfinished> {
        let path = path.as_ref().to_owned();
        if path.exists() {
            return Err(Error::AlreadyExists { path });
        }
        let (partial, journal) = (partial_folder(&path), Journal::beside(&path));
        remove_partial(&partial)?;
        Ok(Unfinished { path, partial, journal })
    }

    /// The folder in which the database is to be made.
    pub fn folder(&self) -> &Path {
        &self.partial
    }

    /// The file that keeps the vectors meanwhile.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Gives the database its place, and removes the journal, which must not be open. `lock` is what keeps others from
    /// the folder until then: the database's [`Store`], if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self, lock: Option<Store>) -> Result<()> {
        // Windows renames no folder in which a file is open.
        let lock = lock.filter(|_| cfg!(not(windows)));
        disk::rename(&self.partial, &self.path)?;
        disk::sync_name(&self.path)?;
        Journal::remove_unused(&self.journal);
        drop(lock);
        Ok(())
    }

    /// Gives up, and removes what there is of the database; the journal stays. The next build removes what cannot be
    /// removed now.
    pub fn abandon(self) {
        let _ = remove_partial(&self.partial);
    }
}

/// Removes what an interrupted build has left, unless that build is going on.
fn remove_partial(partial: &Path) -> Result<()> {
    if !partial.exists() {
        return Ok(());
    }
    let list =
        || -> io::Result<Vec<_>> { fs::read_dir(partial)?.map(|entry| Ok(entry?.file_name())).collect() };
    let names = list().at("list", partial)?;
    let is_ours = |name: &&str| *name == manifest::FILE_NAME || super::BEFORE_MANIFEST.contains(name);
    for name in &names {
        if name.to_str().filter(is_ours).is_none() {
            let reason = io::Error::other(format!("it holds {name:?}, which is none of secateur's files"));
            return Err(PathError::new("remove", partial, reason).into());
        }
    }
    if names.iter().any(|name| name == lock::FILE_NAME) {
        WriterLock::take(partial)?;
    }
    // Removed first, so that an interrupted removal leaves an unfinished database and not a damaged one.
    disk::remove_if_there(&partial.join(manifest::FILE_NAME))?;
    Ok(disk::remove_folder(partial)?)
}
