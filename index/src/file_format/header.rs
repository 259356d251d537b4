//! The 64-byte header that begins every file with numbers in it.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | mark of the kind of file |
//! | 8..12 | format version, u32 |
//! | 12..16 | rows or dim, u32 (see the file's section in FORMAT.md) |
//! | 16..60 | fields of the kind |
//! | 60..64 | CRC-32 of bytes 0..60 |

use std::path::Path;

use secateur_files::header::{HeaderFault, Kind as HeaderKind, read};

use super::files::{check_crc, corrupt};
use crate::error::{Damage, Error, Result};

pub(crate) const HEADER_LEN: usize = 64;

/// What distinguishes one kind of file from another.
pub(crate) struct Kind {
    pub mark: &'static [u8; 8],
    /// In words, for messages.
    pub name: &'static str,
    pub version: u32,
}

/// Reads and writes the fields of a header by their byte position.
#[derive(Clone, Copy)]
pub(crate) struct Header([u8; HEADER_LEN]);

impl Header {
    pub fn new(kind: &Kind) -> Header {
        let mut header = Header([0; HEADER_LEN]);
        header.put(0, kind.mark);
        header.put(8, &kind.version.to_le_bytes());
        header
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The bytes to be written, with the checksum in place.
    pub fn seal(mut self) -> [u8; HEADER_LEN] {
        let crc = crc32fast::hash(&self.0[..HEADER_LEN - 4]);
        self.put(HEADER_LEN - 4, &crc.to_le_bytes());
        self.0
    }

    /// Checks mark, version and checksum of the header that `bytes` begin with.
    pub fn read(file: &Path, bytes: &[u8], kind: &Kind) -> Result<Header> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            let damage = Damage::Size { expected: HEADER_LEN as u64, got: bytes.len() as u64 };
            return Err(corrupt(file, damage));
        };
        let header = Header(*header);
        if header.0[..8] != *kind.mark {
            return Err(corrupt(file, Damage::Magic { kind: kind.name }));
        }
        let found = header.u32(8);
        // A later version may lay the header out differently, so this comes before the checksum.
        if found > kind.version {
            return Err(Error::NewerFormat { file: file.to_owned(), found, supported: kind.version });
        }
        check_crc(
            file,
            "the header",
            header.u32(HEADER_LEN - 4),
            crc32fast::hash(&header.0[..HEADER_LEN - 4]),
        )?;
        Ok(header)
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub fn array<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        std::array::from_fn(|byte| self.0[at + byte])
    }
}

/// The header, declared as a struct, that the bytes of a file begin with.
pub(crate) fn read_header<H: bytemuck::Pod>(file: &Path, bytes: &[u8], kind: &HeaderKind) -> Result<H> {
    read(bytes, kind).map_err(|fault| {
        let damage = match fault {
            HeaderFault::Short { got } => Damage::Size { expected: HEADER_LEN as u64, got: got as u64 },
            HeaderFault::Mark { kind } => Damage::Magic { kind },
            HeaderFault::Checksum { expected, got } => Damage::Checksum { part: "the header", expected, got },
            HeaderFault::Newer { found, supported } => {
                return Error::NewerFormat { file: file.to_owned(), found, supported };
            }
        };
        corrupt(file, damage)
    })
}
