//! Tensors as they lie in their files: mapped, or in memory.

#![allow(unsafe_code, reason = "weights are read where the file is mapped")]

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use secateur_files::AtPath;
use serde::Deserialize;

use super::mapped::MappedTable;
use super::pickle::{self, PickledTensor};
use super::stamp::FileStamp;
use crate::error::{Error, Result};
use crate::json;

/// Safetensors files and where each tensor lies in them.
pub(crate) struct Shards {
    /// The folder they were opened in, or the name of a model in memory.
    directory: PathBuf,
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

/// Bytes that are read before their pages are given back. Mapped pages that were read count as the process's memory,
/// as allocated ones do.
const CHUNK: usize = 16 << 20;

struct Shard {
    path: PathBuf,
    bytes: Bytes,
    /// When the file was opened, if it had settled.
    stamp: Option<FileStamp>,
}

enum Bytes {
    Mapped(Arc<Mmap>),
    InMemory(&'static [u8]),
    /// Elements that do not lie one after the other in their file, in their order.
    Copied(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::InMemory(bytes) => bytes,
            Bytes::Copied(bytes) => bytes,
        }
    }
}

pub(crate) struct Entry {
    shard: usize,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    bytes: Range<usize>,
}

/// model.safetensors.index.json
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The file of weights that are not divided.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";

/// The file that names the shards of weights that are.
const INDEX_FILE: &str = "model.safetensors.index.json";

/// The same as torch pickles them. Safetensors come first, as in transformers.
const PICKLED_FILE: &str = "pytorch_model.bin";
const PICKLED_INDEX_FILE: &str = "pytorch_model.bin.index.json";

/// The file that has a directory's weights, and whether it is an index of such files.
fn weights_in(directory: &Path) -> Option<(PathBuf, bool)> {
    [(SINGLE_FILE, false), (INDEX_FILE, true), (PICKLED_FILE, false), (PICKLED_INDEX_FILE, true)]
        .into_iter()
        .map(|(file, is_index)| (directory.join(file), is_index))
        .find(|(path, _)| path.exists())
}

/// A tensor's name as it is spelled today: checkpoints of TensorFlow's time call the parts of a norm gamma and beta.
fn modern(name: &str) -> String {
    let renamed = [("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")]
        .into_iter()
        .find_map(|(old, new)| Some(format!("{}{new}", name.strip_suffix(old)?)));
    renamed.unwrap_or_else(|| name.to_owned())
}

/// Elements of `size` bytes in the order of their indexes.
fn in_order(bytes: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let count = shape.iter().product();
    let mut ordered = Vec::with_capacity(count * size);
    for mut index in 0..count {
        let mut place = 0;
        for (length, stride) in shape.iter().zip(strides).rev() {
            place += index % length * stride;
            index /= length;
        }
        ordered.extend_from_slice(&bytes[place * size..(place + 1) * size]);
    }
    ordered
}

/// A tensor as it lies in its file.
pub struct StoredTensor<'a> {
    /// Its name.
    pub name: &'a str,
    pub(crate) dtype: Dtype,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// Its elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

impl StoredTensor<'_> {
    /// Its element type, as safetensors spells it: "F32".
    pub fn dtype(&self) -> String {
        format!("{:?}", self.dtype)
    }
}

