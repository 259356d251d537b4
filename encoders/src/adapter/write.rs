//! An adapter and its base as one model directory.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::json as json_file;
use crate::model::Architecture;

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

/// Merges the LoRA adapter in `adapter` into its base and writes the whole model to the new directory `out`: one
/// model.safetensors in the element types of the base, config.json, tokenizer and the files of sentence-transformers.
///
/// `base` is the base's directory, where the adapter's configuration does not name one that is there. Merged weights are
/// rounded to the base's type, once. Tensors are merged one at a time: the memory is that of the largest.
///
/// # Errors
///
/// As loading the adapter; `out` exists, or cannot be written.
pub fn write_merged(adapter: &Path, base: Option<&Path>, out: &Path) -> Result<()> {
    let files = ModelFiles::locate(adapter, base)?;
    let config_path = files.config()?;
    let mut architecture = Architecture::read(&config_path)?;
    let mut checkpoint = Checkpoint::open(files.model())?;
    if let Some(adapter) = files.adapter() {
        checkpoint = checkpoint.with_adapter(adapter, &mut architecture)?;
    }
    checkpoint.check_adapter(&architecture)?;

    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    if out.exists() {
        return Err(io("create", out)(std::io::ErrorKind::AlreadyExists.into()));
    }
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = out.with_file_name(name);
    fs::create_dir_all(&partial).map_err(io("create", &partial))?;
    let written = write_files(&files, &config_path, &architecture, &checkpoint, &partial)
        .and_then(|()| fs::rename(&partial, out).map_err(io("rename", &partial)));
    if written.is_err() {
        // What is left of a failed attempt is of no use; the attempt's error is the one to report.
        let _ = fs::remove_dir_all(&partial);
    }
    written?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(parent)
}

fn write_files(
    files: &ModelFiles,
    config_path: &Path,
    architecture: &Architecture,
    checkpoint: &Checkpoint,
    out: &Path,
) -> Result<()> {
    let mut config: Value = json_file::read(config_path)?;
    config["vocab_size"] = architecture.vocab_size.into();
    let text = serde_json::to_vec_pretty(&config).expect("a JSON value can be written");
    write_file(&out.join("config.json"), |file| file.write_all(&text))?;
    let mut copied: Vec<String> = COPIED.iter().map(|file| (*file).to_owned()).collect();
    let modules: Option<Vec<Value>> = json_file::read_if_there(&files.find("modules.json"))?;
    let paths = modules.iter().flatten().filter_map(|module| module["path"].as_str());
    copied.extend(paths.filter(|path| !path.is_empty()).map(|path| format!("{path}/config.json")));
    for file in copied {
        let from = files.find(&file);
        if !from.exists() {
            continue;
        }
        let bytes = fs::read(&from).map_err(|source| Error::Io { action: "read", path: from, source })?;
        let to = out.join(&file);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|source| Error::Io {
                action: "create",
                path: folder.to_owned(),
                source,
            })?;
        }
        write_file(&to, |file| file.write_all(&bytes))?;
    }
    write_weights(checkpoint, architecture, &out.join("model.safetensors"))?;
    sync_folder(out)
}

/// The layout of safetensors: the length of a JSON header, the header, the elements.
fn write_weights(checkpoint: &Checkpoint, architecture: &Architecture, path: &Path) -> Result<()> {
    let adapter = checkpoint.adapter();
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    // Wide elements first, so that all are aligned.
    let mut tensors: Vec<_> = checkpoint.iter().collect();
    tensors.sort_by_key(|tensor| std::cmp::Reverse(element_size(&tensor.dtype)));
    for tensor in &tensors {
        let bare = architecture.bare_name(tensor.name);
        let replacement = adapter.and_then(|adapter| adapter.replacement(bare));
        let shape = replacement.map_or(tensor.shape, |replacement| replacement.shape);
        let bytes = if adapter.is_some_and(|adapter| adapter.changes(bare)) {
            shape.iter().product::<usize>() * element_size(&tensor.dtype)
        } else {
            tensor.bytes.len()
        };
        let entry = json!({"dtype": tensor.dtype, "shape": shape, "data_offsets": [end, end + bytes]});
        header.insert(tensor.name.to_owned(), entry);
        end += bytes;
    }
    let mut header = serde_json::to_vec(&header).expect("a JSON value can be written");
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut failed = None;
    let written = write_file(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in &tensors {
            let bare = architecture.bare_name(tensor.name);
            if !adapter.is_some_and(|adapter| adapter.changes(bare)) {
                file.write_all(tensor.bytes)?;
                continue;
            }
            let shape = adapter.and_then(|adapter| adapter.replacement(bare));
            let shape = shape.map_or(tensor.shape, |replacement| replacement.shape);
            match checkpoint.merged(tensor.name, shape) {
                Ok(values) => file.write_all(&encoded(&values, &tensor.dtype))?,
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
    attempt().map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    let error = |source| Error::Io { action: "sync", path: PathBuf::from(folder), source };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(error)
}
