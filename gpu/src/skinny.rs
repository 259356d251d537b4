//! Products of few rows, where reading the weight is all the work: each with what comes before and after it in one
//! launch.

use half::bf16;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::gate::Activation;
use crate::launch::{Launch, int};
use crate::rows::{Half, Norm};

/// The most rows. On an H200, cuBLASLt is faster from 15 rows on.
pub const MOST: usize = 14;
/// The most rows that the kernels can do.
pub const LIMIT: usize = 16;

/// What is multiplied.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// bf16 rows.
    Half(&'a Half),
    /// The RMS norm of f32 rows; it has no bias.
    Normed(&'a Buffer<f32>, &'a Norm),
}

/// Where the products go. A bias, if there is one, is added first.
#[derive(Debug)]
pub enum Output<'a> {
    /// To bf16 rows.
    Store(&'a mut Half),
    /// Added to f32 rows (T, rows of the weight).
    Add(&'a mut Buffer<f32>),
    /// act(first half of the weight) * second half.
    Gate(&'a mut Half, Activation),
    /// act(all)
    Activate(&'a mut Half, Activation),
}

/// A matrix of a linear layer: rows begin at multiples of `stride`.
#[derive(Clone, Copy, Debug)]
pub struct Weight<'a> {
    /// (rows, stride)
    pub buffer: &'a Buffer<bf16>,
    /// Output features that are computed.
    pub rows: usize,
    /// Input features, rounded up with zeros to a multiple of 8.
    pub stride: usize,
    /// (rows)
    pub bias: Option<&'a Buffer<f32>>,
}

/// x W^T for at most [`LIMIT`] rows of x.
///
/// # Errors
///
/// The device fails.
pub fn multiply(x: Input<'_>, weight: Weight<'_>, out: Output<'_>) -> Result<()> {
    let Weight { buffer, rows, stride, bias } = weight;
    assert!(rows * stride <= buffer.len() && stride.is_multiple_of(8), "the weight has its rows");
    assert!(bias.is_none_or(|bias| bias.len() >= rows), "a bias for each row");
    let (tokens, columns) = match x {
        Input::Half(x) => (x.rows, x.stride),
        Input::Normed(x, norm) => (x.len() / norm.weight.len(), norm.weight.len()),
    };
    assert!(tokens <= LIMIT, "{tokens} rows are not few");
    assert_eq!(columns, stride, "the weight is as wide as its input");
    let (form, out_rows, out_stride, activation) = match &out {
        Output::Store(out) => (0, rows.min(out.stride), out.stride, 0),
        Output::Add(_) => (1, rows, rows, 0),
        Output::Gate(out, activation) => {
            assert_eq!(rows, 2 * out.stride, "a gate and what it gates");
            (2, out.stride, out.stride, *activation as i32)
        }
        Output::Activate(out, activation) => (3, rows.min(out.stride), out.stride, *activation as i32),
    };
    let eps = match x {
        Input::Half(_) => 0.0,
        Input::Normed(_, norm) => {
            assert!(norm.bias.is_none(), "the norm takes no mean away");
            norm.eps
        }
    };
    let of_block = if form == 2 { 16 } else { 32 };
    let wide = tokens > 8;
    let (kernel, shared) = match (x, wide) {
        (Input::Half(_), false) => ("skinny_1", 1),
        (Input::Half(_), true) => ("skinny_2", 2),
        (Input::Normed(..), false) => ("skinny_normed_1", 1),
        (Input::Normed(..), true) => ("skinny_normed_2", 2),
    };
    // Sums of 8 warps, and their sums of squares.
    let shared = 8 * (2 * shared * 128 + 8 * shared) * size_of::<f32>();
    let word = |number: usize| int(number).cast_unsigned();
    let words = [
        word(tokens),
        word(stride),
        word(columns),
        word(stride),
        word(out_rows),
        word(out_stride),
        form,
        activation.cast_unsigned(),
        eps.to_bits(),
    ];
    let launch = Launch::new(kernel, [out_rows.div_ceil(of_block), 1, 1], 256).shared(shared);
    let launch = match x {
        Input::Half(x) => launch.buffer(&x.buffer).maybe::<f32>(None),
        Input::Normed(x, norm) => launch.buffer(x).buffer(&norm.weight),
    };
    let launch = launch.buffer(buffer).maybe(bias);
    let launch = match out {
        Output::Add(out) => {
            assert_eq!(out.len(), tokens * rows, "as many rows come out");
            launch.buffer(out)
        }
        Output::Store(out) | Output::Gate(out, _) | Output::Activate(out, _) => {
            assert_eq!(out.rows, tokens, "as many rows come out");
            launch.buffer(&out.buffer)
        }
    };
    launch.value(words).run(buffer.gpu())
}
