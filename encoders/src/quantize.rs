//! A model directory with quantized weights.

use std::collections::HashSet;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::loaded::{Weights, merged};
use crate::weights::quantized::bitsandbytes;
use crate::weights::quantized::nf4::Nf4Matrix;
use crate::weights::write::{Elements, NewTensor, write_directory};

/// Quantizes the linear layers of a model to [`crate::nf4`] and writes it to the new directory `out`. The files are
/// those that transformers writes of a model that bitsandbytes quantized, so transformers reads them.
/// [`crate::Encoder::load`] reads them, too. It then gives the same vectors, bit for bit, as with
/// [`crate::LoadOptions::quantize`].
///
/// `model` may be an adapter's directory, which is merged first. `base` is then the directory of the adapter's base. It
/// is needed where the adapter's configuration does not name one that is there. Tensors are quantized one at a time,
/// twice each.
///
/// # Errors
///
/// As loading the model; it is quantized already; `out` exists, or cannot be written.
pub fn write_quantized(model: impl AsRef<Path>, base: Option<&Path>, out: impl AsRef<Path>) -> Result<()> {
    let model = model.as_ref();
    let out = out.as_ref();
    let Weights { files, config_path, mut config, checkpoint, adapter, architecture } =
        Weights::open(model, base)?;
    let source = merged(checkpoint, adapter, &architecture)?;
    if source.is_quantized() {
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
    let list = source.list();
    // transformers takes every linear layer it does not find here for a quantized one, heads and poolers too.
    let mut skipped: Vec<&str> = list
        .iter()
        .filter(|tensor| tensor.shape.len() == 2 && !is_linear(tensor.name))
        .filter_map(|tensor| tensor.name.strip_suffix(".weight"))
        .collect();
    if !skipped.contains(&"lm_head") {
        skipped.push("lm_head");
    }
    config["vocab_size"] = architecture.vocab_size.into();
    config["quantization_config"] = quantization_config(&skipped);

    let quantized = |name: &str, rows: usize, columns: usize| -> Result<Nf4Matrix> {
        Ok(Nf4Matrix::quantize(&source.values(name, &[rows, columns])?, rows, columns))
    };
    let mut tensors = Vec::new();
    for info in list {
        let (name, dtype) = (info.name, info.dtype);
        let &[rows, columns] = &info.shape[..] else {
            tensors.push(NewTensor::of(&*source, info));
            continue;
        };
        if !is_linear(name) {
            tensors.push(NewTensor::of(&*source, info));
            continue;
        }
        // The scales are computed now, because the header needs the length of the offset's text. The codes, which are
        // many, are computed when they are written.
        let matrix = quantized(name, rows, columns)?;
        for companion in bitsandbytes::companions(rows, columns, matrix.scales(), dtype) {
            tensors.push(NewTensor {
                name: format!("{name}{}", companion.suffix),
                dtype: companion.dtype,
                shape: vec![companion.bytes.len() * 8 / companion.dtype.bitsize()],
                elements: Elements::Bytes(Box::new(move || Ok(companion.bytes))),
            });
        }
        let quantized = &quantized;
        tensors.push(NewTensor {
            name: name.to_owned(),
            dtype: Dtype::U8,
            shape: vec![matrix.codes.len(), 1],
            elements: Elements::Bytes(Box::new(move || Ok(quantized(name, rows, columns)?.codes))),
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
