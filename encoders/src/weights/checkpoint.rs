//! The tensors of a model directory, as they are stored.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::Dtype;

use super::mapped::MappedTable;
use super::matrix::{Matrix, Weight};
use super::quantized::{bitsandbytes, int8};
use super::shards::{Entry, Shards, StoredTensor};
use super::tensors::{TensorInfo, Tensors};
use crate::error::{Error, Result};

/// The tensors of a model directory, by name: one safetensors file, or several named by an index, memory-mapped.
pub struct Checkpoint {
    shards: Shards,
    /// Whether the numbers are known to be finite.
    is_checked: bool,
}

/// Numbers that one task looks at.
const CHECKED: usize = 1 << 18;

impl Checkpoint {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    ///
    /// A missing file, a shard that is truncated or damaged, a tensor that the index names and its shard lacks.
    pub fn open(directory: impl AsRef<Path>) -> Result<Checkpoint> {
        let directory = directory.as_ref();
        Ok(Checkpoint::new(Shards::open(directory)?))
    }

    pub(crate) fn new(shards: Shards) -> Checkpoint {
        Checkpoint { shards, is_checked: false }
    }

    /// Says whether all numbers that are read are known to be finite.
    pub(crate) fn checked(self, is_checked: bool) -> Checkpoint {
        Checkpoint { is_checked, ..self }
    }

    fn check(&self, tensor: &str, values: &[f32]) -> Result<()> {
        if self.is_checked || values.par_chunks(CHECKED).all(|values| values.iter().all(|x| x.is_finite())) {
            return Ok(());
        }
        Err(Error::NotFinite { path: self.path_of(tensor), tensor: tensor.to_owned() })
    }

    /// Where a tensor of this shape lies.
    fn entry(&self, tensor: &str, expected: &[usize]) -> Result<&Entry> {
        let Some(entry) = self.shards.entry(tensor) else {
            return Err(Error::MissingTensor { path: self.path_of(tensor), tensor: tensor.to_owned() });
        };
        if entry.shape == expected {
            return Ok(entry);
        }
        Err(Error::ShapeMismatch {
            path: self.path_of(tensor),
            tensor: tensor.to_owned(),
            expected: expected.to_vec(),
            found: entry.shape.clone(),
        })
    }

    /// The directory it was opened from.
    pub fn directory(&self) -> &Path {
        self.shards.directory()
    }

    /// The files and their lengths in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.shards.files()
    }

    /// All tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.shards.iter()
    }

    pub(crate) fn shards(&self) -> &Shards {
        &self.shards
    }

    /// A matrix that is stored quantized.
    fn quantized(&self, tensor: &str, expected: &[usize]) -> Result<Option<Weight<'_>>> {
        let weight: Weight<'_> = match int8::read(&self.shards, tensor)? {
            Some(rows) => Weight::Int8(vec![rows]),
            None => match bitsandbytes::read(&self.shards, tensor)? {
                Some(matrix) => matrix.into(),
                None => return Ok(None),
            },
        };
        if [weight.rows(), weight.columns()] == *expected {
            return Ok(Some(weight));
        }
        Err(Error::ShapeMismatch {
            path: self.path_of(tensor),
            tensor: tensor.to_owned(),
            expected: expected.to_vec(),
            found: vec![weight.rows(), weight.columns()],
        })
    }

    /// Whether its values are other numbers than those of its file.
    fn is_converted(&self, stored: &StoredTensor<'_>) -> bool {
        stored.dtype == Dtype::F64 || stored.dtype == Dtype::I8 && self.has_scales(stored.name)
    }

    /// Whether a tensor is there for a matrix in 8 bits.
    fn is_scale(&self, tensor: &str) -> bool {
        let module = [".SCB", ".weight_format"].iter().find_map(|suffix| tensor.strip_suffix(suffix));
        module.is_some_and(|module| self.has_scales(&format!("{module}.weight")))
    }

    /// Whether a matrix is stored as bitsandbytes stores 8 bits (Dettmers et al. 2022, LLM.int8()).
    fn has_scales(&self, tensor: &str) -> bool {
        tensor
            .strip_suffix(".weight")
            .is_some_and(|module| self.shards.entry(&format!("{module}.SCB")).is_some())
    }

    /// Each row is its codes times its largest number / 127.
    fn rows_of_bytes(&self, tensor: &str, entry: &Entry, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        let module = tensor.strip_suffix(".weight").unwrap_or(tensor);
        let scales = self.values(&format!("{module}.SCB"), &expected[..1])?;
        let columns = expected.get(1).copied().unwrap_or(1);
        let codes = self.shards.owned_bytes(entry);
        let rows = codes.chunks_exact(columns).zip(&scales[..]);
        Ok(rows
            .flat_map(|(row, scale)| row.iter().map(move |code| f32::from(*code as i8) * scale / 127.0))
            .collect())
    }

    fn path_of(&self, tensor: &str) -> PathBuf {
        self.shards.path_of(tensor)
    }
}

