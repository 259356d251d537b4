//! What a backend must be able to do for training to go back through it.

use std::ops::Range;

use super::numbers::{Numbers, Place, PlaceMut};
use super::{AttentionShape, Backend, Spans};
use crate::architecture::Activation;
use crate::error::Result;
use crate::pooling::Pooling;

/// A backend with the gradients of its operations, for [`Tape`](super::tape::Tape).
///
/// In the names and letters below g is dL/dy of an operation's output y. What is trained, and its gradients, are
/// [`Numbers`] in the backend's own memory. Refilling takes these numbers over into weights that were loaded before,
/// which know their device.
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
    /// Where what is trained is kept.
    type Numbers: Numbers;
    /// A small matrix (N, K) that is multiplied with: a factor of a low-rank addition.
    type Matrix: Send + Sync + 'static;

    /// What numbers are taken from.
    fn memory(&self) -> <Self::Numbers as Numbers>::Memory;
    /// The numbers of an array, row-major.
    fn to_numbers(&self, x: Self::Activations) -> Result<Self::Numbers>;

    /// A matrix of zeros.
    fn matrix(&self, rows: usize, columns: usize) -> Result<Self::Matrix>;
    /// Takes other numbers, row-major.
    fn refill_matrix(matrix: &mut Self::Matrix, values: Place<'_, Self::Numbers>) -> Result<()>;
    /// Takes other weights and biases; they are held in the precision of those before. The blocks have every output, in
    /// order.
    fn refill_linear(linear: &mut Self::Linear, blocks: &[NewBlock<'_, Self::Numbers>]) -> Result<()>;
    /// Takes another weight, to which `offset` is added, and, where the norm has one, another bias.
    fn refill_norm(
        norm: &mut Self::Norm,
        weight: Place<'_, Self::Numbers>,
        offset: f32,
        bias: Option<Place<'_, Self::Numbers>>,
    ) -> Result<()>;
    /// Takes other numbers.
    fn refill_table(table: &mut Self::Table, values: NewTable<'_, Self::Numbers>) -> Result<()>;
    /// ReLU of the numbers from the first on, to all of `out`.
    fn refill_relu(out: &mut Self::Numbers, z: Place<'_, Self::Numbers>) -> Result<()>;

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
    /// `sum` + g W, with the weights of a layer, or g W alone: (T, N), (N, K) -> (T, K).
    fn input_gradient(
        &self,
        gradient: &Self::Activations,
        linear: &Self::Linear,
        sum: Option<Self::Activations>,
    ) -> Result<Self::Activations>;
    /// `out` += `scale` g\[:, columns\]^T x: (T, N), (T, K) -> (N, K), row-major.
    fn add_outer_product(
        &self,
        gradient: &Self::Activations,
        columns: Range<usize>,
        x: &Self::Activations,
        scale: f32,
        out: PlaceMut<'_, Self::Numbers>,
    ) -> Result<()>;
    /// `out` += the sum of each of the `columns` over all rows.
    fn add_column_sums(
        &self,
        gradient: &Self::Activations,
        columns: Range<usize>,
        out: PlaceMut<'_, Self::Numbers>,
    ) -> Result<()>;

    /// act(gate) * up * factors, or act(up) * factors: (T, I).
    fn combine(
        &self,
        mlp: &Combined<'_, Self::Numbers>,
        gate: Option<&Self::Activations>,
        up: &Self::Activations,
    ) -> Result<Self::Activations>;
    /// From the gradient of [`Backward::combine`] to those of `gate` and `up`, in place of them. Adds to `of_factors`
    /// the gradient of z of each factor ReLU(z): nothing where the factor is zero.
    fn combine_backward(
        &self,
        mlp: &Combined<'_, Self::Numbers>,
        gradient: Self::Activations,
        gate: Option<&mut Self::Activations>,
        up: &mut Self::Activations,
        of_factors: Option<&mut Self::Numbers>,
    ) -> Result<()>;
    /// From the gradient of [`Backend::norm_heads`] to that of its input `x`. Adds to those of weight and bias, K each.
    fn norm_heads_backward(
        &self,
        norm: &Self::Norm,
        x: &Self::Activations,
        heads: Range<usize>,
        gradient: Self::Activations,
        of_parameters: Option<&mut [Self::Numbers; 2]>,
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
#[derive(Debug)]
pub(crate) struct Combined<'a, N> {
    pub(crate) activation: Activation,
    /// (I), where the neurons are masked or slimmed.
    pub(crate) factors: Option<&'a N>,
}

/// New weights of some outputs of a linear layer.
pub(crate) struct NewBlock<'a, N> {
    /// The outputs.
    pub(crate) rows: Range<usize>,
    /// (rows, K), row-major
    pub(crate) weight: Place<'a, N>,
    /// (rows); zero where there is none.
    pub(crate) bias: Option<Place<'a, N>>,
}

/// New numbers of a table (V, D).
pub(crate) enum NewTable<'a, N> {
    /// These (V, D) times a factor.
    Scaled(&'a N, f32),
    /// In row k P + p the sum of row k of the types (K, D) and row p of the positions (P, D).
    Sums { types: &'a N, positions: &'a N, columns: usize },
}

/// The share that dropout drops, of 2^32.
pub(crate) fn dropout_threshold(share: f32) -> u32 {
    (f64::from(share) * f64::from(u32::MAX)) as u32
}

/// Whether dropout of this share keeps the element at this index. The answer depends on the key and on where the
/// element is, so a batch that is computed again drops the same elements.
#[inline(always)]
pub(crate) fn keeps(index: usize, key: u64, share: f32) -> bool {
    let threshold = dropout_threshold(share);
    hash(index as u32 ^ key as u32).wrapping_add((key >> 32) as u32) >= threshold
}

/// A bijection of 32 bits with little bias (Mueller's hash with Wellons's constants, 2018); vectorizes.
fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}
