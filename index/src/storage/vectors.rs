//! The vectors file: a header and N rows of D little-endian f32, f16 or bf16, searched where they lie.

use std::mem::offset_of;
use std::ops::Range;
use std::path::PathBuf;

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use super::settings::VectorSettings;
use crate::error::{Damage, Result};
use crate::file_format::files::{FileBytes, Finished, HeadedWriter, Output, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::rows::{ComponentType, Rows, round};
use crate::vectors::check_vector;

const KIND: Kind = Kind { mark: *b"SCTRVECS", name: "a vectors file", version: 2 };

/// Files of f32 are still of this version, which more programs read.
const F32_VERSION: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct VectorsHeader {
    start: Start,
    dim: u32,
    rows: u32,
    component: u32,
    zeros: [u32; 9],
    crc: u32,
}

const _: () = assert!(
    offset_of!(VectorsHeader, dim) == 12
        && offset_of!(VectorsHeader, rows) == 16
        && offset_of!(VectorsHeader, component) == 20
        && offset_of!(VectorsHeader, crc) == 60
);

/// A type of components as files number it.
fn number_of(component: ComponentType) -> u32 {
    match component {
        ComponentType::F32 => 1,
        ComponentType::F16 => 2,
        ComponentType::Bf16 => 3,
    }
}

/// Writes vectors; the caller has checked them.
pub(super) struct VectorsWriter {
    file: HeadedWriter,
    vectors: VectorSettings,
    rows: u32,
    rounded: Vec<f32>,
    bytes: Vec<u8>,
}

impl VectorsWriter {
    pub fn create(output: &Output, name: &str, vectors: VectorSettings) -> Result<VectorsWriter> {
        let file = output.file(name, HEADER_LEN)?;
        Ok(VectorsWriter { file, vectors, rows: 0, rounded: Vec::new(), bytes: Vec::new() })
    }

    /// Adds vectors, (n, D) row-major.
    pub fn add(&mut self, vectors: &[f32]) -> Result<()> {
        self.rows += (vectors.len() / self.vectors.dim) as u32;
        if self.vectors.components == ComponentType::F32 {
            return self.file.write(bytemuck::cast_slice(vectors));
        }
        self.rounded.clear();
        self.rounded.extend_from_slice(vectors);
        round(self.vectors.components, &mut self.rounded, &mut self.bytes);
        self.file.write(&self.bytes)
    }

    /// Adds vectors of another file with components of the same type, as they lie there.
    pub fn copy(&mut self, file: &VectorsFile, rows: Range<u32>) -> Result<()> {
        self.rows += rows.len() as u32;
        let row = self.vectors.components.size() * self.vectors.dim;
        self.file.write(&file.map[HEADER_LEN..][rows.start as usize * row..rows.end as usize * row])
    }

    pub fn finish(self) -> Result<Finished> {
        let VectorSettings { dim, components, .. } = self.vectors;
        let version = if components == ComponentType::F32 { F32_VERSION } else { KIND.version };
        self.file.finish(&seal(&VectorsHeader {
            start: Start { version, ..Start::of(&KIND) },
            dim: dim as u32,
            rows: self.rows,
            component: number_of(components),
            zeros: [0; 9],
            crc: 0,
        }))
    }
}

/// A vectors file, mapped.
pub(super) struct VectorsFile {
    path: PathBuf,
    map: FileBytes,
    vectors: VectorSettings,
}

impl VectorsFile {
    /// Opens a file of `rows` rows, and checks its header.
    pub fn open(path: PathBuf, map: FileBytes, rows: u32, vectors: VectorSettings) -> Result<VectorsFile> {
        let header: VectorsHeader = read_header(&path, &map, &KIND)?;
        let VectorSettings { dim, components, .. } = vectors;
        for (field, expected, got) in [
            ("dim", dim as u32, header.dim),
            ("rows", rows, header.rows),
            ("component type", number_of(components), header.component),
        ] {
            if got != expected {
                return Err(corrupt(&path, wrong_field(field, expected, got)));
            }
        }
        // Below 2^66, so computed in u128.
        let expected = HEADER_LEN as u128 + u128::from(rows) * (components.size() * dim) as u128;
        if map.len() as u128 != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, map.len())));
        }
        Ok(VectorsFile { path, map, vectors })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// All rows, (N, D) row-major. Files begin at a multiple of 64 bytes, and so do the rows behind the header.
    pub fn rows(&self) -> Rows<'_> {
        Rows::from_bytes(self.vectors.components, &self.map[HEADER_LEN..])
    }

    /// Some of the rows, (n, D).
    pub fn between(&self, rows: Range<u32>) -> Rows<'_> {
        let dim = self.vectors.dim;
        self.rows().slice(rows.start as usize * dim, rows.len() * dim)
    }

    /// Checks that every component is a finite number and no vector too long.
    pub fn verify(&self) -> Result<()> {
        let VectorSettings { dim, components, .. } = self.vectors;
        let mut buffer = Vec::new();
        for row in self.rows().chunks(dim) {
            let row = row.as_f32(&mut buffer);
            let is_beyond = row.iter().any(|x| x.abs() > components.max());
            if is_beyond || check_vector(row, dim).is_err() {
                return Err(corrupt(&self.path, Damage::Undecodable { part: "a vector" }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = secateur_testkit::byte_ranges!(VectorsHeader: dim, rows, component);
        assert_eq!(secateur_testkit::format::documented("vectors", 0)[..], fields);
    }
}
