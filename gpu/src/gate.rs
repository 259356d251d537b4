//! The non-linearities of MLPs.

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};
use crate::rows::Half;

/// A non-linearity. The kernels have the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Activation {
    /// x times the normal distribution function (exact, by erf).
    Gelu,
    /// The tanh form of the same.
    GeluTanh,
    /// x times the logistic function.
    Silu,
    /// max(x, 0)
    Relu,
    /// tanh(x)
    Tanh,
}

fn check(x: &Half, bias: Option<&Buffer<f32>>, out: &Half) -> bool {
    let gated = x.stride == 2 * out.stride;
    assert!(gated || x.stride == out.stride, "as wide, or twice as wide, as what comes out");
    assert!(x.rows == out.rows && out.stride.is_multiple_of(8), "rows of a multiple of 8");
    assert!(bias.is_none_or(|bias| bias.len() == x.stride), "a bias for each column");
    gated
}

/// act(gate) * up: (T, 2 W) -> (T, W), or act(x): (T, W) -> (T, W), whichever the strides say. A bias is added first.
///
/// # Errors
///
/// The device fails.
pub fn forward(x: &Half, bias: Option<&Buffer<f32>>, activation: Activation, out: &mut Half) -> Result<()> {
    let gated = check(x, bias, out);
    Launch::new("gate", [x.rows, (out.stride / 8).div_ceil(256), 1], 256)
        .buffer(&x.buffer)
        .maybe(bias)
        .buffer(&out.buffer)
        .value(int(out.stride))
        .value(i32::from(gated))
        .value(activation as i32)
        .run(x.buffer.gpu())
}

/// The gradient of [`forward`]: that of what came out (T, W) -> that of `x`.
///
/// # Errors
///
/// The device fails.
pub fn backward(
    x: &Half,
    bias: Option<&Buffer<f32>>,
    activation: Activation,
    gradient: &Half,
    out: &mut Half,
) -> Result<()> {
    let gated = check(x, bias, gradient);
    assert_eq!((out.rows, out.stride), (x.rows, x.stride), "what comes out lies as what came in");
    Launch::new("gate_backward", [x.rows, gradient.stride.div_ceil(256), 1], 256)
        .buffer(&x.buffer)
        .maybe(bias)
        .buffer(&gradient.buffer)
        .buffer(&out.buffer)
        .value(int(gradient.stride))
        .value(i32::from(gated))
        .value(activation as i32)
        .run(x.buffer.gpu())
}
