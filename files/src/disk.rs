//! The single operations on a disk. Tests make any of them fail, and forget what was not synced (`faults`).

// What clippy.toml tells the other modules to leave to this one.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{AtPath, CREATE, PathError, Result};
#[cfg(all(any(test, feature = "faults"), unix))]
use crate::faults;

/// Without the feature `faults` nothing comes in between.
#[cfg(not(all(any(test, feature = "faults"), unix)))]
mod faults {
    use std::io;
    use std::path::Path;

    #[inline]
    pub(super) fn step() -> io::Result<()> {
        Ok(())
    }

    #[inline]
    pub(super) fn file_synced(_: &Path) {}

    #[inline]
    pub(super) fn folder_synced(_: &Path) {}
}

/// A file that is being written. Its mode follows the umask, as every new file's does.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
}

impl DiskFile {
    /// A new file, which must not exist.
    ///
    /// # Errors
    /// [`PathError`], as every function of this module.
    pub fn create_new(path: &Path) -> Result<DiskFile> {
        DiskFile::make(CREATE, path, || File::create_new(path))
    }

    /// A new file, in place of one that may be there.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(path: &Path) -> Result<DiskFile> {
        DiskFile::make(CREATE, path, || File::create(path))
    }

    /// A file for reading and writing as it is; a new one where there is none.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open_or_create(path: &Path) -> Result<DiskFile> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        DiskFile::make(CREATE, path, || options.open(path))
    }

    /// A file that is there, to be written at its end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn append(path: &Path) -> Result<DiskFile> {
        DiskFile::make("open", path, || File::options().append(true).open(path))
    }

    /// A file that another library has written, to be synced.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(path: &Path) -> Result<DiskFile> {
        // Windows syncs only what is open for writing; elsewhere a file may be read-only.
        let file = File::options().read(true).write(cfg!(windows)).open(path).at("open", path)?;
        Ok(DiskFile { file, path: path.to_owned() })
    }

    fn make(action: &'static str, path: &Path, open: impl FnOnce() -> io::Result<File>) -> Result<DiskFile> {
        let file = faults::step().and_then(|()| open()).at(action, path)?;
        Ok(DiskFile { file, path: path.to_owned() })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself, for reading, locking and metadata. `faults` does not see writes that go to it directly.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the bytes written, and the length, survive a power failure.
    ///
    /// # Errors
    /// The operating system's.
    pub fn sync(&self) -> Result<()> {
        self.sync_by(File::sync_all)
    }

    /// [`sync`](DiskFile::sync) without the file's times.
    ///
    /// # Errors
    /// The operating system's.
    pub fn sync_data(&self) -> Result<()> {
        self.sync_by(File::sync_data)
    }

    fn sync_by(&self, sync: impl FnOnce(&File) -> io::Result<()>) -> Result<()> {
        faults::step().and_then(|()| sync(&self.file)).at("sync", &self.path)?;
        faults::file_synced(&self.path);
        Ok(())
    }

    /// Cuts the file off, or fills it up with zeros.
    ///
    /// # Errors
    /// The operating system's.
    pub fn set_len(&self, len: u64) -> Result<()> {
        faults::step().and_then(|()| self.file.set_len(len)).at("truncate", &self.path)
    }

    /// Reads `buffer.len()` bytes at a position.
    ///
    /// # Errors
    /// The operating system's, and the end of the file before that many bytes.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(buffer)).at("read", &self.path)
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

impl Read for DiskFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// The folder that holds the name of a path.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder (creations, renames, removals) survive a power failure.
///
/// # Errors
/// The operating system's.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let sync = || {
        faults::step()?;
        // Windows cannot sync a folder, and does not need to.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    sync().at("sync", folder)?;
    faults::folder_synced(folder);
    Ok(())
}

/// Makes the name of a file or folder, after it was created or renamed, survive a power failure.
///
/// # Errors
/// The operating system's.
pub fn sync_name(path: &Path) -> Result<()> {
    sync_folder(parent(path))
}

/// Syncs a folder with all that is in it, whoever wrote it.
///
/// # Errors
/// The operating system's.
pub fn sync_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_dir() { sync_tree(&path)? } else { DiskFile::open(&path)?.sync()? }
    }
    sync_folder(folder)
}

/// Creates a folder, which must not exist.
///
/// # Errors
/// The operating system's.
pub fn create_folder(folder: &Path) -> Result<()> {
    faults::step().and_then(|()| fs::create_dir(folder)).at(CREATE, folder)
}

/// Creates a folder, and those that it lies in, where they are missing.
///
/// # Errors
/// The operating system's.
pub fn create_folders(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    create_folders(folder.parent().unwrap_or(Path::new("")))?;
    match create_folder(folder) {
        // Another process was as quick.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_name(folder),
    }
}

/// The path that a new file can take in place of what is there: where the symbolic links from `path` on lead to. `None`
/// for a device, a pipe, a socket, and for what a process has open, as `/dev/stdout` does.
///
/// # Errors
/// The operating system's; links lead in a circle.
pub fn replaceable(path: &Path) -> Result<Option<PathBuf>> {
    let mut target = path.to_owned();
    while target.is_symlink() {
        // Fails where links lead in a circle.
        match fs::metadata(&target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("read", path),
            _ => {}
        }
        let folder = fs::canonicalize(parent(&target)).at("read", &target)?;
        if folder.starts_with("/proc") {
            return Ok(None);
        }
        let next = fs::read_link(&target).at("read", &target)?;
        target = parent(&target).join(next);
    }
    let is_special = fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    Ok((!is_special).then_some(target))
}

/// Gives a file or folder another name. [`sync_name`] makes it last.
///
/// # Errors
/// The operating system's.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    faults::step().and_then(|()| fs::rename(from, to)).at("rename", from)
}

/// Creates a symbolic link to `target`.
///
/// # Errors
/// The operating system's; something is at the path already.
#[cfg(unix)]
pub fn link(target: &Path, path: &Path) -> Result<()> {
    faults::step().and_then(|()| std::os::unix::fs::symlink(target, path)).at("link", path)
}

/// Removes a folder with all that is in it.
///
/// # Errors
/// The operating system's.
pub fn remove_folder(folder: &Path) -> Result<()> {
    faults::step().and_then(|()| fs::remove_dir_all(folder)).at("remove", folder)
}

/// Removes a file.
///
/// # Errors
/// The operating system's.
pub fn remove_file(path: &Path) -> Result<()> {
    faults::step().and_then(|()| fs::remove_file(path)).at("remove", path)
}

/// Removes a file, or a folder with all that is in it; does nothing where there is none.
///
/// # Errors
/// The operating system's.
pub fn remove_if_there(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { remove_folder(path) } else { remove_file(path) };
    match removed {
        Err(PathError { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
