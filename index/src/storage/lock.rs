//! One writer at a time, by a lock of the operating system on the LOCK file.

use std::io::{Read, Seek, Write};
use std::path::Path;

use secateur_files::disk::DiskFile;
use secateur_files::{AtPath, LockedFile};

use crate::error::{Error, Result};

pub(super) const FILE_NAME: &str = "LOCK";

/// Holds the lock until it is dropped; the operating system releases it when the process ends, however it ends.
pub(super) struct WriterLock {
    file: LockedFile,
}

impl Drop for WriterLock {
    /// Takes the process's number out again: who wrote a database is no part of it. A number that stays does no harm.
    fn drop(&mut self) {
        let _ = self.file.0.set_len(0);
    }
}

impl WriterLock {
    /// Takes the lock of the database in `folder`.
    pub fn take(folder: &Path) -> Result<WriterLock> {
        let path = folder.join(FILE_NAME);
        let file = DiskFile::open_or_create(&path)?;
        let mut locked = LockedFile::try_lock(file)?.map_err(|mut file| {
            let mut text = String::new();
            // The holder may be about to write its number, or the platform may forbid reading a locked file.
            let holder = match file.read_to_string(&mut text) {
                Ok(_) => text.trim().parse().ok(),
                Err(_) => None,
            };
            Error::Locked { path: folder.to_owned(), holder }
        })?;
        let file = &mut locked.0;
        file.set_len(0)?;
        file.rewind().and_then(|()| write!(file, "{}", std::process::id())).at("write", &path)?;
        Ok(WriterLock { file: locked })
    }
}
