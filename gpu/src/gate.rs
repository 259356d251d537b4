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

/// An MLP between its projections.
#[derive(Clone, Copy, Debug)]
pub struct Combination<'a> {
    /// What the gate, or what is up where there is no gate, goes through.
    pub activation: Activation,
    /// A factor on each neuron (W).
    pub factors: Option<&'a Buffer<f32>>,
}

impl Combination<'_> {
    fn check(&self, gate: Option<&Half>, up: &Half) {
        assert!(self.factors.is_none_or(|factors| factors.len() == up.columns), "a factor for each neuron");
        let sizes = |x: &Half| (x.rows, x.columns, x.stride);
        assert!(gate.is_none_or(|gate| sizes(gate) == sizes(up)), "gate and up have one size");
    }
}

/// act(gate) * up * factors, or act(up) * factors where there is no gate: (T, W). Unlike [`forward`] it takes gate and
/// up as arrays of their own, as training needs them.
///
/// # Errors
///
/// The device fails.
pub fn combine(with: &Combination<'_>, gate: Option<&Half>, up: &Half, out: &mut Half) -> Result<()> {
    with.check(gate, up);
    assert_eq!((out.rows, out.stride), (up.rows, up.stride), "what comes out lies as what came in");
    Launch::new("combine", [up.rows, up.stride.div_ceil(256), 1], 256)
        .maybe(gate.map(|gate| &gate.buffer))
        .buffer(&up.buffer)
        .maybe(with.factors)
        .buffer(&out.buffer)
        .value(int(up.columns))
        .value(int(up.stride))
        .value(with.activation as i32)
        .run(up.buffer.gpu())
}

/// The gradient of [`combine`]: of what came out, (T, W), to those of `gate` and `up`, in place of them. With
/// `of_factors` the gradient becomes the terms of that of each z, a factor being max(z, 0). They are nothing where the
/// factor is zero.
///
/// # Errors
///
/// The device fails.
pub fn combine_backward(
    with: &Combination<'_>,
    gate: Option<&mut Half>,
    up: &mut Half,
    gradient: &mut Buffer<f32>,
    of_factors: bool,
) -> Result<()> {
    with.check(gate.as_deref(), up);
    assert_eq!(gradient.len(), up.rows * up.columns, "a gradient for each number");
    Launch::new("combine_backward", [up.rows, up.columns.div_ceil(256), 1], 256)
        .maybe(gate.as_ref().map(|gate| &gate.buffer))
        .buffer(&up.buffer)
        .maybe(with.factors)
        .buffer(gradient)
        .value(int(up.columns))
        .value(int(up.stride))
        .value(with.activation as i32)
        .value(i32::from(of_factors))
        .run(up.buffer.gpu())
}
