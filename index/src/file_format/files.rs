//! The file operations that storage is made of; every error carries the path.

#![allow(unsafe_code, reason = "files are mapped")]

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use secateur_files::AtPath;
use secateur_files::disk::DiskFile;

use crate::error::{Damage, Error, Result};

pub(crate) fn corrupt(file: &Path, damage: Damage) -> Error {
    Error::Corrupt { file: file.to_owned(), damage }
}

/// [`Damage::Field`] from anything that can be displayed.
pub(crate) fn wrong_field(field: &'static str, expected: impl ToString, got: impl ToString) -> Damage {
    Damage::Field { field, expected: expected.to_string(), got: got.to_string() }
}

/// Maps a file that must have `expected` bytes.
pub(crate) fn map(path: &Path, expected: u64) -> Result<Mmap> {
    let file = open_sized(path, expected)?;
    // SAFETY: the mapped bytes change only if someone alters the file. Files of a committed segment are never written
    // again by this crate (FORMAT.md, "Rules"). Nothing read from the map is relied on for memory safety.
    Ok(unsafe { Mmap::map(&file) }.at("map", path)?)
}

/// Opens a file for reading, whose absence or other length than `expected` is damage.
pub(crate) fn open_sized(path: &Path, expected: u64) -> Result<File> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(corrupt(path, Damage::Missing)),
        other => other.at("open", path)?,
    };
    let got = file.metadata().at("read", path)?.len();
    if got != expected {
        return Err(corrupt(path, Damage::Size { expected, got }));
    }
    Ok(file)
}

/// Syncs a file that another library has written, and reads it through.
pub(crate) fn sync_foreign(path: &Path) -> Result<Written> {
    let mut file = DiskFile::open(path)?;
    file.sync()?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).at("read", path)?;
        if read == 0 {
            return Ok(Written { size, crc: hasher.finalize() });
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
        let file = DiskFile::create_new(&path)?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        file.write_all(&vec![0; header_len]).at("write", &path)?;
        Ok(HeadedWriter { file, path, header_len, body: crc32fast::Hasher::new(), body_len: 0 })
    }

    /// The position in the file of the next byte written.
    pub fn position(&self) -> u64 {
        self.header_len as u64 + self.body_len
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.body.update(bytes);
        self.body_len += bytes.len() as u64;
        Ok(())
    }

    /// Puts the header in its place and syncs the file.
    pub fn finish(self, header: &[u8]) -> Result<Written> {
        assert_eq!(header.len(), self.header_len, "the header has its declared length");
        let HeadedWriter { mut file, path, body, body_len, .. } = self;
        file.rewind().and_then(|()| file.write_all(header)).and_then(|()| file.flush()).at("write", &path)?;
        file.get_ref().sync()?;
        let mut whole = crc32fast::Hasher::new();
        whole.update(header);
        whole.combine(&body);
        Ok(Written { size: header.len() as u64 + body_len, crc: whole.finalize() })
    }
}
