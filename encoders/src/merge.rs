//! An adapter and its base as one model directory.

use std::path::Path;

use serde_json::Value;

use crate::architecture::Architecture;
use crate::error::Result;
use crate::json;
use crate::loaded::Weights;
use crate::weights::checkpoint::{Checkpoint, StoredTensor};
use crate::weights::write::{Elements, NewTensor, write_directory};

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
    let Weights { files, config: config_path, checkpoint, architecture } = Weights::open(adapter, base)?;
    checkpoint.check_adapter(&architecture)?;
    let mut config: Value = json::read(&config_path)?;
    config["vocab_size"] = architecture.vocab_size.into();
    let tensors = checkpoint.iter().map(|tensor| merged(&checkpoint, &architecture, tensor)).collect();
    write_directory(&files, &config, tensors, &[], out)
}

/// A tensor of the base with what the adapter adds to it.
pub(crate) fn merged<'a>(
    checkpoint: &'a Checkpoint,
    architecture: &Architecture,
    tensor: StoredTensor<'a>,
) -> NewTensor<'a> {
    let bare = architecture.bare_name(tensor.name);
    let Some(adapter) = checkpoint.adapter().filter(|adapter| adapter.changes(bare)) else {
        return tensor.into();
    };
    let shape = adapter.replacement(bare).map_or(tensor.shape, |replacement| replacement.shape);
    let (name, merged_shape) = (tensor.name, shape.to_vec());
    NewTensor {
        name: name.to_owned(),
        dtype: tensor.dtype,
        shape: shape.to_vec(),
        elements: Elements::Computed(Box::new(move || checkpoint.merged(name, &merged_shape))),
    }
}
