//! Weights on disk: one safetensors file, or several named by an index, memory-mapped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::json;
use crate::ops::Matrix;

/// The tensors of a model directory, by name.
pub struct Checkpoint {
    directory: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

struct Shard {
    path: PathBuf,
    map: Mmap,
}

struct Entry {
    shard: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// model.safetensors.index.json
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A tensor as it lies in its file.
pub struct StoredTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type, as safetensors spells it: "F32".
    pub dtype: String,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    ///
    /// A missing file, a shard that is truncated or damaged, a tensor that the index names and its shard lacks.
    pub fn open(directory: &Path) -> Result<Checkpoint> {
        let single = directory.join("model.safetensors");
        let index_path = directory.join("model.safetensors.index.json");
        let index = if single.exists() {
            None
        } else if index_path.exists() {
            Some(json::read::<Index>(&index_path)?)
        } else {
            return Err(Error::MissingFile {
                directory: directory.to_owned(),
                file: "model.safetensors (nor model.safetensors.index.json)",
                advice: "fetch the safetensors weights; pickled .bin weights are not read",
            });
        };
        let mut files: Vec<PathBuf> = match &index {
            None => vec![single],
            Some(index) => index.weight_map.values().map(|file| directory.join(file)).collect(),
        };
        files.sort();
        files.dedup();

        let mut checkpoint =
            Checkpoint { directory: directory.to_owned(), shards: Vec::new(), tensors: BTreeMap::new() };
        for path in files {
            checkpoint.add_shard(path)?;
        }
        if let Some(index) = index
            && let Some((tensor, file)) =
                index.weight_map.into_iter().find(|(tensor, _)| !checkpoint.tensors.contains_key(tensor))
        {
            return Err(Error::MissingTensor { path: directory.join(file), tensor });
        }
        Ok(checkpoint)
    }

    fn add_shard(&mut self, path: PathBuf) -> Result<()> {
        let io = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        let file = File::open(&path).map_err(io("open"))?;
        // SAFETY: the map is read-only and private. A process that shortens the file while it is mapped stops this one
        // with SIGBUS; model directories are written once, by rename, which keeps the mapped file.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        let damaged = |source: safetensors::SafeTensorError| Error::Safetensors {
            path: path.clone(),
            source: source.into(),
        };
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
        // The length prefix (8 bytes) and the header come before the elements.
        let data = 8 + header;
        if map.len() != data + metadata.data_len() {
            return Err(damaged(safetensors::SafeTensorError::MetadataIncompleteBuffer));
        }
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                shard: self.shards.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + start..data + end,
            };
            self.tensors.insert(name, entry);
        }
        self.shards.push(Shard { path, map });
        Ok(())
    }

    /// The directory it was opened from.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    /// All tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.tensors.iter().map(|(name, entry)| StoredTensor {
            name,
            dtype: format!("{:?}", entry.dtype),
            shape: &entry.shape,
            bytes: self.bytes(entry),
        })
    }

    /// A matrix, as f32.
    ///
    /// # Errors
    ///
    /// The tensor is missing, has another shape or an element type that is not a float, or holds a NaN or infinity.
    pub fn matrix(&self, tensor: &str, rows: usize, columns: usize) -> Result<Matrix<'_>> {
        Ok(Matrix { values: self.values(tensor, &[rows, columns])?, rows, columns })
    }

    /// A vector, as f32. Errors as [`Checkpoint::matrix`].
    pub fn vector(&self, tensor: &str, length: usize) -> Result<Cow<'_, [f32]>> {
        self.values(tensor, &[length])
    }

    fn values(&self, tensor: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        let Some(entry) = self.tensors.get(tensor) else {
            let path = match &self.shards[..] {
                [shard] => shard.path.clone(),
                _ => self.directory.clone(),
            };
            return Err(Error::MissingTensor { path, tensor: tensor.to_owned() });
        };
        let path = || self.shards[entry.shard].path.clone();
        if entry.shape != expected {
            return Err(Error::ShapeMismatch {
                path: path(),
                tensor: tensor.to_owned(),
                expected: expected.to_vec(),
                found: entry.shape.clone(),
            });
        }
        let bytes = self.bytes(entry);
        let halves = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
        let values: Vec<f32> = match entry.dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::F16 => halves().map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => halves().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
            other => {
                return Err(Error::UnsupportedType {
                    path: path(),
                    tensor: tensor.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite { path: path(), tensor: tensor.to_owned() });
        }
        Ok(Cow::Owned(values))
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.shards[entry.shard].map[entry.bytes.clone()]
    }
}
