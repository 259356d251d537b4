//! A model directory made from another: the files beside the weights copied, the weights changed.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::json as json_file;
use crate::weights::checkpoint::StoredTensor;
use crate::weights::files::ModelFiles;

/// The files that are copied beside the weights, where they exist. The pooling's folder is found by modules.json.
const COPIED: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
];

/// A tensor to write.
pub(crate) struct NewTensor<'a> {
    pub(crate) name: String,
    /// As safetensors spells it: "F32".
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Elements<'a>,
}

/// Where a tensor's elements come from.
pub(crate) enum Elements<'a> {
    /// They lie in a file.
    Stored(&'a [u8]),
    /// They are computed when it is their turn, so that one tensor at a time is in memory, and rounded to the tensor's type.
    Computed(Box<dyn FnOnce() -> Result<Cow<'a, [f32]>> + 'a>),
    /// The same, as the bytes of the file.
    Bytes(Box<dyn FnOnce() -> Result<Vec<u8>> + 'a>),
}

impl<'a> From<StoredTensor<'a>> for NewTensor<'a> {
    fn from(tensor: StoredTensor<'a>) -> NewTensor<'a> {
        NewTensor {
            name: tensor.name.to_owned(),
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
            elements: Elements::Stored(tensor.bytes),
        }
    }
}

impl NewTensor<'_> {
    fn num_bytes(&self) -> usize {
        match &self.elements {
            Elements::Stored(bytes) => bytes.len(),
            Elements::Computed(_) | Elements::Bytes(_) => {
                self.shape.iter().product::<usize>() * element_size(&self.dtype)
            }
        }
    }
}

/// Writes the model directory `out`, which must not exist: `config` as config.json, the tensors as one model.safetensors,
/// the tokenizer and the files of sentence-transformers as `files` has them, and `others`, small files by name, in place of
/// those. It appears whole or not at all.
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
    appear_whole(out, |partial| write_files(files, config, tensors, others, partial))
}

/// The same for an adapter: `config` as adapter_config.json, the tensors as adapter_model.safetensors. `others` stand in for the
/// base's files of their names.
pub(crate) fn write_adapter(
    files: &ModelFiles,
    config: &Value,
    tensors: Vec<NewTensor<'_>>,
    others: &[(&str, &Value)],
    out: &Path,
) -> Result<()> {
    appear_whole(out, |partial| {
        for (name, value) in [("adapter_config.json", config)].iter().chain(others) {
            write_json(name, value, partial)?;
        }
        copy_files(files, others, partial)?;
        write_weights(tensors, &partial.join("adapter_model.safetensors"))?;
        sync_folder(partial)
    })
}

/// Lets `write` fill a folder beside `out`, which must not exist, and renames it.
fn appear_whole(out: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if out.exists() {
        return Err(io("create", out)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = out.with_file_name(name);
    fs::create_dir_all(&partial).map_err(io("create", &partial))?;
    let written = write(&partial).and_then(|()| fs::rename(&partial, out).map_err(io("rename", &partial)));
    if written.is_err() {
        // What is left of a failed attempt is of no use; the attempt's error is the one to report.
        let _ = fs::remove_dir_all(&partial);
    }
    written?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(parent)
}

fn write_json(name: &str, value: &Value, out: &Path) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).expect("a JSON value can be written");
    let path = out.join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("create", folder))?;
    }
    write_file(&path, |file| file.write_all(&text))
}

pub(crate) fn write_files(
    files: &ModelFiles,
    config: &Value,
    tensors: Vec<NewTensor<'_>>,
    others: &[(&str, &Value)],
    out: &Path,
) -> Result<()> {
    for (name, value) in [("config.json", config)].iter().chain(others) {
        write_json(name, value, out)?;
    }
    copy_files(files, others, out)?;
    write_weights(tensors, &out.join("model.safetensors"))?;
    sync_folder(out)
}

/// Copies the files that stand beside the weights, but for `others`, which are there already.
fn copy_files(files: &ModelFiles, others: &[(&str, &Value)], out: &Path) -> Result<()> {
    let mut copied: Vec<String> = COPIED.iter().map(|file| (*file).to_owned()).collect();
    let modules: Option<Vec<Value>> = json_file::read_if_there(&files.find("modules.json"))?;
    let paths = modules.iter().flatten().filter_map(|module| module["path"].as_str());
    copied.extend(paths.filter(|path| !path.is_empty()).map(|path| format!("{path}/config.json")));
    for file in copied {
        let from = files.find(&file);
        if !from.exists() || others.iter().any(|(name, _)| *name == file) {
            continue;
        }
        let bytes = fs::read(&from).map_err(io("read", &from))?;
        let to = out.join(&file);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(io("create", folder))?;
        }
        write_file(&to, |file| file.write_all(&bytes))?;
    }
    Ok(())
}

/// The layout of safetensors: the length of a JSON header, the header, the elements.
fn write_weights(mut tensors: Vec<NewTensor<'_>>, path: &Path) -> Result<()> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    // Wide elements first, so that all are aligned.
    tensors.sort_by_key(|tensor| std::cmp::Reverse(element_size(&tensor.dtype)));
    for tensor in &tensors {
        let start = end;
        end += tensor.num_bytes();
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, end]});
        header.insert(tensor.name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header).expect("a JSON value can be written");
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut failed = None;
    let written = write_file(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in tensors {
            let computed = match tensor.elements {
                Elements::Stored(bytes) => {
                    file.write_all(bytes)?;
                    continue;
                }
                Elements::Computed(compute) => compute().map(|values| encoded(&values, &tensor.dtype)),
                Elements::Bytes(compute) => compute(),
            };
            match computed {
                Ok(bytes) => file.write_all(&bytes)?,
                Err(error) => {
                    failed = Some(error);
                    return Err(std::io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    });
    failed.map_or(written, Err)
}

/// Bytes of an element.
fn element_size(dtype: &str) -> usize {
    match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    }
}

fn encoded(values: &[f32], dtype: &str) -> Vec<u8> {
    match dtype {
        "F16" => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        "BF16" => values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}

pub(crate) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let attempt = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        write(&mut file)?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    attempt().map_err(io("write", path))
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = PathBuf::from(path);
    move |source| Error::Io { action, path, source }
}
