//! One writer at a time, by a lock of the operating system on the LOCK file.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::files::io_error;
use crate::error::{Error, Result};

const FILE_NAME: &str = "LOCK";

/// Holds the lock until it is dropped; the operating system releases it when the process ends, however it ends.
pub(super) struct WriterLock {
    file: File,
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child that another thread is starting shares the open file, and with it the
        // lock, until it executes its program. What cannot be unlocked is released when the process ends.
        let _ = self.file.unlock();
    }
}

impl WriterLock {
    /// Takes the lock of the database in `folder`.
    pub fn take(folder: &Path) -> Result<WriterLock> {
        let path = folder.join(FILE_NAME);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be about to write its number, or the platform may forbid reading a locked file.
                let holder = match file.read_to_string(&mut text) {
                    Ok(_) => text.trim().parse().ok(),
                    Err(_) => None,
                };
                return Err(Error::Locked { path: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        let mut sign = || {
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{}", std::process::id())
        };
        sign().map_err(io_error("write", &path))?;
        Ok(WriterLock { file })
    }
}
