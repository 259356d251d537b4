//! A model directory with quantized weights.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::json as json_file;
use crate::loaded::Weights;
use crate::merge::merged;
use crate::weights::quantized::nf4::Nf4Matrix;
use crate::weights::quantized::stored;
use crate::weights::write::{Elements, NewTensor, write_directory};

/// Quantizes the linear layers of a model to [`crate::nf4`] and writes it to the new directory `out`, as transformers writes
/// a model that bitsandbytes quantized: transformers reads it, and so does [`crate::Encoder::load`], which then gives the
/// same vectors, bit for bit, as with [`crate::LoadOptions::quantize`].
///
/// `model` may be an adapter's directory: it is merged first; `base` is its base's directory, where the adapter's
/// configuration does not name one that is there. Tensors are quantized one at a time, twice each.
///
/// # Errors
///
/// As loading the model; it is quantized already; `out` exists, or cannot be written.
pub fn write_quantized(model: &Path, base: Option<&Path>, out: &Path) -> Result<()> {
    let Weights { files, config: config_path, checkpoint, architecture } = Weights::open(model, base)?;
    checkpoint.check_adapter(&architecture)?;
    if stored::is_quantized(&checkpoint) {
        return Err(Error::InvalidField {
            path: config_path,
            field: "quantization_config".to_owned(),
            found: "that of a quantized model".to_owned(),
            expected: "none: give the model that it was made from".to_owned(),
        });
    }
    let tensors = architecture.tensors().into_iter();
    let linear: HashSet<String> =
        tensors.filter(|tensor| tensor.is_linear()).map(|tensor| tensor.name).collect();
    let is_linear = |name: &str| linear.contains(architecture.bare_name(name));
    // transformers takes every linear layer it does not find here for a quantized one, heads and poolers too.
    let mut skipped: Vec<&str> = checkpoint
        .iter()
        .filter(|tensor| tensor.shape.len() == 2 && !is_linear(tensor.name))
        .filter_map(|tensor| tensor.name.strip_suffix(".weight"))
        .collect();
    if !skipped.contains(&"lm_head") {
        skipped.push("lm_head");
    }
    let mut config: Value = json_file::read(&config_path)?;
    config["vocab_size"] = architecture.vocab_size.into();
    config["quantization_config"] = quantization_config(&skipped);

    let quantized = |name: &str, shape: &[usize]| -> Result<Nf4Matrix> {
        Ok(Nf4Matrix::quantize(&checkpoint.merged(name, shape)?, shape[0], shape[1]))
    };
    let mut tensors = Vec::new();
    for tensor in checkpoint.iter() {
        let &[rows, columns] = tensor.shape else {
            tensors.push(merged(&checkpoint, &architecture, tensor));
            continue;
        };
        if !is_linear(tensor.name) {
            tensors.push(merged(&checkpoint, &architecture, tensor));
            continue;
        }
        // The scales now, for the length of what says the offset; the codes, which are many, when they are written.
        let matrix = quantized(tensor.name, tensor.shape)?;
        for companion in stored::companions(rows, columns, matrix.scales(), &tensor.dtype) {
            let size = if companion.dtype == "F32" { 4 } else { 1 };
            tensors.push(NewTensor {
                name: format!("{}{}", tensor.name, companion.suffix),
                dtype: companion.dtype.to_owned(),
                shape: vec![companion.bytes.len() / size],
                elements: Elements::Bytes(Box::new(move || Ok(companion.bytes))),
            });
        }
        let quantized = &quantized;
        tensors.push(NewTensor {
            name: tensor.name.to_owned(),
            dtype: "U8".to_owned(),
            shape: vec![matrix.codes.len(), 1],
            elements: Elements::Bytes(Box::new(move || Ok(quantized(tensor.name, tensor.shape)?.codes))),
        });
    }
    write_directory(&files, &config, tensors, &[], out)
}

/// What transformers writes for `BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
/// bnb_4bit_use_double_quant=True)`.
fn quantization_config(skipped: &[&str]) -> Value {
    json!({
        "quant_method": "bitsandbytes",
        "load_in_4bit": true,
        "load_in_8bit": false,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": true,
        "bnb_4bit_compute_dtype": "float32",
        "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": skipped,
    })
}
