//! Files that one process at a time has.

use std::fs::TryLockError;

use crate::disk::DiskFile;
use crate::error::{AtPath, PathError, Result};

/// A file that no other process, nor another part of this one, has locked. The lock ends when this is dropped; the
/// operating system ends it when the process ends, however it ends.
#[derive(Debug)]
pub struct LockedFile(pub DiskFile);

impl LockedFile {
    /// Locks a file, or gives it back if somebody else has.
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn try_lock(file: DiskFile) -> Result<Result<LockedFile, DiskFile>> {
        match file.file().try_lock() {
            Ok(()) => Ok(Ok(LockedFile(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(source)) => Err(PathError::new("lock", file.path(), source)),
        }
    }

    /// Waits until nobody else has the file, and locks it.
    ///
    /// # Errors
    /// The file system has no locks.
    pub fn lock(file: DiskFile) -> Result<LockedFile> {
        file.file().lock().at("lock", file.path())?;
        Ok(LockedFile(file))
    }

    /// Whether the path still leads to this file. Who waited for a lock, or came late, may hold one that was removed.
    pub fn is_in_place(&self) -> bool {
        let there = std::fs::metadata(self.0.path());
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let of = |file: std::fs::Metadata| (file.dev(), file.ino());
            matches!((there.map(of), self.0.file().metadata().map(of)), (Ok(there), Ok(ours)) if there == ours)
        }
        // A file that is removed while it is open keeps its name from others until it is closed.
        #[cfg(not(unix))]
        there.is_ok()
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file alone is not enough. A child process that another thread is starting shares the open file
        // and its lock, until the child executes its program. A lock that cannot be released ends with the process.
        let _ = self.0.file().unlock();
    }
}
