//! Files and folders that appear whole or not at all.

use std::ffi::OsString;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::{self, DiskFile};
use crate::error::{AtPath, PathError, Result};

/// A file under a temporary name beside its own. [`finish`](Durable::finish) syncs it and gives it its name. If it is
/// dropped before, it is removed, and a file that was at the path is unchanged.
///
/// A device or a pipe, such as `/dev/null`, is written where it is: a file must not take its place. Nor does a file
/// take the place of a symbolic link: what the link leads to is replaced. An open file that `/dev/stdout` leads to is
/// written where it is.
#[derive(Debug)]
pub struct Durable {
    path: PathBuf,
    /// `None` where the path is a device or a pipe.
    temporary: Option<PathBuf>,
    /// `None` once it is finished.
    file: Option<BufWriter<DiskFile>>,
}

impl Durable {
    /// Begins the file `path`. Several writers of one path do not disturb each other; the last to finish stays.
    ///
    /// # Errors
    /// The path is a folder, or the folder it lies in is missing or refuses.
    pub fn create(path: &Path) -> Result<Durable> {
        Durable::begin(path, unique_sibling)
    }

    /// Begins the file `path`, whose only writer the caller must be. The temporary name is always the same, `path`
    /// with `.tmp`, so the next writer overwrites what a killed one left.
    ///
    /// # Errors
    /// As [`Durable::create`].
    pub fn create_alone(path: &Path) -> Result<Durable> {
        Durable::begin(path, |path| with_suffix(path, ".tmp"))
    }

    fn begin(path: &Path, temporary: impl FnOnce(&Path) -> PathBuf) -> Result<Durable> {
        // A file could not take its name in the end.
        if path.is_dir() {
            return Err(PathError::exists(path));
        }
        let target = disk::replaceable(path)?;
        let temporary = target.as_deref().map(temporary);
        let file =
            DiskFile::create(temporary.as_deref().unwrap_or(path)).map_err(|error| named(error, path))?;
        let file = Some(BufWriter::with_capacity(128 << 10, file));
        Ok(Durable { path: target.unwrap_or_else(|| path.to_owned()), temporary, file })
    }

    /// Writes the file `path` by one function.
    ///
    /// # Errors
    /// The function's, or the operating system's; the file that was there is then unchanged.
    pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut file = Durable::create(path)?;
        write(&mut file).at("write", path)?;
        file.finish()
    }

    /// Syncs the file, gives it its name, and makes the name last.
    ///
    /// # Errors
    /// The operating system's error. The file that was at the path is then unchanged, unless only the last step
    /// failed.
    pub fn finish(mut self) -> Result<()> {
        self.writer().flush().at("write", &self.path)?;
        if let Some(temporary) = &self.temporary {
            let named = |error| named(error, &self.path);
            if let Some(file) = &self.file {
                file.get_ref().sync().map_err(named)?;
            }
            disk::rename(temporary, &self.path)
                .map_err(|error| PathError { action: "write", ..named(error) })?;
            self.file = None;
            disk::sync_name(&self.path)?;
        }
        self.file = None;
        Ok(())
    }

    fn writer(&mut self) -> &mut BufWriter<DiskFile> {
        self.file.as_mut().expect("the file is there until it is finished")
    }
}

/// The error under the name that the caller knows.
fn named(error: PathError, path: &Path) -> PathError {
    PathError { path: path.to_owned(), ..error }
}

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Seek for Durable {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.writer().seek(to)
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Closed first, as Windows asks, and without writing what is left in the buffer.
            drop(file.into_parts());
            if let Some(temporary) = &self.temporary {
                // The write has failed already; a leftover that cannot be removed must not hide the reason.
                let _ = disk::remove_file(temporary);
            }
        }
    }
}

/// A folder under a temporary name beside its own. [`finish`](DurableFolder::finish) syncs it and gives it its name.
/// If it is dropped before, it is removed with all that is in it.
///
/// ```
/// use std::io::Write;
/// use secateur_files::DurableFolder;
///
/// let parent = tempfile::tempdir()?;
/// let path = parent.path().join("model");
/// let folder = DurableFolder::create(&path)?;
/// folder.file("parts/config.json")?.write_all(b"{}")?;
/// assert!(!path.exists());
/// folder.finish()?;
/// assert_eq!(std::fs::read_to_string(path.join("parts/config.json"))?, "{}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DurableFolder {
    path: PathBuf,
    temporary: PathBuf,
    is_finished: bool,
}

impl DurableFolder {
    /// Begins the folder `path`, which must not exist. The folders that it lies in are created where they are missing.
    ///
    /// # Errors
    /// There is something at the path, or the operating system refuses.
    pub fn create(path: &Path) -> Result<DurableFolder> {
        if path.exists() {
            return Err(PathError::exists(path));
        }
        disk::create_folders(disk::parent(path))?;
        let temporary = unique_sibling(path);
        disk::create_folder(&temporary).map_err(|error| named(error, path))?;
        Ok(DurableFolder { path: path.to_owned(), temporary, is_finished: false })
    }

    /// Where its files are to be written. They need no sync of their own.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// A new file in it, by its path from the folder on.
    ///
    /// # Errors
    /// The file is there already, or the operating system refuses.
    pub fn file(&self, name: impl AsRef<Path>) -> Result<DiskFile> {
        let path = self.temporary.join(name);
        disk::create_folders(disk::parent(&path))?;
        DiskFile::create_new(&path)
    }

    /// Syncs all that is in it, gives it its name, and makes the name last.
    ///
    /// # Errors
    /// The operating system's; something has come to the path in the meantime.
    pub fn finish(mut self) -> Result<()> {
        disk::sync_tree(&self.temporary)?;
        disk::rename(&self.temporary, &self.path)
            .map_err(|error| PathError { action: "create", ..named(error, &self.path) })?;
        self.is_finished = true;
        disk::sync_name(&self.path)
    }
}

impl Drop for DurableFolder {
    fn drop(&mut self) {
        if !self.is_finished {
            // The leftovers of a failed attempt are of no use. The error to report is that of the attempt.
            let _ = disk::remove_folder(&self.temporary);
        }
    }
}

/// A name beside `path` that no other writer uses.
fn unique_sibling(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // Process ids repeat, across containers that share a folder and after a crash that left its file behind.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{now:x}-{count}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// A path beside another: its name with `suffix` after it.
///
/// ```
/// let ids = secateur_files::with_suffix("out/corpus.npy".as_ref(), ".ids");
/// assert_eq!(ids, std::path::Path::new("out/corpus.npy.ids"));
/// ```
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
