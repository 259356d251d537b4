//! What training needs besides products: the way back through norms, and the optimizer.

use half::bf16;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::launch::{Launch, int};
use crate::rows::Norm;

/// The gradient of a norm by its input, added to `out`; `x`, `gradient` and `out` are (T, columns).
///
/// # Errors
///
/// The device fails.
pub fn norm_backward(
    x: &Buffer<f32>,
    norm: &Norm,
    gradient: &Buffer<f32>,
    out: &mut Buffer<f32>,
) -> Result<()> {
    let columns = norm.weight.len();
    assert!(
        x.len() == gradient.len() && x.len() == out.len() && x.len().is_multiple_of(columns),
        "equal sizes"
    );
    Launch::new("norm_backward", [x.len() / columns, 1, 1], 256)
        .buffer(x)
        .buffer(&norm.weight)
        .buffer(gradient)
        .buffer(out)
        .value(int(columns))
        .value(i32::from(norm.bias.is_some()))
        .value(norm.eps)
        .run(x.gpu())
}

/// AdamW (Loshchilov & Hutter 2019): p -= rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay p).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// The learning rate.
    pub rate: f32,
    /// How much of the mean is kept.
    pub beta1: f32,
    /// How much of the mean square is kept.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub eps: f32,
    /// What parameters lose, times the rate.
    pub decay: f32,
    /// Multiplies gradients first.
    pub scale: f32,
    /// t, from 1 on.
    pub step: u32,
}

impl AdamW {
    /// One step: parameters and both means change. `half` gets the parameters in bf16.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn step(
        &self,
        parameters: &mut Buffer<f32>,
        gradient: &Buffer<f32>,
        [mean, square]: [&mut Buffer<f32>; 2],
        half: Option<&mut Buffer<bf16>>,
    ) -> Result<()> {
        let count = parameters.len();
        assert!([gradient.len(), mean.len(), square.len()] == [count; 3], "a gradient for each parameter");
        assert!(half.as_ref().is_none_or(|half| half.len() == count), "a copy of each parameter");
        let exponent = f64::from(self.step);
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(exponent)) as f32;
        let with = [
            self.rate,
            self.beta1,
            self.beta2,
            self.eps,
            self.decay,
            self.scale,
            correction(self.beta1),
            correction(self.beta2),
        ];
        Launch::new("adamw", [count.div_ceil(256), 1, 1], 256)
            .buffer(parameters)
            .buffer(gradient)
            .buffer(mean)
            .buffer(square)
            .maybe(half.as_deref())
            .value(count)
            .value(with.map(f32::to_bits))
            .run(parameters.gpu())
    }
}

/// The sum of squares, in an order that depends on the number of values alone.
///
/// # Errors
///
/// The device fails.
pub fn squared_sum(x: &Buffer<f32>) -> Result<f64> {
    let parts = x.gpu().buffer::<f32>(x.len().div_ceil(65_536))?;
    let launch = Launch::new("squared_sum", [parts.len(), 1, 1], 256);
    launch.buffer(x).buffer(&parts).value(x.len()).run(x.gpu())?;
    Ok(parts.to_vec()?.into_iter().map(f64::from).sum())
}
