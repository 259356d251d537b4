//! Weights on disk: one safetensors file, or several named by an index, memory-mapped.

#![allow(unsafe_code, reason = "weights are read where the file is mapped")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::json;
use crate::weights::adapter::Adapter;
use crate::weights::matrix::{Matrix, Weight};
use crate::weights::quantized::{Quantization, nf4::Nf4Matrix, stored};

/// The tensors of a model directory, by name, and the adapter that changes them, where there is one.
pub struct Checkpoint {
    directory: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
    adapter: Option<Box<Adapted>>,
    quantization: Option<Quantization>,
    /// What stands in for tensors, by name.
    replacements: BTreeMap<String, Vec<f32>>,
}

struct Adapted {
    adapter: Adapter,
    /// Whose names the adapter's are compared with.
    architecture: Architecture,
    /// Whether the adapter may have tensors without a place: it was checked before sub-layers were taken out.
    accepted: bool,
}

/// Bytes that are read before their pages are given back: what is mapped and has been used counts as the process's memory
/// like what it allocates.
const CHUNK: usize = 16 << 20;

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

        let mut checkpoint = Checkpoint::empty(directory);
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

    /// Maps one safetensors file.
    pub(crate) fn open_file(path: &Path) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint::empty(path.parent().unwrap_or(path));
        checkpoint.add_shard(path.to_owned())?;
        Ok(checkpoint)
    }

    fn empty(directory: &Path) -> Checkpoint {
        Checkpoint {
            directory: directory.to_owned(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
            adapter: None,
            quantization: None,
            replacements: BTreeMap::new(),
        }
    }

    /// The same tensors, changed by the LoRA adapter that PEFT wrote to a directory. They are merged as they are read.
    ///
    /// `architecture` is that of the model; its vocabulary becomes the adapter's where that replaces the embeddings.
    ///
    /// # Errors
    ///
    /// A file of the adapter is missing or damaged, or says what cannot be merged.
    pub fn with_adapter(mut self, directory: &Path, architecture: &mut Architecture) -> Result<Checkpoint> {
        let adapter = Adapter::open(directory, architecture)?;
        let embeddings = architecture.token_embeddings();
        if let Some(tensor) = adapter.replacement(&embeddings.name)
            && let [rows, _] = *tensor.shape
        {
            architecture.vocab_size = rows;
        }
        self.adapter =
            Some(Box::new(Adapted { adapter, architecture: architecture.clone(), accepted: false }));
        Ok(self)
    }

    /// The same tensors, the matrices of linear layers quantized as [`Checkpoint::weight`] reads them. Nothing happens to a
    /// checkpoint that is stored quantized.
    #[must_use]
    pub fn quantized(mut self, quantization: Option<Quantization>) -> Checkpoint {
        self.quantization = quantization.filter(|_| !stored::is_quantized(&self));
        self
    }

    /// How linear layers are quantized as they are read.
    pub(crate) fn quantization(&self) -> Option<Quantization> {
        self.quantization
    }

    /// The adapter.
    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref().map(|adapted| &adapted.adapter)
    }

    /// Refuses an adapter that has a tensor without a place in `architecture`.
    pub(crate) fn check_adapter(&self, architecture: &Architecture) -> Result<()> {
        let adapted = self.adapter.as_ref().filter(|adapted| !adapted.accepted);
        adapted.map_or(Ok(()), |adapted| adapted.adapter.check(architecture))
    }

    /// Makes later checks pass, for a model that loses sub-layers which the adapter has tensors for.
    pub(crate) fn accept_adapter(&mut self) {
        if let Some(adapted) = &mut self.adapter {
            adapted.accepted = true;
        }
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

    /// The files and their lengths in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.shards.iter().map(|shard| (shard.path.as_path(), shard.map.len()))
    }

    /// Whether `directory` has weights that [`Checkpoint::open`] would look at.
    pub(crate) fn is_in(directory: &Path) -> bool {
        ["model.safetensors", "model.safetensors.index.json"].iter().any(|file| directory.join(file).exists())
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    /// All tensors in the order of their names, as they lie in their files: without the adapter.
    pub fn iter(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.tensors.iter().map(|(name, entry)| self.stored(name, entry))
    }

    /// One tensor as it lies in its file.
    pub(crate) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        self.tensors.get_key_value(name).map(|(name, entry)| self.stored(name, entry))
    }

    fn stored<'a>(&'a self, name: &'a str, entry: &'a Entry) -> StoredTensor<'a> {
        StoredTensor {
            name,
            dtype: format!("{:?}", entry.dtype),
            shape: &entry.shape,
            bytes: &self.shards[entry.shard].map[entry.bytes.clone()],
        }
    }

    /// A matrix, as f32.
    ///
    /// # Errors
    ///
    /// The tensor is missing, has another shape or an element type that is not a float, or holds a NaN or infinity.
    pub fn matrix(&self, tensor: &str, rows: usize, columns: usize) -> Result<Matrix<'_>> {
        Ok(Matrix { values: self.values(tensor, &[rows, columns])?, rows, columns })
    }

    /// The matrix of a linear layer: quantized if it is stored so and no adapter changes it, or if
    /// [`Checkpoint::quantized`] asks for it. Errors as [`Checkpoint::matrix`].
    pub fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        let adapted = self.adapter.as_deref().is_some_and(|Adapted { adapter, architecture, .. }| {
            adapter.changes(architecture.bare_name(tensor))
        });
        if !adapted && let Some(matrix) = self.stored_nf4(tensor, &[rows, columns])? {
            return Ok(matrix.into());
        }
        let matrix = self.matrix(tensor, rows, columns)?;
        Ok(match self.quantization {
            None => matrix.into(),
            Some(Quantization::Nf4) => Nf4Matrix::quantize(&matrix.values, rows, columns).into(),
        })
    }

    /// A vector, as f32. Errors as [`Checkpoint::matrix`].
    pub fn vector(&self, tensor: &str, length: usize) -> Result<Cow<'_, [f32]>> {
        self.values(tensor, &[length])
    }

    /// A tensor of any number of dimensions, as f32, merged with the adapter.
    pub(crate) fn merged(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        self.values(tensor, shape)
    }

    /// Reads these values for a tensor from now on, whatever its file or an adapter says.
    pub(crate) fn replace(&mut self, tensor: String, values: Vec<f32>) {
        self.replacements.insert(tensor, values);
    }

    /// What [`Checkpoint::replace`] put in a tensor's place.
    pub(crate) fn replacement(&self, tensor: &str) -> Option<&[f32]> {
        self.replacements.get(tensor).map(Vec::as_slice)
    }

    fn values(&self, tensor: &str, expected: &[usize]) -> Result<Cow<'_, [f32]>> {
        if let Some(values) = self.replacement(tensor) {
            return Ok(Cow::Borrowed(values));
        }
        let Some(Adapted { adapter, architecture, .. }) = self.adapter.as_deref() else {
            return self.stored_values(tensor, expected).map(Cow::Owned);
        };
        let bare = architecture.bare_name(tensor);
        let mut values = match adapter.replacement(bare) {
            Some(replacement) => adapter.tensors().stored_values(replacement.name, expected)?,
            None => self.stored_values(tensor, expected)?,
        };
        if let [rows, columns] = *expected {
            adapter.add_to(bare, &mut values, rows, columns)?;
        }
        Ok(Cow::Owned(values))
    }

    /// A matrix that is stored quantized.
    fn stored_nf4(&self, tensor: &str, expected: &[usize]) -> Result<Option<Nf4Matrix>> {
        let Some(matrix) = stored::read(self, tensor)? else { return Ok(None) };
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

    /// The file that has a tensor, or that should.
    pub(crate) fn path_of(&self, tensor: &str) -> PathBuf {
        match (self.tensors.get(tensor), &self.shards[..]) {
            (Some(entry), _) => self.shards[entry.shard].path.clone(),
            (None, [shard]) => shard.path.clone(),
            (None, _) => self.directory.clone(),
        }
    }

    /// The elements of a tensor that is there.
    pub(crate) fn owned_bytes(&self, tensor: &str) -> Vec<u8> {
        let entry = &self.tensors[tensor];
        let mut bytes = Vec::with_capacity(entry.bytes.len());
        self.read_chunks(entry, |chunk| bytes.extend_from_slice(chunk));
        bytes
    }

    fn stored_values(&self, tensor: &str, expected: &[usize]) -> Result<Vec<f32>> {
        let Some(entry) = self.tensors.get(tensor) else {
            return Err(Error::MissingTensor { path: self.path_of(tensor), tensor: tensor.to_owned() });
        };
        if let Some(matrix) = self.stored_nf4(tensor, expected)? {
            return Ok(matrix.dequantize());
        }
        let path = || self.shards[entry.shard].path.clone();
        if entry.shape != expected {
            return Err(Error::ShapeMismatch {
                path: path(),
                tensor: tensor.to_owned(),
                expected: expected.to_vec(),
                found: entry.shape.clone(),
            });
        }
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
                    path: path(),
                    tensor: tensor.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        self.read_chunks(entry, |chunk| convert(chunk, &mut values));
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite { path: path(), tensor: tensor.to_owned() });
        }
        Ok(values)
    }

    /// Shows `read` the bytes of every tensor in the order of the names, chunk by chunk, after a call of `begin` for each
    /// tensor. What was read no longer counts as the process's memory.
    pub(crate) fn read_all<S>(
        &self,
        state: &mut S,
        begin: impl Fn(&mut S, &StoredTensor<'_>),
        read: impl Fn(&mut S, &[u8]),
    ) {
        for (name, entry) in &self.tensors {
            begin(state, &self.stored(name, entry));
            self.read_chunks(entry, |chunk| read(state, chunk));
        }
    }

    fn read_chunks(&self, entry: &Entry, mut read: impl FnMut(&[u8])) {
        let map = &self.shards[entry.shard].map;
        for start in entry.bytes.clone().step_by(CHUNK) {
            let end = (start + CHUNK).min(entry.bytes.end);
            read(&map[start..end]);
            #[cfg(unix)]
            // SAFETY: the map is a read-only view of the file, so giving back its pages changes none of its bytes: they are
            // read from the file again when they are next used. The peak of loading an f32 model of N bytes is
            // 1.09 N with it and 2.06 N without.
            let _ =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}
