//! Quantized matrices in safetensors files, as bitsandbytes serializes them and transformers reads them.
//!
//! Beside `X.weight` (U8, two codes a byte) lie `X.weight.absmax` (U8 codes, or F32 scales) and `X.weight.quant_map`
//! (F32, 16). With codes there are `X.weight.nested_absmax` (F32) and `X.weight.nested_quant_map` (F32, 256), too.
//! `X.weight.quant_state.bitsandbytes__nf4` is a JSON object as bytes.

use std::path::PathBuf;
use std::sync::Arc;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::nf4::{BLOCK, NestedScales, Nf4Matrix, Scales, VALUES};
use crate::error::{Error, Result};
use crate::weights::shards::Shards;

/// The JSON object.
#[derive(Debug, Deserialize, Serialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_offset: Option<f64>,
}

/// A tensor beside the codes.
pub(crate) struct Companion {
    /// What follows the name of the matrix.
    pub(crate) suffix: &'static str,
    pub(crate) dtype: Dtype,
    pub(crate) bytes: Vec<u8>,
}

const ABSMAX: &str = ".absmax";
const MAP: &str = ".quant_map";
const NESTED_ABSMAX: &str = ".nested_absmax";
const NESTED_MAP: &str = ".nested_quant_map";
const STATE: &str = ".quant_state.bitsandbytes__nf4";
const OTHER_STATE: &str = ".quant_state.bitsandbytes__fp4";

/// Whether some matrix of a checkpoint is quantized.
pub(crate) fn is_quantized(shards: &Shards) -> bool {
    shards.iter().any(|tensor| tensor.name.ends_with(STATE) || tensor.name.ends_with(OTHER_STATE))
}

/// The matrix of this name, if it is quantized.
pub(crate) fn read(shards: &Shards, tensor: &str) -> Result<Option<Nf4Matrix>> {
    let member = |suffix: &str| Member { shards, name: format!("{tensor}{suffix}") };
    if shards.entry(&format!("{tensor}{OTHER_STATE}")).is_some() {
        return Err(member(OTHER_STATE).invalid("4-bit floats (fp4)".to_owned(), "nf4".to_owned()));
    }
    if shards.entry(&format!("{tensor}{STATE}")).is_none() {
        return Ok(None);
    }
    let state = member(STATE);
    let parsed: Value = serde_json::from_slice(&state.bytes(Dtype::U8, None)?)
        .map_err(|source| Error::Json { path: state.path(), source: source.into() })?;
    let State { quant_type, blocksize, shape, nested_blocksize, nested_offset, .. } =
        State::deserialize(&parsed)
            .map_err(|source| Error::Json { path: state.path(), source: source.into() })?;
    let (rows, columns) = match (&quant_type[..], blocksize, &shape[..]) {
        ("nf4", BLOCK, [rows, columns]) if rows.checked_mul(*columns).is_some_and(|count| count > 0) => {
            (*rows, *columns)
        }
        _ => {
            let expected = format!("quant_type nf4, blocksize {BLOCK} and a shape of two dimensions");
            return Err(state.invalid(parsed.to_string(), expected));
        }
    };
    let count = rows * columns;
    let blocks = count.div_ceil(BLOCK);
    let map = member(MAP);
    if map.floats(16)? != VALUES {
        return Err(map.invalid("another list of values".to_owned(), "the values of nf4".to_owned()));
    }
    let scales = match (nested_blocksize, nested_offset) {
        (Some(block), Some(offset)) if block > 0 && offset.is_finite() => {
            let map = member(NESTED_MAP).floats(256)?;
            Scales::Nested(Box::new(NestedScales {
                codes: member(ABSMAX).bytes(Dtype::U8, Some(blocks))?,
                map: map.try_into().expect("256 values were asked for"),
                scales: member(NESTED_ABSMAX).floats(blocks.div_ceil(block))?,
                block,
                offset: offset as f32,
            }))
        }
        (None, None) => Scales::Plain(member(ABSMAX).floats(blocks)?),
        _ => {
            let expected = "nested_blocksize and nested_offset, or neither".to_owned();
            return Err(state.invalid(parsed.to_string(), expected));
        }
    };
    let codes = member("").bytes(Dtype::U8, Some(count.div_ceil(2)))?;
    Ok(Some(Nf4Matrix { rows, columns, codes, scales: Arc::new(scales) }))
}

/// The tensors that bitsandbytes writes beside the codes of a matrix whose elements were of `dtype`.
/// `scales` are those of the matrix.
pub(crate) fn companions(rows: usize, columns: usize, scales: &Scales, dtype: Dtype) -> Vec<Companion> {
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let dtype = match dtype {
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        _ => "float32",
    };
    let mut state = State {
        quant_type: "nf4".to_owned(),
        blocksize: BLOCK,
        dtype: dtype.to_owned(),
        shape: vec![rows, columns],
        nested_blocksize: None,
        nested_dtype: None,
        nested_offset: None,
    };
    let mut tensors = vec![Companion { suffix: MAP, dtype: Dtype::F32, bytes: floats(&VALUES) }];
    match scales {
        Scales::Plain(scales) => {
            tensors.push(Companion { suffix: ABSMAX, dtype: Dtype::F32, bytes: floats(scales) });
        }
        Scales::Nested(nested) => {
            state.nested_blocksize = Some(nested.block);
            state.nested_dtype = Some("float32".to_owned());
            state.nested_offset = Some(f64::from(nested.offset));
            tensors.extend([
                Companion { suffix: ABSMAX, dtype: Dtype::U8, bytes: nested.codes.clone() },
                Companion { suffix: NESTED_ABSMAX, dtype: Dtype::F32, bytes: floats(&nested.scales) },
                Companion { suffix: NESTED_MAP, dtype: Dtype::F32, bytes: floats(&nested.map) },
            ]);
        }
    }
    let state = serde_json::to_vec(&state).expect("a JSON value can be written");
    tensors.push(Companion { suffix: STATE, dtype: Dtype::U8, bytes: state });
    tensors
}

/// A tensor of the group.
struct Member<'a> {
    shards: &'a Shards,
    name: String,
}

impl Member<'_> {
    fn path(&self) -> PathBuf {
        self.shards.path_of(&self.name)
    }

    fn invalid(&self, found: String, expected: String) -> Error {
        Error::InvalidField { path: self.path(), field: self.name.clone(), found, expected }
    }

    fn bytes(&self, dtype: Dtype, length: Option<usize>) -> Result<Vec<u8>> {
        let Some(entry) = self.shards.entry(&self.name) else {
            return Err(Error::MissingTensor { path: self.path(), tensor: self.name.clone() });
        };
        let length = length.unwrap_or(entry.num_bytes());
        if entry.dtype != dtype || entry.num_bytes() != length {
            let found = format!("{:?} of shape {:?}", entry.dtype, entry.shape);
            return Err(self.invalid(found, format!("{dtype:?} of {length} bytes")));
        }
        Ok(self.shards.owned_bytes(entry))
    }

    fn floats(&self, count: usize) -> Result<Vec<f32>> {
        let bytes = self.bytes(Dtype::F32, Some(4 * count))?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        Err(Error::NotFinite { path: self.path(), tensor: self.name.clone() })
    }
}
