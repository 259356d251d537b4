//! The file operations that storage is made of; every error carries the path.

#![allow(unsafe_code, reason = "files are mapped")]

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The bytes of a file, or of one that is a part of another. They begin at a multiple of 64 bytes in memory if the part
/// does in its file. Clones share the map.
#[derive(Clone)]
pub(crate) struct FileBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl FileBytes {
    /// Maps a file that must have `expected` bytes.
    pub fn map(path: &Path, expected: u64) -> Result<FileBytes> {
        let map = map(path, expected)?;
        Ok(FileBytes { range: 0..map.len(), map: Arc::new(map) })
    }

    /// The file that lies at this place of a whole one, `None` if the place is not in it.
    pub fn part(&self, range: Range<usize>) -> Option<FileBytes> {
        self.map.get(range.clone()).map(|_| FileBytes { map: Arc::clone(&self.map), range })
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
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

/// Where the files of a segment are written.
#[derive(Debug, Clone)]
pub(crate) enum Output {
    /// To this folder, which is there.
    Folder(PathBuf),
    /// Nowhere yet: they are small, and become parts of the file with this path.
    Memory(PathBuf),
}

impl Output {
    /// The folder, or the file in its place.
    pub fn path(&self) -> &Path {
        match self {
            Output::Folder(path) | Output::Memory(path) => path,
        }
    }

    /// Begins a file, which must not exist.
    pub fn file(&self, name: &str, header_len: usize) -> Result<HeadedWriter> {
        let path = self.path().join(name);
        match self {
            Output::Folder(_) => HeadedWriter::create(path, header_len),
            Output::Memory(_) => Ok(HeadedWriter::new(Target::Memory(vec![0; header_len]), path, header_len)),
        }
    }
}

/// A file with a header of fixed length that is known only when the rest is written.
pub(crate) struct HeadedWriter {
    target: Target,
    path: PathBuf,
    header_len: usize,
    body: crc32fast::Hasher,
    body_len: u64,
}

/// So many bytes are written at once, and are near at hand for their checksum.
const PIECE: usize = 1 << 18;

enum Target {
    Disk(BufWriter<DiskFile>),
    Memory(Vec<u8>),
}

/// Length and CRC-32 of a file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub size: u64,
    pub crc: u32,
}

impl Written {
    /// Of a file of these bytes.
    pub fn of(bytes: &[u8]) -> Written {
        Written { size: bytes.len() as u64, crc: crc32fast::hash(bytes) }
    }
}

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Finished {
    pub written: Written,
    /// All of it, if it is not on the disk yet.
    pub bytes: Option<Vec<u8>>,
}

impl HeadedWriter {
    pub fn create(path: PathBuf, header_len: usize) -> Result<HeadedWriter> {
        let file = DiskFile::create_new(&path)?;
        let mut file = BufWriter::with_capacity(PIECE, file);
        file.write_all(&vec![0; header_len]).at("write", &path)?;
        Ok(HeadedWriter::new(Target::Disk(file), path, header_len))
    }

    fn new(target: Target, path: PathBuf, header_len: usize) -> HeadedWriter {
        HeadedWriter { target, path, header_len, body: crc32fast::Hasher::new(), body_len: 0 }
    }

    /// The position in the file of the next byte written.
    pub fn position(&self) -> u64 {
        self.header_len as u64 + self.body_len
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for bytes in bytes.chunks(PIECE) {
            match &mut self.target {
                Target::Disk(file) => file.write_all(bytes).at("write", &self.path)?,
                Target::Memory(file) => file.extend_from_slice(bytes),
            }
            self.body.update(bytes);
        }
        self.body_len += bytes.len() as u64;
        Ok(())
    }

    /// Puts the header in its place and syncs the file.
    pub fn finish(self, header: &[u8]) -> Result<Finished> {
        assert_eq!(header.len(), self.header_len, "the header has its declared length");
        let HeadedWriter { target, path, body, body_len, .. } = self;
        let bytes = match target {
            Target::Disk(mut file) => {
                file.rewind()
                    .and_then(|()| file.write_all(header))
                    .and_then(|()| file.flush())
                    .at("write", &path)?;
                file.get_ref().sync()?;
                None
            }
            Target::Memory(mut file) => {
                file[..header.len()].copy_from_slice(header);
                Some(file)
            }
        };
        let mut whole = crc32fast::Hasher::new();
        whole.update(header);
        whole.combine(&body);
        let written = Written { size: header.len() as u64 + body_len, crc: whole.finalize() };
        Ok(Finished { written, bytes })
    }
}
