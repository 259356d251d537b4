//! An adapter and its base as one model directory.

use std::path::Path;

use crate::error::{Error, Result};
use crate::loaded::{Weights, merged};
use crate::weights::tensors::Tensors;
use crate::weights::write::{NewTensor, write_directory};

/// Merges the LoRA adapter in `adapter` into its base and writes the whole model to the new directory `out`. That
/// directory has one model.safetensors in the element types of the base, config.json, tokenizer and the files of
/// sentence-transformers.
///
/// `base` is the base's directory, needed if the adapter's configuration does not name an existing one. Merged
/// weights are rounded once, to the base's type. Tensors are merged one at a time, so the memory is that of the
/// largest tensor.
///
/// # Errors
///
/// As loading the adapter; the directory is no adapter's; its base is quantized; `out` exists, or cannot be written.
pub fn write_merged(adapter: impl AsRef<Path>, base: Option<&Path>, out: impl AsRef<Path>) -> Result<()> {
    let directory = adapter.as_ref();
    let out = out.as_ref();
    let Weights { files, config_path, mut config, checkpoint, adapter, architecture } =
        Weights::open(directory, base)?;
    let Some(adapter) = adapter else {
        return Err(Error::MissingFile {
            directory: directory.to_owned(),
            file: "adapter_config.json",
            advice: "it is a whole model, not an adapter; name the directory of an adapter, such as the model/ of a \
                     training without --full",
        });
    };
    let tensors = merged(checkpoint, Some(adapter), &architecture)?;
    if tensors.is_quantized() {
        return Err(Error::InvalidField {
            path: config_path,
            field: "quantization_config".to_owned(),
            found: "that of a quantized model".to_owned(),
            expected: "none: merge into the model that it was made from, then quantize".to_owned(),
        });
    }
    config["vocab_size"] = architecture.vocab_size.into();
    write_directory(&files, &config, unchanged(&*tensors), &[], out)
}

/// All tensors of a source as it has them.
fn unchanged(tensors: &dyn Tensors) -> Vec<NewTensor<'_>> {
    tensors.list().into_iter().map(|info| NewTensor::of(tensors, info)).collect()
}
