//! 4-bit NormalFloat matrices, unpacked.

use half::bf16;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};

/// A matrix of codes: two a byte, the first in the upper half, row after row; 64 codes share a scale.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Of the whole matrix.
    pub codes: &'a Buffer<u8>,
    /// Of each 64 codes.
    pub scales: &'a Buffer<f32>,
    /// What the 16 codes stand for.
    pub values: &'a Buffer<f32>,
    /// Input features.
    pub columns: usize,
}

/// Rows from `first` on in bf16, to `out` from element `to` on: (rows, stride), zeros beyond the columns.
///
/// # Errors
///
/// The device fails.
pub fn unpack(
    from: Packed<'_>,
    (first, rows): (usize, usize),
    out: &mut Buffer<bf16>,
    (to, stride): (usize, usize),
) -> Result<()> {
    let Packed { codes, scales, values, columns } = from;
    assert!(
        values.len() == 16 && stride >= columns && to + rows * stride <= out.len(),
        "rows fit what they go to"
    );
    let end = (first + rows) * columns;
    assert!(codes.len() >= end.div_ceil(2) && scales.len() >= end.div_ceil(64), "the matrix has these rows");
    Launch::new("unpack_nf4", [(rows * stride).div_ceil(256), 1, 1], 256)
        .buffer(codes)
        .buffer(scales)
        .buffer(values)
        .buffer_at(out, to)
        .value(first * columns)
        .value(int(rows))
        .value(int(columns))
        .value(int(stride))
        .run(out.gpu())
}
