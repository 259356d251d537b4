//! A model directory with quantized weights.

use std::collections::HashSet;
use std::path::Path;

use safetensors::Dtype;
use secateur_files::UnknownName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::{Display, EnumString, VariantNames};

use crate::architecture::{INT8_GROUP, Storage, int8};
use crate::compute::cpu::quantize_rows;
use crate::error::{Error, Result};
use crate::loaded::{Weights, merged};
use crate::weights::quantized::bitsandbytes;
use crate::weights::quantized::int8::scales_of;
use crate::weights::quantized::nf4::Nf4Matrix;
use crate::weights::tensors::Tensors;
use crate::weights::write::{Elements, NewTensor, write_directory};

/// How [`write_quantized`] stores linear layers.
///
/// ```
/// use secateur_encoders::QuantizedFormat;
/// assert_eq!("int8".parse(), Ok(QuantizedFormat::Int8));
/// assert_eq!(QuantizedFormat::default().to_string(), "nf4");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum QuantizedFormat {
    /// 4-bit NormalFloat in blocks of 64 with double quantization.
    #[default]
    Nf4,
    /// 8 bits with a scale for each 128 numbers of a row, multiplied in 8 bits on a CPU.
    Int8,
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<QuantizedFormat>("a format of quantized weights", found)
}

impl QuantizedFormat {
    /// What it takes on a disk.
    pub fn storage(self) -> Storage {
        match self {
            QuantizedFormat::Nf4 => Storage::Nf4,
            QuantizedFormat::Int8 => Storage::Int8,
        }
    }
}

/// Quantizes the linear layers of a model and writes it to the new directory `out`. Embeddings, norms, biases and heads
/// stay.
///
/// With [`QuantizedFormat::Nf4`] the files are those that transformers writes of a model that bitsandbytes quantized.
/// [`crate::Encoder::load`] gives the same vectors of them, bit for bit, as of the model with
/// [`crate::LoadOptions::quantize`].
///
/// With [`QuantizedFormat::Int8`] they are those of compressed-tensors, format "int-quantized". A CPU multiplies the
/// codes as they are unless another precision is asked for. Vectors are then those of the model with
/// [`crate::Precision::Int8`], bit for bit where products and sums are fused alike: on any processor with FMA.
///
/// `model` may be an adapter's directory, which is merged first. `base` is then the directory of the adapter's base. It
/// is needed where the adapter's configuration does not name one that is there. Tensors are quantized one at a time,
/// twice each.
///
/// # Errors
///
/// As loading the model; it is quantized already; `out` exists, or cannot be written.
pub fn write_quantized(
    model: impl AsRef<Path>,
    base: Option<&Path>,
    format: QuantizedFormat,
    out: impl AsRef<Path>,
) -> Result<()> {
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
    config["quantization_config"] = match format {
        QuantizedFormat::Nf4 => bitsandbytes_config(&skipped),
        QuantizedFormat::Int8 => int8::settings(&skipped),
    };

    let mut tensors = Vec::new();
    for info in list {
        match info.shape[..] {
            [rows, columns] if is_linear(info.name) => {
                let linear = Linear { source: &*source, name: info.name, dtype: info.dtype, rows, columns };
                match format {
                    QuantizedFormat::Nf4 => tensors.extend(linear.in_nf4()?),
                    QuantizedFormat::Int8 => tensors.extend(linear.in_int8()),
                }
            }
            _ => tensors.push(NewTensor::of(&*source, info)),
        }
    }
    write_directory(&files, &config, tensors, &[], out)
}

/// The matrix of a linear layer.
#[derive(Clone, Copy)]
struct Linear<'a> {
    source: &'a dyn Tensors,
    name: &'a str,
    /// The element type of its file.
    dtype: Dtype,
    rows: usize,
    columns: usize,
}

impl<'a> Linear<'a> {
    fn nf4(self) -> Result<Nf4Matrix> {
        let Linear { source, name, rows, columns, .. } = self;
        Ok(Nf4Matrix::quantize(&source.values(name, &[rows, columns])?, rows, columns))
    }

    fn in_nf4(self) -> Result<Vec<NewTensor<'a>>> {
        let Linear { name, dtype, rows, columns, .. } = self;
        // The scales are computed now, because the header needs the length of the offset's text. The codes, which are
        // many, are computed when they are written.
        let matrix = self.nf4()?;
        let companions = bitsandbytes::companions(rows, columns, matrix.scales(), dtype);
        let mut tensors: Vec<_> = companions
            .into_iter()
            .map(|companion| NewTensor {
                name: format!("{name}{}", companion.suffix),
                dtype: companion.dtype,
                shape: vec![companion.bytes.len() * 8 / companion.dtype.bitsize()],
                elements: Elements::Bytes(Box::new(move || Ok(companion.bytes))),
            })
            .collect();
        tensors.push(NewTensor {
            name: name.to_owned(),
            dtype: Dtype::U8,
            shape: vec![matrix.codes.len(), 1],
            elements: Elements::Bytes(Box::new(move || Ok(self.nf4()?.codes))),
        });
        Ok(tensors)
    }

    /// Codes and scales.
    fn int8(self) -> Result<(Vec<i8>, Vec<f32>)> {
        let Linear { source, name, rows, columns, .. } = self;
        Ok(quantize_rows(&source.values(name, &[rows, columns])?, columns))
    }

    fn in_int8(self) -> [NewTensor<'a>; 2] {
        let Linear { name, rows, columns, .. } = self;
        let codes = move || Ok(bytemuck::cast_slice(&self.int8()?.0).to_vec());
        [
            NewTensor {
                name: scales_of(name),
                dtype: Dtype::F32,
                shape: vec![rows, columns.div_ceil(INT8_GROUP)],
                elements: Elements::Computed(Box::new(move || Ok(self.int8()?.1.into()))),
            },
            NewTensor {
                name: name.to_owned(),
                dtype: Dtype::I8,
                shape: vec![rows, columns],
                elements: Elements::Bytes(Box::new(codes)),
            },
        ]
    }
}

/// What transformers writes for `BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
/// bnb_4bit_use_double_quant=True)`.
fn bitsandbytes_config(skipped: &[&str]) -> Value {
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
