//! Matrices as NumPy's .npy files: written as version 1.0 with f32 in C order, read as f16, f32 or f64 in C order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use secateur_files::{AtPath, Durable};

use crate::error::{Error, Result};
use crate::number::{agreed, counted};

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

/// A matrix (N, D) in a file, whose rows are read one by one.
///
/// ```
/// use secateur::encode::{LoadOptions, NpyEncoder, NpyRows, TextKind, default_encoder};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("vectors.npy");
/// let encoder = default_encoder(&LoadOptions::default())?;
/// let texts = [Ok::<_, secateur::Error>("Prune roses in late winter.".to_owned())];
/// NpyEncoder { encoder: &encoder, kind: TextKind::Passage }.write(&path, texts, |_| {})?;
/// let rows = NpyRows::open(&path, None)?;
/// assert_eq!(rows.dim(), encoder.dim());
/// assert_eq!(rows.row(0, "")?, encoder.encode(&["Prune roses in late winter."], TextKind::Passage)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NpyRows {
    path: PathBuf,
    file: Mutex<File>,
    /// Where the numbers begin.
    start: u64,
    component: Component,
    num_rows: usize,
    dim: usize,
    /// The row of each id, if ids were given.
    ids: Option<HashMap<String, usize>>,
}

#[derive(Clone, Copy)]
enum Component {
    F16,
    F32,
    F64,
}

impl Component {
    fn size(self) -> usize {
        match self {
            Component::F16 => 2,
            Component::F32 => 4,
            Component::F64 => 8,
        }
    }

    fn read(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Component::F16, &[a, b]) => f16_to_f32(u16::from_le_bytes([a, b])),
            (Component::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Component::F64, bytes) => {
                bytes.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes) as f32)
            }
            _ => 0.0,
        }
    }
}

/// IEEE 754's half precision: every number of it is a number of f32.
fn f16_to_f32(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    };
    if sign == 1 { -size } else { size }
}

impl NpyRows {
    /// Opens a file; only its header is read. `ids` is a file with the id of each row, one a line.
    ///
    /// # Errors
    ///
    /// [`Error::BadMatrix`] for a file that is something else, [`Error::MatrixRows`] if not each row has an id.
    pub fn open(path: &Path, ids: Option<&Path>) -> Result<NpyRows> {
        let bad = |problem: String| Error::BadMatrix { path: path.to_owned(), problem };
        let mut file = File::open(path).at("open", path)?;
        let mut head = [0; 12];
        let len = file.read(&mut head).at("read", path)?;
        if len < 12 || !head.starts_with(b"\x93NUMPY") {
            return Err(bad("it does not begin as a .npy file does".to_owned()));
        }
        let (at, header_len) = match head[6] {
            1 => (10, u32::from(u16::from_le_bytes([head[8], head[9]]))),
            _ => (12, u32::from_le_bytes([head[8], head[9], head[10], head[11]])),
        };
        let mut header = vec![0; header_len.min(1 << 20) as usize];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut header)).at("read", path)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let value = |name: &str| header.split_once(name).map(|(_, rest)| rest.trim_start_matches([':', ' ']));
        let component = match value("'descr'") {
            Some(kind) if kind.starts_with("'<f4'") => Component::F32,
            Some(kind) if kind.starts_with("'<f2'") => Component::F16,
            Some(kind) if kind.starts_with("'<f8'") => Component::F64,
            _ => return Err(bad(format!("its header is {}", header.trim()))),
        };
        let is_c_order = value("'fortran_order'").is_some_and(|order| order.starts_with("False"));
        let shape = value("'shape'").and_then(|shape| shape.strip_prefix('(')?.split_once(')'));
        let shape: Option<Vec<usize>> = shape.and_then(|(shape, _)| {
            shape
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| part.parse().ok())
                .collect()
        });
        let (Some(&[num_rows, dim]), true) = (shape.as_deref(), is_c_order) else {
            return Err(bad(format!("its header is {}", header.trim())));
        };
        let start = at + u64::from(header_len);
        let expected = start as u128 + num_rows as u128 * dim as u128 * component.size() as u128;
        let got = file.metadata().at("read", path)?.len();
        if u128::from(got) != expected {
            return Err(bad(format!("it has {got} bytes, and its header says {expected}")));
        }
        let ids = ids.map(|ids| read_ids(ids, num_rows)).transpose()?;
        Ok(NpyRows { path: path.to_owned(), file: Mutex::new(file), start, component, num_rows, dim, ids })
    }

    /// N.
    pub fn len(&self) -> usize {
        self.num_rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The row of a document, (D): by its id if ids were given, else by its place.
    ///
    /// # Errors
    ///
    /// [`Error::MatrixRows`] if there is no such row, [`Error::MatrixNotFinite`], and those of the disk.
    pub fn row(&self, place: usize, doc_id: &str) -> Result<Vec<f32>> {
        let none = |problem: String| {
            let (path, num_rows) = (self.path.clone(), self.num_rows);
            Error::MatrixRows { path, num_rows, problem }
        };
        let row = match &self.ids {
            Some(ids) => {
                *ids.get(doc_id).ok_or_else(|| none(format!("its ids lack that of document {doc_id:?}")))?
            }
            None if place < self.num_rows => place,
            None => return Err(none("there are more documents".to_owned())),
        };
        let size = self.component.size();
        let mut bytes = vec![0; self.dim * size];
        let at = self.start + (row * self.dim * size) as u64;
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).at("read", &self.path)?;
        let vector: Vec<f32> = bytes.chunks_exact(size).map(|bytes| self.component.read(bytes)).collect();
        match vector.iter().position(|number| !number.is_finite()) {
            None => Ok(vector),
            Some(component) => {
                let (path, doc_id) = (self.path.clone(), doc_id.to_owned());
                Err(Error::MatrixNotFinite { path, row, doc_id, component, value: vector[component] })
            }
        }
    }
}

