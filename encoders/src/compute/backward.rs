//! What a backend must be able to do for training to go back through it.

use std::ops::Range;

use super::{AttentionShape, Backend, Spans};
use crate::architecture::Activation;
use crate::error::Result;
use crate::pooling::Pooling;

/// A backend with the gradients of its operations, for [`Tape`](super::tape::Tape).
///
/// In the names and letters below g is dL/dy of an operation's output y. What is trained, and its gradients, are
/// plain numbers on the host. Refilling takes these numbers over into weights that were loaded before, which know their
/// device.
pub(crate) trait Backward:
    Backend<
        Activations: Send + Sync + 'static,
        Linear: Send + Sync + 'static,
        Norm: Send + Sync + 'static,
        Table: Send + Sync + 'static,
        Rotation: Send + Sync + 'static,
    > + Send
    + Sized
    + 'static
{
    /// A small f32 matrix (N, K) that is multiplied with: a factor of a low-rank addition.
    type Matrix: Send + Sync + 'static;

    /// A matrix of zeros.
    fn matrix(&self, rows: usize, columns: usize) -> Self::Matrix;
    /// Takes other numbers, row-major.
    fn refill_matrix(matrix: &mut Self::Matrix, values: &[f32]);
    /// Takes other weights, row by row, and biases; they are held in the precision of those before.
    fn refill_linear(linear: &mut Self::Linear, rows: &[&[f32]], biases: &[f32]);
    /// Takes another weight and, where the norm has one, another bias.
    fn refill_norm(norm: &mut Self::Norm, weight: &[f32], bias: Option<&[f32]>);
    /// Takes other numbers: that of each element, row-major, from a function.
    fn refill_table(table: &mut Self::Table, value: impl Fn(usize) -> f32 + Sync);

    /// Output and input columns of a layer: (N, K).
    fn linear_shape(linear: &Self::Linear) -> (usize, usize);
    /// D, the columns that a norm is over.
    fn norm_length(norm: &Self::Norm) -> usize;
    /// Rows and columns of an array.
    fn shape(x: &Self::Activations) -> (usize, usize);

    /// An array of zeros.
    fn zeros(&self, rows: usize, columns: usize) -> Self::Activations;
    /// The same numbers in another array.
    fn copy(&self, x: &Self::Activations) -> Self::Activations;
    /// The sum of the products of all elements.
    fn dot(&self, x: &Self::Activations, y: &Self::Activations) -> Result<f64>;
    /// Zeroes a share of the elements and scales the others up, in place (Srivastava et al. 2014). By [`keeps`] these
    /// are the same elements for the same key.
    fn dropout(&self, x: &mut Self::Activations, key: u64, share: f32) -> Result<()>;

    /// `out[:, columns]` += `scale` x M^T: (T, K), (N, K) -> (T, N).
    fn add_product(
        &self,
        x: &Self::Activations,
        matrix: &Self::Matrix,
        scale: f32,
        out: &mut Self::Activations,
        columns: Range<usize>,
    ) -> Result<()>;
    /// `out` += `scale` g\[:, columns\] M: (T, N), (N, K) -> (T, K).
    fn add_transposed_product(
        &self,
        gradient: &Self::Activations,
        columns: Range<usize>,
        matrix: &Self::Matrix,
        scale: f32,
        out: &mut Self::Activations,
    ) -> Result<()>;
    /// `out` += g W, with the weights of a layer: (T, N), (N, K) -> (T, K).
    fn add_input_gradient(
        &self,
        gradient: &Self::Activations,
        linear: &Self::Linear,
        out: &mut Self::Activations,
    ) -> Result<()>;
    /// `out` += `scale` g\[:, columns\]^T x: (T, N), (T, K) -> (N, K), row-major.
    fn add_outer_product(
        &self,
        gradient: &Self::Activations,
        columns: Range<usize>,
        x: &Self::Activations,
        scale: f32,
        out: &mut [f32],
    ) -> Result<()>;
    /// `out` += the sum of each of the `columns` over all rows.
    fn add_column_sums(
        &self,
        gradient: &Self::Activations,
        columns: Range<usize>,
        out: &mut [f32],
    ) -> Result<()>;

    /// act(gate) * up * factors, or act(up) * factors: (T, I).
    fn combine(
        &self,
        mlp: &Combined<'_>,
        gate: Option<&Self::Activations>,
        up: &Self::Activations,
    ) -> Result<Self::Activations>;
    /// From the gradient of [`Backward::combine`] to those of `gate` and `up`, in place of them. Adds to `of_factors`
    /// the gradient of each factor, unless it is empty.
    fn combine_backward(
        &self,
        mlp: &Combined<'_>,
        gradient: Self::Activations,
        gate: Option<&mut Self::Activations>,
        up: &mut Self::Activations,
        of_factors: &mut [f32],
    ) -> Result<()>;
    /// From the gradient of [`Backend::norm_heads`] to that of its input `x`. Adds to `of_weight` and `of_bias` (K).
    fn norm_heads_backward(
        &self,
        norm: &Self::Norm,
        x: &Self::Activations,
        heads: Range<usize>,
        gradient: Self::Activations,
        of_parameters: [&mut [f32]; 2],
    ) -> Result<Self::Activations>;
    /// From the gradient of [`Backend::attention`] to that of its input.
    fn attention_backward(
        &self,
        qkv: &Self::Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
        gradient: &Self::Activations,
    ) -> Result<Self::Activations>;
    /// From the gradient of [`Backend::pool`], (B, D), to that of its input, (T, D).
    fn pool_backward(
        &self,
        gradient: &Self::Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Self::Activations>;
}

/// How the projections of an MLP are combined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Combined<'a> {
    pub(crate) activation: Activation,
    /// (I), where the neurons are masked or slimmed.
    pub(crate) factors: Option<&'a [f32]>,
}

/// Whether dropout of this share keeps the element at this index. The answer depends on the key and on where the
/// element is, so a batch that is computed again drops the same elements.
#[inline(always)]
pub(crate) fn keeps(index: usize, key: u64, share: f32) -> bool {
    let threshold = (f64::from(share) * f64::from(u32::MAX)) as u32;
    hash(index as u32 ^ key as u32).wrapping_add((key >> 32) as u32) >= threshold
}

/// A bijection of 32 bits with little bias (Mueller's hash with Wellons's constants, 2018); vectorizes.
fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}