impl Entry {
    pub(crate) fn num_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Maps the file `path`, which must be one that is written once, by rename.
pub(crate) fn map_file(file: &File, path: &Path) -> Result<Mmap> {
    // SAFETY: the map is read-only and private. If another process shortens the file, reading it ends this process with
    // SIGBUS. Models and vectors of a teacher are written once, by rename, which keeps the mapped file.
    Ok(unsafe { Mmap::map(file) }.at("map", path)?)
}

impl Shards {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` names, or what torch pickled.
    pub(crate) fn open(directory: &Path) -> Result<Shards> {
        let Some((path, is_index)) = weights_in(directory) else {
            return Err(Error::MissingFile {
                directory: directory.to_owned(),
                file: "model.safetensors (nor model.safetensors.index.json, nor pytorch_model.bin)",
                advice: "fetch the model's weights",
            });
        };
        let index = is_index.then(|| json::read::<Index>(&path)).transpose()?;
        let mut files: Vec<PathBuf> = match &index {
            None => vec![path],
            Some(index) => index.weight_map.values().map(|file| directory.join(file)).collect(),
        };
        files.sort();
        files.dedup();

        let mut shards = Shards::empty(directory);
        for path in files {
            shards.map(path)?;
        }
        if let Some(index) = index
            && let Some((tensor, file)) =
                index.weight_map.into_iter().find(|(tensor, _)| !shards.tensors.contains_key(&modern(tensor)))
        {
            return Err(Error::MissingTensor { path: directory.join(file), tensor });
        }
        Ok(shards)
    }

    /// Maps one safetensors file.
    pub(crate) fn open_file(path: &Path) -> Result<Shards> {
        let mut shards = Shards::empty(path.parent().unwrap_or(path));
        shards.map(path.to_owned())?;
        Ok(shards)
    }

    /// The safetensors file whose bytes are these; errors call it `path`.
    pub(crate) fn in_memory(path: PathBuf, bytes: &'static [u8]) -> Result<Shards> {
        let mut shards = Shards::empty(path.parent().unwrap_or(&path));
        shards.add(path, Bytes::InMemory(bytes), None)?;
        Ok(shards)
    }

    /// Whether `directory` has weights that [`Shards::open`] would look at.
    pub(crate) fn are_in(directory: &Path) -> bool {
        weights_in(directory).is_some()
    }

    fn empty(directory: &Path) -> Shards {
        Shards { directory: directory.to_owned(), shards: Vec::new(), tensors: BTreeMap::new() }
    }

    fn map(&mut self, path: PathBuf) -> Result<()> {
        let opened = SystemTime::now();
        let file = File::open(&path).at("open", &path)?;
        let stamp = FileStamp::of(&file.metadata().at("open", &path)?, opened);
        // Tables of embeddings are read where they are mapped for as long as the encoder lives; the weights else at
        // loading only.
        let map = map_file(&file, &path)?;
        self.add(path, Bytes::Mapped(Arc::new(map)), stamp)
    }

    fn add(&mut self, path: PathBuf, bytes: Bytes, stamp: Option<FileStamp>) -> Result<()> {
        json::refuse_pointer(&path, &bytes)?;
        if path.extension().is_some_and(|extension| extension == "bin") {
            return self.add_pickled(path, bytes, stamp);
        }
        let damaged = |source: safetensors::SafeTensorError| Error::Safetensors {
            path: path.clone(),
            source: source.into(),
        };
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        // The length prefix (8 bytes) and the header come before the elements.
        let data = 8 + header;
        if bytes.len() != data + metadata.data_len() {
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
            self.tensors.insert(modern(&name), entry);
        }
        self.shards.push(Shard { path, bytes, stamp });
        Ok(())
    }

    fn add_pickled(&mut self, path: PathBuf, bytes: Bytes, stamp: Option<FileStamp>) -> Result<()> {
        let shard = self.shards.len();
        let mut copied = Vec::new();
        for PickledTensor { name, dtype, shape, strides, bytes: range } in pickle::tensors(&path, &bytes)? {
            let entry = match strides {
                None => Entry { shard, dtype, shape, bytes: range },
                Some(strides) => {
                    let elements = in_order(&bytes[range], &shape, &strides, dtype.bitsize() / 8);
                    let whole = 0..elements.len();
                    copied.push(Shard { path: path.clone(), bytes: Bytes::Copied(elements), stamp });
                    Entry { shard: shard + copied.len(), dtype, shape, bytes: whole }
                }
            };
            self.tensors.insert(modern(&name), entry);
        }
        self.shards.push(Shard { path, bytes, stamp });
        self.shards.extend(copied);
        Ok(())
    }

    /// The directory they were opened from.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files and their lengths in bytes.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&Path, usize)> {
        let files = self.shards.iter().filter(|shard| !matches!(shard.bytes, Bytes::Copied(_)));
        files.map(|shard| (shard.path.as_path(), shard.bytes.len()))
    }

    /// All tensors in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.tensors.iter().map(|(name, entry)| self.stored(name, entry))
    }

    /// One tensor.
    pub(crate) fn tensor(&self, name: &str) -> Option<StoredTensor<'_>> {
        self.tensors.get_key_value(name).map(|(name, entry)| self.stored(name, entry))
    }

    /// Where a tensor lies.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.tensors.get(name)
    }

    fn stored<'a>(&'a self, name: &'a str, entry: &'a Entry) -> StoredTensor<'a> {
        StoredTensor {
            name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.shards[entry.shard].bytes[entry.bytes.clone()],
        }
    }

    /// The file that has a tensor, or that should.
    pub(crate) fn path_of(&self, tensor: &str) -> PathBuf {
        match (self.tensors.get(tensor), &self.shards[..]) {
            (Some(entry), _) => self.shards[entry.shard].path.clone(),
            (None, [shard, ..]) if self.files().count() == 1 => shard.path.clone(),
            (None, _) => self.directory.clone(),
        }
    }

    /// What the files were like when they were opened; `None` if that does not tell them from the same files changed.
    pub(crate) fn stamps(&self) -> Option<Vec<FileStamp>> {
        self.shards.iter().map(|shard| shard.stamp).collect()
    }

    /// A table where it is mapped, if its elements are floats of 16 or 32 bits.
    pub(crate) fn table(&self, entry: &Entry, columns: usize) -> Option<MappedTable> {
        let Bytes::Mapped(map) = &self.shards[entry.shard].bytes else { return None };
        MappedTable::new(map, entry.bytes.clone(), entry.dtype, columns)
    }

    /// A tensor's elements where they are mapped, if they are f32 and lie as such.
    pub(crate) fn borrowed_floats(&self, entry: &Entry) -> Option<&[f32]> {
        let Shard { bytes: Bytes::Mapped(map), .. } = &self.shards[entry.shard] else { return None };
        let is_f32 = entry.dtype == Dtype::F32;
        bytemuck::try_cast_slice(&map[entry.bytes.clone()]).ok().filter(|_| is_f32)
    }

    /// Gives back the pages of a tensor that was read.
    pub(crate) fn release(&self, entry: &Entry) {
        give_back(&self.shards[entry.shard].bytes, entry.bytes.clone());
    }

    /// A tensor's elements.
    pub(crate) fn owned_bytes(&self, entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(entry.bytes.len());
        self.read_chunks(entry, |chunk| bytes.extend_from_slice(chunk));
        bytes
    }

    /// Calls `begin` for every tensor in the order of the names, and then `read` with its bytes, chunk by chunk.
    /// Pages that were read no longer count as the process's memory.
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

    /// Shows `read` the bytes of a tensor, chunk by chunk.
    pub(crate) fn read_chunks(&self, entry: &Entry, mut read: impl FnMut(&[u8])) {
        let bytes = &self.shards[entry.shard].bytes;
        for start in entry.bytes.clone().step_by(CHUNK) {
            let end = (start + CHUNK).min(entry.bytes.end);
            read(&bytes[start..end]);
            give_back(bytes, start..end);
        }
    }
}

/// Gives back mapped pages, which count as the process's memory until then.
fn give_back(bytes: &Bytes, range: Range<usize>) {
    #[cfg(unix)]
    if let Bytes::Mapped(map) = bytes {
        // SAFETY: the map is a read-only view of the file, so giving back its pages changes none of its bytes. The
        // pages are read from the file again on the next use. With this call the peak of loading an f32 model of N
        // bytes is 1.09 N, without it 2.06 N.
        let _ = unsafe {
            map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }
    #[cfg(not(unix))]
    let _ = (bytes, range);
}