impl NpyRows {
    /// Whether each row belongs to one of so many documents, where rows are found by their place. A longer matrix is
    /// most likely of other documents.
    ///
    /// # Errors
    ///
    /// [`Error::MatrixRows`]
    pub fn check_count(&self, num_documents: usize) -> Result<()> {
        match self.ids.is_some() || self.num_rows == num_documents {
            true => Ok(()),
            false => Err(Error::MatrixRows {
                path: self.path.clone(),
                num_rows: self.num_rows,
                problem: {
                    let are = agreed(num_documents, "is", "are");
                    format!("there {are} {}", counted(num_documents, "document"))
                },
            }),
        }
    }
}

fn read_ids(path: &Path, num_rows: usize) -> Result<HashMap<String, usize>> {
    let mut ids = HashMap::with_capacity(num_rows);
    for (row, line) in std::io::BufReader::new(File::open(path).at("open", path)?).lines().enumerate() {
        let line = line.at("read", path)?;
        // An id of several lines is written as a JSON string.
        let id = if line.starts_with('"') { serde_json::from_str(&line).unwrap_or(line) } else { line };
        ids.insert(id, row);
    }
    if ids.len() != num_rows {
        let problem = format!("the file has {} different ids", ids.len());
        return Err(Error::MatrixRows { path: path.to_owned(), num_rows, problem });
    }
    Ok(ids)
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

        let rows = NpyRows::open(&path, None).unwrap();
        assert_eq!((rows.len(), rows.dim(), rows.row(1, "").unwrap()), (2, 2, vec![3.0, -4.0]));
        assert!(rows.row(2, "").unwrap_err().to_string().contains("2 rows, and there are more documents"));
        assert!(rows.check_count(2).is_ok());
        assert!(rows.check_count(1).unwrap_err().to_string().contains("2 rows, and there is 1 document"));
        let ids = folder.path().join("ids");
        std::fs::write(&ids, "\"b\\nc\"\na\n").unwrap();
        let by_id = NpyRows::open(&path, Some(&ids)).unwrap();
        assert_eq!(by_id.row(0, "a").unwrap(), [3.0, -4.0]);
        assert_eq!(by_id.row(1, "b\nc").unwrap(), [1.0, 2.0]);
        assert!(by_id.row(0, "c").unwrap_err().to_string().contains("\"c\""));
        assert!(by_id.check_count(1).is_ok(), "rows are found by id");
        let mut damaged = bytes.clone();
        damaged[140..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, damaged).unwrap();
        let error = NpyRows::open(&path, None).unwrap().row(1, "d7").unwrap_err().to_string();
        assert!(
            error.ends_with(
                "m.npy: component 1 of row 1, of document \"d7\", is NaN; expected a finite number"
            )
        );
        std::fs::write(&path, &bytes[..140]).unwrap();
        assert!(NpyRows::open(&path, None).is_err());
    }

    /// Files as numpy 2.3 writes them: `np.save(path, np.array([[1.5, -2], [0, 6e-8]], dtype))`.
    #[test]
    fn other_components_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npy");
        let header = |kind: &str| {
            let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 2), }}");
            text += &" ".repeat(117 - text.len());
            [b"\x93NUMPY\x01\x00\x76\x00", text.as_bytes(), b"\n"].concat()
        };
        let halves: [u16; 4] = [0x3e00, 0xc000, 0x0000, 0x0001];
        let halves: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        let doubles: Vec<u8> =
            [1.5f64, -2.0, 0.0, 6e-8].iter().flat_map(|double| double.to_le_bytes()).collect();
        for (kind, numbers, last) in [("<f2", halves, 2f32.powi(-24)), ("<f8", doubles, 6e-8)] {
            std::fs::write(&path, [header(kind), numbers].concat()).unwrap();
            let rows = NpyRows::open(&path, None).unwrap();
            assert_eq!(
                (rows.row(0, "").unwrap(), rows.row(1, "").unwrap()),
                (vec![1.5, -2.0], vec![0.0, last])
            );
        }
        std::fs::write(&path, header("<i8")).unwrap();
        assert!(NpyRows::open(&path, None).is_err());
    }
}
