//! The tensors of a model directory, as they are stored.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use safetensors::Dtype;

use super::mapped::MappedFloats;
use super::matrix::{Matrix, Weight};
use super::quantized::bitsandbytes;
use super::quantized::nf4::Nf4Matrix;
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
    fn nf4(&self, tensor: &str, expected: &[usize]) -> Result<Option<Nf4Matrix>> {
        let Some(matrix) = bitsandbytes::read(&self.shards, tensor)? else { return Ok(None) };
        if [matrix.rows(), matrix.columns()] == *expected {
            return Ok(Some(matrix));
        }
        Err(Error::ShapeMismatch {
            path: self.path_of(tensor),
            tensor: tensor.to_owned(),
            expected: expected.to_vec(),
            found: vec![matrix.rows(), matrix.columns()],
        })
    }

    fn path_of(&self, tensor: &str) -> PathBuf {
        self.shards.path_of(tensor)
    }
}

impl Tensors for Checkpoint {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        let infos = self.iter().map(|tensor| TensorInfo {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
        });
        infos.collect()
    }

    fn contains(&self, tensor: &str) -> bool {
        self.shards.entry(tensor).is_some()
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        self.shards.tensor(tensor)
    }

    fn values(&self, tensor: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        if let Some(matrix) = self.nf4(tensor, expected)? {
            return Ok(matrix.dequantize().into());
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
        match self.nf4(tensor, &[rows, columns])? {
            Some(matrix) => Ok(matrix.into()),
            None => match self.shards.borrowed_floats(self.entry(tensor, &[rows, columns])?) {
                Some(values) => {
                    self.check(tensor, values)?;
                    Ok(Matrix { values: values.into(), rows, columns }.into())
                }
                None => Ok(self.matrix(tensor, rows, columns)?.into()),
            },
        }
    }

    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedFloats>> {
        let floats = match self.nf4(tensor, &[rows, columns])? {
            Some(_) => None,
            None => self.shards.floats(self.entry(tensor, &[rows, columns])?),
        };
        if let Some(floats) = &floats {
            self.check(tensor, floats)?;
            self.release(tensor);
        }
        Ok(floats)
    }

    fn release(&self, tensor: &str) {
        if let Some(entry) = self.shards.entry(tensor) {
            self.shards.release(entry);
        }
    }

    fn is_quantized(&self) -> bool {
        bitsandbytes::is_quantized(&self.shards)
    }
}
