//! The file operations that storage is made of; every error carries the path.

#![allow(unsafe_code, reason = "files are mapped")]

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::disk::{self, DiskFile};
use crate::error::{Damage, Error, Result};

/// Turns an `io::Error` into ours, with the action and the path.
pub(crate) fn io_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io { action, path: path.to_owned(), source }
}

pub(crate) fn corrupt(file: &Path, damage: Damage) -> Error {
    Error::Corrupt { file: file.to_owned(), damage }
}

/// [`Damage::Field`] from anything that can be displayed.
pub(crate) fn wrong_field(field: &'static str, expected: impl ToString, got: impl ToString) -> Damage {
    Damage::Field { field, expected: expected.to_string(), got: got.to_string() }
}

/// Makes the names in a folder (creations, renames, removals) survive a power failure.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    disk::sync_folder(folder).map_err(io_error("sync", folder))
}

pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    disk::create_folder(folder).map_err(io_error("create", folder))
}

/// Replaces the file at `path` by `bytes`: after a crash it holds the old bytes or the new ones.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let sibling = path.with_extension("tmp");
    let write = || {
        let mut file = DiskFile::create(&sibling)?;
        file.write_all(bytes)?;
        file.sync()
    };
    write().map_err(io_error("write", &sibling))?;
    disk::rename(&sibling, path).map_err(io_error("replace", path))?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Maps a file that must have `expected` bytes.
pub(crate) fn map(path: &Path, expected: u64) -> Result<Mmap> {
    let file = open_sized(path, expected)?;
    // SAFETY: the mapped bytes change only if someone alters the file, and files of a committed segment are never
    // written again by this crate (FORMAT.md, "Rules"). Nothing read from the map is relied on for memory safety.
    unsafe { Mmap::map(&file) }.map_err(io_error("map", path))
}

/// Opens a file for reading, whose absence or other length than `expected` is damage.
pub(crate) fn open_sized(path: &Path, expected: u64) -> Result<File> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(corrupt(path, Damage::Missing)),
        other => other.map_err(io_error("open", path))?,
    };
    let got = file.metadata().map_err(io_error("read", path))?.len();
    if got != expected {
        return Err(corrupt(path, Damage::Size { expected, got }));
    }
    Ok(file)
}

/// The length and CRC-32 of all that is left to read, taken in pieces.
pub(crate) fn checksum(path: &Path, mut file: impl Read) -> Result<(u64, u32)> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(io_error("read", path))?;
        if read == 0 {
            return Ok((size, hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// Compares a checksum found with the one written. A build for fuzzing takes any, to get at what lies behind them.
pub(crate) fn check_crc(file: &Path, part: &'static str, expected: u32, got: u32) -> Result<()> {
    if got == expected || cfg!(fuzzing) {
        return Ok(());
    }
    Err(corrupt(file, Damage::Checksum { part, expected, got }))
}

/// A file with a header of fixed length that is known only when the rest is written.
pub(crate) struct HeadedWriter {
    file: BufWriter<DiskFile>,
    path: PathBuf,
    header_len: usize,
    body: crc32fast::Hasher,
    body_len: u64,
}

/// Length and CRC-32 of a file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub size: u64,
    pub crc: u32,
}

impl HeadedWriter {
    pub fn create(path: PathBuf, header_len: usize) -> Result<HeadedWriter> {
        let file = DiskFile::create_new(&path).map_err(io_error("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&vec![0; header_len]).map_err(io_error("write", &path))?;
        Ok(HeadedWriter { file, path, header_len, body: crc32fast::Hasher::new(), body_len: 0 })
    }

    /// The position in the file of the next byte written.
    pub fn position(&self) -> u64 {
        self.header_len as u64 + self.body_len
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io_error("write", &self.path))?;
        self.body.update(bytes);
        self.body_len += bytes.len() as u64;
        Ok(())
    }

    /// Puts the header in its place and syncs the file.
    pub fn finish(self, header: &[u8]) -> Result<Written> {
        assert_eq!(header.len(), self.header_len, "the header has its declared length");
        let HeadedWriter { file, path, body, body_len, .. } = self;
        let write = || {
            let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(header)?;
            file.sync()
        };
        write().map_err(io_error("write", &path))?;
        let mut whole = crc32fast::Hasher::new();
        whole.update(header);
        whole.combine(&body);
        Ok(Written { size: header.len() as u64 + body_len, crc: whole.finalize() })
    }
}

/// Reads `buffer.len()` bytes at a position.
pub(crate) fn read_at(path: &Path, mut file: &File, at: u64, buffer: &mut [u8]) -> Result<()> {
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(buffer)).map_err(io_error("read", path))
}

/// The CRC-32 of `len` bytes at a position.
pub(crate) fn checksum_at(path: &Path, mut file: &File, at: u64, len: u64) -> Result<u32> {
    file.seek(SeekFrom::Start(at)).map_err(io_error("read", path))?;
    let (_, crc) = checksum(path, file.take(len))?;
    Ok(crc)
}
