//! Matrices as NumPy's .npy files, version 1.0: f32, C order.

use std::io::{Seek, Write};
use std::path::Path;

use secateur_files::{AtPath, Durable};

use crate::error::Result;

/// The header's length, a multiple of 64 as the format asks for; room for any shape.
const HEADER_LEN: usize = 128;

/// Writes a matrix row by row, under a temporary name until it is whole.
pub(crate) struct NpyWriter<'a> {
    path: &'a Path,
    file: Durable,
    dim: usize,
}

impl<'a> NpyWriter<'a> {
    /// Begins a matrix with `dim` columns. The caller must be the only writer of `path`.
    pub(crate) fn create(path: &'a Path, dim: usize) -> Result<NpyWriter<'a>> {
        let mut writer = NpyWriter { path, file: Durable::create_alone(path)?, dim };
        // The number of rows is known at the end.
        writer.put(&[0; HEADER_LEN])?;
        Ok(writer)
    }

    /// Appends rows.
    pub(crate) fn write(&mut self, rows: &[f32]) -> Result<()> {
        rows.iter().try_for_each(|value| self.put(&value.to_le_bytes()))
    }

    /// Writes the header and gives the file its name. Both survive a power failure when this returns.
    pub(crate) fn finish(mut self, num_rows: usize) -> Result<()> {
        self.file.rewind().at("write", self.path)?;
        self.put(&header(num_rows, self.dim))?;
        Ok(self.file.finish()?)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.write_all(bytes).at("write", self.path)?)
    }
}

fn header(num_rows: usize, dim: usize) -> [u8; HEADER_LEN] {
    let description = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({num_rows}, {dim}), }}");
    let mut bytes = [b' '; HEADER_LEN];
    bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    bytes[8..10].copy_from_slice(&(HEADER_LEN as u16 - 10).to_le_bytes());
    bytes[10..10 + description.len()].copy_from_slice(description.as_bytes());
    bytes[HEADER_LEN - 1] = b'\n';
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_numpy_describes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npy");
        let mut writer = NpyWriter::create(&path, 2).unwrap();
        writer.write(&[1.0, 2.0]).unwrap();
        writer.write(&[3.0, -4.0]).unwrap();
        writer.finish(2).unwrap();

        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let header = std::str::from_utf8(&bytes[10..128]).unwrap();
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"));
        assert!(header.ends_with(" \n"));
        assert_eq!(bytes[128..].len(), 16);
        assert_eq!(bytes[140..], (-4.0f32).to_le_bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary is left");
    }
}
