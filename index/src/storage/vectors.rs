//! The vectors file: a header and N rows of D little-endian f32, searched where they lie.

use std::path::PathBuf;

use memmap2::Mmap;

use super::files::{HeadedWriter, Written, corrupt, map, wrong_field};
use super::header::{HEADER_LEN, Header, Kind};
use crate::error::{Damage, Result};
use crate::vectors::check_vectors;

const KIND: Kind = Kind { mark: b"SCTRVECS", name: "a vectors file", version: 1 };

/// The only type of component of this format version.
const F32: u32 = 1;

/// Writes vectors one at a time; the caller has checked them.
pub(super) struct VectorsWriter {
    file: HeadedWriter,
    dim: u32,
    rows: u32,
}

impl VectorsWriter {
    pub fn create(path: PathBuf, dim: u32) -> Result<VectorsWriter> {
        Ok(VectorsWriter { file: HeadedWriter::create(path, HEADER_LEN)?, dim, rows: 0 })
    }

    pub fn add(&mut self, vector: &[f32]) -> Result<()> {
        self.file.write(bytemuck::cast_slice(vector))?;
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Written> {
        let mut header = Header::new(&KIND);
        header.put(12, &self.dim.to_le_bytes());
        header.put(16, &self.rows.to_le_bytes());
        header.put(20, &F32.to_le_bytes());
        self.file.finish(&header.seal())
    }
}

/// A vectors file, mapped.
pub(super) struct VectorsFile {
    path: PathBuf,
    map: Mmap,
    dim: usize,
}

impl VectorsFile {
    /// Opens a file of `size` bytes, `rows` rows and `dim` dimensions, and checks its header.
    pub fn open(path: PathBuf, size: u64, rows: u32, dim: u32) -> Result<VectorsFile> {
        let map = map(&path, size)?;
        let header = Header::read(&path, &map, &KIND)?;
        for (field, at, expected) in [("dim", 12, dim), ("rows", 16, rows), ("component type", 20, F32)] {
            if header.u32(at) != expected {
                return Err(corrupt(&path, wrong_field(field, expected, header.u32(at))));
            }
        }
        // Below 2^66, so computed in u128.
        let expected = HEADER_LEN as u128 + 4 * u128::from(rows) * u128::from(dim);
        if u128::from(size) != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, size)));
        }
        let dim = dim as usize;
        Ok(VectorsFile { path, map, dim })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// All rows, (N, D) row-major. A map begins at a page and the header has 64 bytes, so rows begin 64-byte aligned.
    pub fn rows(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map[HEADER_LEN..])
    }

    /// A row, (D).
    pub fn row(&self, row: u32) -> &[f32] {
        &self.rows()[row as usize * self.dim..][..self.dim]
    }

    /// Checks that every component is a finite number and no vector too long.
    pub fn verify(&self) -> Result<()> {
        check_vectors(self.rows(), self.dim).map_err(|_| {
            let part = "a vector";
            corrupt(&self.path, Damage::Undecodable { part })
        })
    }
}
