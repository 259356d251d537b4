//! A model directory made from another: the files beside the weights copied, the weights changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo as Header};
use secateur_files::{AtPath, DurableFolder};
use serde_json::Value;

use super::model_files::{
    MODULES_FILE, ModelFiles, Module, PROMPTS_FILE, TOKENIZER_FILES, TRANSFORMER_FILES,
};
use super::shards::SINGLE_FILE;
use super::tensors::{TensorInfo, Tensors};
use crate::error::{Error, Result};
use crate::json;

/// The files that are copied beside the weights, where they exist. The pooling's folder is found by modules.json.
const COPIED: [&[&str]; 4] = [
    &TOKENIZER_FILES,
    &TRANSFORMER_FILES,
    &[MODULES_FILE, PROMPTS_FILE],
    &[
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "merges.txt",
        "generation_config.json",
    ],
];

/// The files of a module behind the transformer.
const MODULE_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];

/// A tensor to write.
pub(crate) struct NewTensor<'a> {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements<'a>,
}

/// Where a tensor's elements come from.
pub(crate) enum Elements<'a> {
    /// They lie in a file.
    Stored(&'a [u8]),
    /// They are computed when it is their turn, so that one tensor at a time is in memory, and rounded to the tensor's
    /// type.
    Computed(Box<dyn FnOnce() -> Result<Cow<'a, [f32]>> + 'a>),
    /// The same, as the bytes of the file.
    Bytes(Box<dyn FnOnce() -> Result<Vec<u8>> + 'a>),
}

impl<'a> NewTensor<'a> {
    /// A tensor as `tensors` has it: the bytes of its file where nothing changes them, else its values in the file's
    /// type.
    pub(crate) fn of(tensors: &'a dyn Tensors, info: TensorInfo<'a>) -> NewTensor<'a> {
        let TensorInfo { name, dtype, shape } = info;
        let elements = match tensors.stored(name) {
            Some(stored) => Elements::Stored(stored.bytes),
            None => {
                let shape = shape.clone();
                Elements::Computed(Box::new(move || tensors.values(name, &shape)))
            }
        };
        NewTensor { name: name.to_owned(), dtype, shape, elements }
    }
}

/// Writes the model directory `out`, which must not exist: `config` as config.json and the tensors as one
/// model.safetensors. The tokenizer and the files of sentence-transformers are those of `files`. The `others` are small
/// files by name, which take the place of those: JSON, or the text that a string is. The directory appears whole or not
/// at all.
///
/// # Errors
///
/// `out` exists or cannot be written; a tensor cannot be computed.
pub(crate) fn write_directory(
    files: &ModelFiles,
    config: &Value,
    tensors: Vec<NewTensor<'_>>,
    others: &[(&str, &Value)],
    out: &Path,
) -> Result<()> {
    write_folder(files, ("config.json", config), (SINGLE_FILE, tensors), others, out)
}

/// The same for an adapter: `config` as adapter_config.json, the tensors as adapter_model.safetensors. `others` stand
/// in for the base's files of their names.
pub(crate) fn write_adapter(
    files: &ModelFiles,
    config: &Value,
    tensors: Vec<NewTensor<'_>>,
    others: &[(&str, &Value)],
    out: &Path,
) -> Result<()> {
    let weights = ("adapter_model.safetensors", tensors);
    write_folder(files, ("adapter_config.json", config), weights, others, out)
}

