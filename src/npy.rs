//! Matrices as NumPy's .npy files, version 1.0: f32, C order.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use secateur_datasets::{sync_name, with_suffix};

use crate::error::{Error, Result};

/// The header's length, a multiple of 64 as the format asks for; room for any shape.
const HEADER_LEN: usize = 128;

/// Writes a matrix row by row, under a temporary name until it is whole.
pub(crate) struct NpyWriter {
    path: PathBuf,
    temporary: Temporary,
    file: BufWriter<File>,
    dim: usize,
}

impl NpyWriter {
    /// Begins a matrix with `dim` columns.
    pub(crate) fn create(path: &Path, dim: usize) -> Result<NpyWriter> {
        let temporary = Temporary(with_suffix(path, ".tmp"));
        let file = File::create(&temporary.0).map_err(io("create", &temporary.0))?;
        let mut writer = NpyWriter { path: path.to_owned(), temporary, file: BufWriter::new(file), dim };
        // The number of rows is known at the end.
        writer.put(&[0; HEADER_LEN])?;
        Ok(writer)
    }

    /// Appends rows.
    pub(crate) fn write(&mut self, rows: &[f32]) -> Result<()> {
        for value in rows {
            self.put(&value.to_le_bytes())?;
        }
        Ok(())
    }

    /// Writes the header, syncs, and gives the file its name, which survives a power failure when this returns.
    pub(crate) fn finish(mut self, num_rows: usize) -> Result<()> {
        self.file.rewind().map_err(io("write", &self.temporary.0))?;
        self.put(&header(num_rows, self.dim))?;
        let file =
            self.file.into_inner().map_err(|error| io("write", &self.temporary.0)(error.into_error()))?;
        file.sync_all().map_err(io("sync", &self.temporary.0))?;
        std::fs::rename(&self.temporary.0, &self.path).map_err(io("create", &self.path))?;
        sync_name(&self.path).map_err(io("sync the folder of", &self.path))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io("write", &self.temporary.0))
    }
}

/// A file that is gone when the writer is, unless it was renamed: a full disk is not left fuller.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; after an error, that error is the one to report.
        let _ = std::fs::remove_file(&self.0);
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

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
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
        assert!(!with_suffix(&path, ".tmp").exists());
    }
}
