//! Matrices in 8 bits: what [`crate::Precision::Int8`] makes of weights when a model is loaded, kept in its file.
//!
//! Beside `X.weight` (I8, (rows, columns)) lies `X.weight_scale` (F32, (rows, groups)). A number is its code times the
//! scale of its group: of [`GROUP`] numbers of a row, of which the last group may have fewer. That is the format
//! "int-quantized" of compressed-tensors with the strategy "group"; it refuses a last group that is shorter.

use std::borrow::Cow;

use safetensors::Dtype;

use crate::architecture::INT8_GROUP as GROUP;
use crate::error::{Error, Result};
use crate::weights::shards::Shards;

/// What follows the name of a matrix in the name of its scales.
const SCALES: &str = "_scale";

/// Some rows of a matrix in 8 bits.
#[derive(Clone, Debug)]
pub struct Int8Rows<'a> {
    /// (rows, columns)
    pub codes: Cow<'a, [i8]>,
    /// (rows, groups)
    pub scales: Cow<'a, [f32]>,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

impl<'a> Int8Rows<'a> {
    /// The codes of a row, and the scale of each of its groups.
    pub fn row(&self, row: usize) -> (&[i8], &[f32]) {
        let groups = self.columns.div_ceil(GROUP);
        (&self.codes[row * self.columns..][..self.columns], &self.scales[row * groups..][..groups])
    }

    /// Appends the numbers to `values`, row by row.
    pub(crate) fn dequantize_into(&self, values: &mut Vec<f32>) {
        for row in 0..self.rows {
            let (codes, scales) = self.row(row);
            for (codes, scale) in codes.chunks(GROUP).zip(scales) {
                values.extend(codes.iter().map(|code| f32::from(*code) * scale));
            }
        }
    }

    /// The first `rows` rows and the others.
    pub(crate) fn split(self, rows: usize) -> [Int8Rows<'a>; 2] {
        let Int8Rows { codes, scales, rows: all, columns } = self;
        let [first_codes, codes] = split(codes, rows * columns);
        let [first_scales, scales] = split(scales, rows * columns.div_ceil(GROUP));
        [
            Int8Rows { codes: first_codes, scales: first_scales, rows, columns },
            Int8Rows { codes, scales, rows: all - rows, columns },
        ]
    }
}

/// The elements before `middle` and the others.
pub(crate) fn split<T: Clone>(values: Cow<'_, [T]>, middle: usize) -> [Cow<'_, [T]>; 2] {
    match values {
        Cow::Borrowed(values) => [values[..middle].into(), values[middle..].into()],
        Cow::Owned(mut values) => {
            let rest = values.split_off(middle);
            [values.into(), rest.into()]
        }
    }
}

/// The name of the scales of a matrix.
pub(crate) fn scales_of(tensor: &str) -> String {
    format!("{tensor}{SCALES}")
}

/// The matrix whose scales have this name.
pub(crate) fn matrix_of(scales: &str) -> Option<&str> {
    scales.strip_suffix(SCALES)
}

/// Whether some matrix of a checkpoint is stored so.
pub(crate) fn is_quantized(shards: &Shards) -> bool {
    shards.iter().any(|tensor| {
        let entry = matrix_of(tensor.name).and_then(|matrix| shards.entry(matrix));
        entry.is_some_and(|entry| entry.dtype == Dtype::I8)
    })
}

/// The matrix of this name, if it is stored so: where it is mapped.
pub(crate) fn read<'a>(shards: &'a Shards, tensor: &str) -> Result<Option<Int8Rows<'a>>> {
    let name = scales_of(tensor);
    let (Some(codes), Some(scales)) = (shards.tensor(tensor), shards.tensor(&name)) else { return Ok(None) };
    let invalid = |name: &str, found: String, expected: String| Error::InvalidField {
        path: shards.path_of(name),
        field: name.to_owned(),
        found,
        expected,
    };
    let (Dtype::I8, &[rows, columns]) = (codes.dtype, codes.shape) else {
        let found = format!("{:?} of shape {:?}, beside {name}", codes.dtype, codes.shape);
        return Err(invalid(tensor, found, "I8 of two dimensions".to_owned()));
    };
    let expected = [rows, columns.div_ceil(GROUP)];
    if scales.dtype != Dtype::F32 || scales.shape != expected {
        let found = format!("{:?} of shape {:?}", scales.dtype, scales.shape);
        return Err(invalid(
            &name,
            found,
            format!("F32 of shape {expected:?}, one for {GROUP} of {columns}"),
        ));
    }
    let borrowed = shards.entry(&name).and_then(|entry| shards.borrowed_floats(entry));
    let scales: Cow<'_, [f32]> = match borrowed {
        Some(scales) => scales.into(),
        None => scales.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    };
    // Codes reach from -128 to 127.
    if !scales.iter().all(|scale| (128.0 * scale).is_finite()) {
        return Err(Error::NotFinite { path: shards.path_of(&name), tensor: name });
    }
    Ok(Some(Int8Rows { codes: bytemuck::cast_slice(codes.bytes).into(), scales, rows, columns }))
}