impl Tensors for Checkpoint {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        // What is written from a checkpoint of f64 or of 8 bits is in f32.
        let infos = self.iter().filter(|tensor| !self.is_scale(tensor.name)).map(|tensor| TensorInfo {
            name: tensor.name,
            dtype: if self.is_converted(&tensor) { Dtype::F32 } else { tensor.dtype },
            shape: tensor.shape.to_vec(),
        });
        infos.collect()
    }

    fn contains(&self, tensor: &str) -> bool {
        self.shards.entry(tensor).is_some()
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        self.shards.tensor(tensor).filter(|stored| !self.is_converted(stored))
    }

    fn values(&self, tensor: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        if let Some(weight) = self.quantized(tensor, expected)? {
            return Ok(weight.dequantize().values);
        }
        let entry = self.entry(tensor, expected)?;
        let mut values: Vec<f32> = Vec::with_capacity(expected.iter().product());
        let convert: fn(&[u8], &mut Vec<f32>) = match entry.dtype {
            Dtype::F32 => |bytes, values| {
                values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            },
            Dtype::F16 => |bytes, values| {
                values.extend(bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()));
            },
            Dtype::BF16 => |bytes, values| {
                values
                    .extend(bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()));
            },
            Dtype::F64 => |bytes, values| {
                values.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32));
            },
            Dtype::I8 if self.has_scales(tensor) => return self.rows_of_bytes(tensor, entry, expected),
            Dtype::I8 => {
                let (path, tensor) = (self.path_of(tensor), int8::scales_of(tensor));
                return Err(Error::MissingTensor { path, tensor });
            }
            other => {
                return Err(Error::UnsupportedType {
                    path: self.path_of(tensor),
                    tensor: tensor.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        self.shards.read_chunks(entry, |chunk| convert(chunk, &mut values));
        self.check(tensor, &values)?;
        Ok(values.into())
    }

    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        match self.quantized(tensor, &[rows, columns])? {
            Some(weight) => Ok(weight),
            None => match self.shards.borrowed_floats(self.entry(tensor, &[rows, columns])?) {
                Some(values) => {
                    self.check(tensor, values)?;
                    Ok(Matrix { values: values.into(), rows, columns }.into())
                }
                None => Ok(self.matrix(tensor, rows, columns)?.into()),
            },
        }
    }

    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedTable>> {
        let table = match self.quantized(tensor, &[rows, columns])? {
            Some(_) => None,
            None => self.shards.table(self.entry(tensor, &[rows, columns])?, columns),
        };
        if let Some(table) = &table {
            if !self.is_checked && !table.is_finite() {
                return Err(Error::NotFinite { path: self.path_of(tensor), tensor: tensor.to_owned() });
            }
            self.release(tensor);
        }
        Ok(table)
    }

    fn release(&self, tensor: &str) {
        for name in [tensor, &int8::scales_of(tensor)] {
            if let Some(entry) = self.shards.entry(name) {
                self.shards.release(entry);
            }
        }
    }

    fn is_quantized(&self) -> bool {
        bitsandbytes::is_quantized(&self.shards) || int8::is_quantized(&self.shards)
    }
}
