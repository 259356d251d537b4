//! What storage does to a disk, in one place: tests make any of it fail, and forget what was not synced (`faults.rs`).

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[cfg(all(test, unix))]
use crate::storage::faults;

/// Outside tests nothing comes in between.
#[cfg(not(all(test, unix)))]
mod faults {
    use std::io;
    use std::path::Path;

    #[inline]
    pub fn step() -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub fn file_synced(_: &Path) {}

    #[inline]
    pub fn folder_synced(_: &Path) {}
}

/// A file that is being written.
pub(crate) struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// A new file, which must not exist.
    pub fn create_new(path: &Path) -> io::Result<DiskFile> {
        faults::step()?;
        Ok(DiskFile { file: File::create_new(path)?, path: path.to_owned() })
    }

    /// A new file, in place of one that may be there.
    pub fn create(path: &Path) -> io::Result<DiskFile> {
        faults::step()?;
        Ok(DiskFile { file: File::create(path)?, path: path.to_owned() })
    }

    /// A file that somebody else has written, to be synced.
    pub fn open(path: &Path) -> io::Result<DiskFile> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(DiskFile { file, path: path.to_owned() })
    }

    /// Makes the bytes written survive a power failure.
    pub fn sync(&self) -> io::Result<()> {
        faults::step()?;
        self.file.sync_all()?;
        faults::file_synced(&self.path);
        Ok(())
    }

    pub fn into_file(self) -> File {
        self.file
    }
}

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = faults::step() {
            // A disk that fills up takes a part.
            let _ = self.file.write(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Makes the names in a folder (creations, renames, removals) survive a power failure.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    faults::step()?;
    // Windows cannot sync a folder, and does not need to.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    faults::folder_synced(folder);
    Ok(())
}

pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    faults::step()?;
    fs::create_dir(folder)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::step()?;
    fs::rename(from, to)
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    faults::step()?;
    fs::remove_dir_all(folder)
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    faults::step()?;
    fs::remove_file(path)
}
