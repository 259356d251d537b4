//! One writer at a time, by a lock of the operating system on the LOCK file.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::file_format::files::io_error;

pub(super) const FILE_NAME: &str = "LOCK";

/// Holds the lock until it is dropped; the operating system releases it when the process ends, however it ends.
pub(super) struct WriterLock {
    _file: LockedFile,
}

/// A file that no other process, nor another part of this one, has locked.
#[derive(Debug)]
pub(super) struct LockedFile(pub(super) File);

impl LockedFile {
    /// Locks a file, or gives it back if somebody else has.
    pub fn try_lock(file: File, path: &Path) -> Result<std::result::Result<LockedFile, File>> {
        match file.try_lock() {
            Ok(()) => Ok(Ok(LockedFile(file))),
            Err(TryLockError::WouldBlock) => Ok(Err(file)),
            Err(TryLockError::Error(source)) => Err(io_error("lock", path)(source)),
        }
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing alone would not do: a child that another thread is starting shares the open file, and with it the
        // lock, until it executes its program. What cannot be unlocked is released when the process ends.
        let _ = self.0.unlock();
    }
}

impl WriterLock {
    /// Takes the lock of the database in `folder`.
    pub fn take(folder: &Path) -> Result<WriterLock> {
        let path = folder.join(FILE_NAME);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        let mut file = LockedFile::try_lock(file, &path)?.map_err(|mut file| {
            let mut text = String::new();
            // The holder may be about to write its number, or the platform may forbid reading a locked file.
            let holder = match file.read_to_string(&mut text) {
                Ok(_) => text.trim().parse().ok(),
                Err(_) => None,
            };
            Error::Locked { path: folder.to_owned(), holder }
        })?;
        let mut sign = || {
            file.0.set_len(0)?;
            file.0.rewind()?;
            write!(file.0, "{}", std::process::id())
        };
        sign().map_err(io_error("write", &path))?;
        Ok(WriterLock { _file: file })
    }
}
