//! Files that appear whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::Compression;

/// Writes a file through a temporary sibling. The sibling is synced and renamed to `path`, or removed on failure;
/// then the folder is synced. A name that ends in `.gz` or `.zst` compresses what is written.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// secateur_datasets::atomic_write(&path, |file| writeln!(file, "all or nothing"))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "all or nothing\n");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Io`] with the path. A file that was at `path` is then unchanged.
pub fn atomic_write<F>(path: &Path, write: F) -> Result<()>
where
    F: FnOnce(&mut dyn Write) -> io::Result<()>,
{
    write_records(path, |file| Ok(write(file)?))
}

/// Why a record did not reach its file.
pub(crate) enum WriteFailure {
    Io(io::Error),
    Fault(Fault),
}

impl From<io::Error> for WriteFailure {
    fn from(error: io::Error) -> Self {
        WriteFailure::Io(error)
    }
}

impl From<Fault> for WriteFailure {
    fn from(fault: Fault) -> Self {
        WriteFailure::Fault(fault)
    }
}

/// [`atomic_write`] for writers that also meet records their format cannot hold.
pub(crate) fn write_records<F>(path: &Path, write: F) -> Result<()>
where
    F: FnOnce(&mut dyn Write) -> std::result::Result<(), WriteFailure>,
{
    let temporary = temporary_sibling(path);
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary);
    write_through(path, &temporary, file.map_err(Error::io("create", path))?, write)
}

/// [`write_records`] for the only writer of `path`. The temporary sibling has a fixed name, so the next call
/// overwrites what a killed call left.
pub(crate) fn write_records_alone<F>(path: &Path, write: F) -> Result<()>
where
    F: FnOnce(&mut dyn Write) -> std::result::Result<(), WriteFailure>,
{
    let temporary = with_suffix(path, ".tmp");
    let file = File::create(&temporary).map_err(Error::io("create", path))?;
    write_through(path, &temporary, file, write)
}

fn write_through<F>(path: &Path, temporary: &Path, file: File, write: F) -> Result<()>
where
    F: FnOnce(&mut dyn Write) -> std::result::Result<(), WriteFailure>,
{
    let written = compress_into(file, Compression::of(path), write).and_then(|file| {
        file.sync_all()?;
        std::fs::rename(temporary, path)?;
        Ok(sync_name(path)?)
    });
    written.map_err(|failure| {
        // The write has failed already. An error of the removal would hide the reason.
        let _ = std::fs::remove_file(temporary);
        match failure {
            WriteFailure::Io(source) => Error::Io { action: "write", path: path.to_owned(), source },
            WriteFailure::Fault(fault) => Error::Unwritable { path: path.to_owned(), fault },
        }
    })
}

fn compress_into<F>(file: File, compression: Compression, write: F) -> std::result::Result<File, WriteFailure>
where
    F: FnOnce(&mut dyn Write) -> std::result::Result<(), WriteFailure>,
{
    let mut buffered = BufWriter::with_capacity(128 << 10, file);
    let buffered = match compression {
        Compression::None => {
            write(&mut buffered)?;
            buffered
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(buffered, flate2::Compression::default());
            write(&mut encoder)?;
            encoder.finish()?
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(buffered, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            write(&mut encoder)?;
            encoder.finish()?
        }
    };
    Ok(buffered.into_inner().map_err(io::IntoInnerError::into_error)?)
}

/// A name beside `path` that no other writer of this machine uses.
fn temporary_sibling(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    // Process ids repeat, across containers that share a folder and after a crash that left its file behind.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{now:x}-{count}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Makes the name of a file or folder, after it was created or renamed, survive a power cut.
///
/// # Errors
///
/// The folder that holds it cannot be opened or synced.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Windows cannot sync a folder, and does not need to.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A path beside another: its name with `suffix` after it.
///
/// ```
/// let journal = secateur_datasets::with_suffix("out/corpus.npy".as_ref(), ".journal");
/// assert_eq!(journal, std::path::Path::new("out/corpus.npy.journal"));
/// ```
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.txt");
        atomic_write(&path, |file| file.write_all(b"old")).unwrap();
        let error = atomic_write(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().ends_with("run.txt"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["run.txt"]);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/run.txt");
        let error = atomic_write(&path, |file| file.write_all(b"x")).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot create {}", path.display()));
    }
}