fn write_folder(
    files: &ModelFiles,
    config: (&str, &Value),
    (weights, tensors): (&str, Vec<NewTensor<'_>>),
    others: &[(&str, &Value)],
    out: &Path,
) -> Result<()> {
    let folder = DurableFolder::create(out)?;
    for (name, value) in [config].iter().chain(others) {
        match value {
            Value::String(text) => write_file(&folder, name, text.as_bytes())?,
            value => {
                let text = serde_json::to_vec_pretty(value).expect("a JSON value can be written");
                write_file(&folder, name, &text)?;
            }
        }
    }
    copy_files(files, others, &folder)?;
    write_weights(tensors, &folder, weights)?;
    Ok(folder.finish()?)
}

fn write_file(folder: &DurableFolder, name: &str, bytes: &[u8]) -> Result<()> {
    Ok(folder.file(name)?.write_all(bytes).at("write", folder.temporary().join(name))?)
}

/// Copies the files that stand beside the weights, but for `others`, which are there already.
fn copy_files(files: &ModelFiles, others: &[(&str, &Value)], folder: &DurableFolder) -> Result<()> {
    let mut copied: Vec<String> = COPIED.concat().into_iter().map(str::to_owned).collect();
    let modules = files.modules()?.unwrap_or_default();
    let others_of = |module: &Module| {
        let folder = module.folder().to_owned();
        MODULE_FILES.map(|file| format!("{folder}/{file}"))
    };
    copied.extend(modules.iter().filter(|module| !module.is_transformer()).flat_map(others_of));
    for file in copied {
        if others.iter().any(|(name, _)| *name == file) {
            continue;
        }
        let Some(bytes) = files.read(&file)? else { continue };
        match files.transformer_folder() {
            // What is written has the transformer in the directory itself.
            Some(below) if file == MODULES_FILE => {
                let mut modules: Vec<Value> = files.json(&file)?.unwrap_or_default();
                for module in modules.iter_mut().filter(|module| module["path"] == below) {
                    module["path"] = "".into();
                }
                write_file(
                    folder,
                    &file,
                    &serde_json::to_vec_pretty(&modules).expect("a JSON value can be written"),
                )?;
            }
            _ => match without_ignored(files, &file)? {
                Some(changed) => write_file(folder, &file, &changed)?,
                None => write_file(folder, &file, &bytes)?,
            },
        }
    }
    Ok(())
}

/// A file of settings without those that are passed over, where it has one: what is written loads as it was read.
fn without_ignored(files: &ModelFiles, file: &str) -> Result<Option<Vec<u8>>> {
    if files.ignored().is_empty() || !(file.contains("config") && file.ends_with(".json")) {
        return Ok(None);
    }
    let (Some(bytes), Some(left)) = (files.read(file)?, files.json::<Value>(file)?) else { return Ok(None) };
    let whole: Value = json::parse(&files.path(file), &bytes)?;
    let text = || serde_json::to_vec_pretty(&left).expect("a JSON value can be written");
    Ok((left != whole).then(text))
}

/// Writes a safetensors file tensor by tensor. The crate's own `serialize` wants all of them at once, each without a
/// chance to fail, and sorts those of one type by name. Here tensors keep their order, so that files are what they have
/// always been.
fn write_weights(mut tensors: Vec<NewTensor<'_>>, folder: &DurableFolder, name: &str) -> Result<()> {
    // Wide elements first, so that all are aligned.
    tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bitsize()));
    let path = folder.temporary().join(name);
    let header = header(&tensors)
        .map_err(|source| Error::Safetensors { path: path.clone(), source: source.into() })?;

    let mut file = BufWriter::with_capacity(128 << 10, folder.file(name)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).at("write", &path)?;
    file.write_all(&header).at("write", &path)?;
    for tensor in tensors {
        let computed = match tensor.elements {
            Elements::Stored(bytes) => {
                file.write_all(bytes).at("write", &path)?;
                continue;
            }
            Elements::Computed(compute) => encoded(&compute()?, tensor.dtype),
            Elements::Bytes(compute) => compute()?,
        };
        file.write_all(&computed).at("write", &path)?;
    }
    Ok(file.flush().at("write", &path)?)
}

/// The JSON header: name, type, shape and place of each tensor, in their order, padded to whole words.
fn header(tensors: &[NewTensor<'_>]) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut end = 0;
    let entries = tensors.iter().map(|tensor| {
        let start = end;
        end += match &tensor.elements {
            Elements::Stored(bytes) => bytes.len(),
            Elements::Computed(_) | Elements::Bytes(_) => {
                tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8
            }
        };
        let header = Header { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (start, end) };
        (tensor.name.clone(), header)
    });
    let notes = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(notes), entries.collect())?;
    let mut header = serde_json::to_vec(&metadata).expect("a header can be written");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn encoded(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::F16 => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
