//! The few operations that a transformer's forward is written in.
//!
//! Letters, here and below: T tokens of all texts together, D hidden size, H attention heads, G key-value heads,
//! K size of a head, I intermediate size. Texts lie one after the other in the rows of an array, without padding;
//! [`Spans`] says where each begins.
//!
//! [`candle`] writes the operations in candle's elementary ones: the oracle, and the form that can be differentiated.
//! [`cpu`] is the form that encodes on a CPU, and `tape` the same with what training differentiates.

pub mod candle;
pub mod cpu;
pub mod precision;
#[allow(unnameable_types, reason = "training alone makes a tape")]
pub(crate) mod tape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::architecture::{Activation, AttentionShape};
use crate::error::Result;
pub use crate::spans::Spans;
pub use crate::weights::matrix::{LinearWeights, Matrix, Nf4Rows, Weight};

/// The first half of an MLP as it lies in a checkpoint.
#[derive(Clone, Debug)]
pub struct ExpandWeights<'a> {
    /// The layer whose activation multiplies the output of `up`, where there is one; else `up` itself is activated.
    pub gate: Option<LinearWeights<'a>>,
    /// (I, D)
    pub up: LinearWeights<'a>,
    /// The non-linearity.
    pub activation: Activation,
}

/// A normalization over the last dimension.
#[derive(Clone, Debug)]
pub enum NormWeights<'a> {
    /// (x - mean) / sqrt(variance + eps) * weight + bias
    Layer {
        /// (D)
        weight: Cow<'a, [f32]>,
        /// (D)
        bias: Cow<'a, [f32]>,
        /// Added to the variance.
        eps: f32,
    },
    /// x / sqrt(mean(x^2) + eps) * weight
    Rms {
        /// (D)
        weight: Cow<'a, [f32]>,
        /// Added to the mean square.
        eps: f32,
    },
}

/// The cosines and sines that turn queries and keys by their token's place in its text.
#[derive(Clone, Debug)]
pub struct RotationWeights<'a> {
    /// (L, K / 2), row by place
    pub cos: Matrix<'a>,
    /// (L, K / 2)
    pub sin: Matrix<'a>,
}

/// The operations, over an array type of their own.
///
/// Loading methods turn checkpoint weights into what the operations want; the others compute. Errors come from the
/// device: memory, drivers. Shapes are the caller's duty and are asserted.
pub trait Ops {
    /// A (T, columns) array of activations.
    type Rows;
    /// A linear layer.
    type Linear;
    /// The first half of an MLP: (T, D) -> (T, I), non-linearity included.
    type Expand;
    /// A normalization.
    type Norm;
    /// An embedding table.
    type Table;
    /// Cosines and sines by place.
    type Rotation;

    /// Loads a linear layer.
    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<Self::Linear>;
    /// Loads the first half of an MLP.
    fn load_expand(&self, weights: ExpandWeights<'_>) -> Result<Self::Expand>;
    /// Loads a normalization.
    fn load_norm(&self, weights: NormWeights<'_>) -> Result<Self::Norm>;
    /// Loads an embedding table (V, D).
    fn load_table(&self, table: Matrix<'_>) -> Result<Self::Table>;
    /// Loads the cosines and sines of the places of a batch.
    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Self::Rotation>;

    /// Rows of a table: ids (T) -> (T, D). Every id is below V.
    fn embed(&self, table: &Self::Table, ids: &[u32]) -> Result<Self::Rows>;
    /// The same values in another array.
    fn copy(&self, x: &Self::Rows) -> Result<Self::Rows>;
    /// x + y, elementwise.
    fn add(&self, x: Self::Rows, y: &Self::Rows) -> Result<Self::Rows>;
    /// The norm of each row.
    fn norm(&self, x: Self::Rows, norm: &Self::Norm) -> Result<Self::Rows>;
    /// The norm of each of the `heads`, K columns each, of each row: (T, n K) -> (T, n K). Other heads stay.
    fn norm_heads(&self, x: Self::Rows, norm: &Self::Norm, heads: Range<usize>) -> Result<Self::Rows>;
    /// Queries and keys turned by place (Su et al. 2021): in each head the pair (k, k + K / 2) is rotated by the angle
    /// of `rotation` for the token's place in its text and k. Values stay. (T, (H + 2 G) K) -> the same.
    fn rotate(
        &self,
        qkv: Self::Rows,
        spans: &Spans,
        rotation: &Self::Rotation,
        shape: &AttentionShape,
    ) -> Result<Self::Rows>;
    /// A linear layer: (T, in) -> (T, out).
    fn linear(&self, x: &Self::Rows, linear: &Self::Linear) -> Result<Self::Rows>;
    /// `residual` + linear(x): (T, in), (T, out) -> (T, out).
    fn linear_add(&self, x: &Self::Rows, linear: &Self::Linear, residual: Self::Rows) -> Result<Self::Rows>;
    /// The first half of an MLP: (T, D) -> (T, I).
    fn expand(&self, x: &Self::Rows, expand: &Self::Expand) -> Result<Self::Rows>;
    /// softmax(scale Q K^T) V within each text (Vaswani et al. 2017): queries, keys and values side by side
    /// (T, (H + 2 G) K) -> (T, H K). With a `window` w token i sees token j only if |i - j| <= w.
    fn attention(
        &self,
        qkv: &Self::Rows,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Self::Rows>;
    /// The rows as plain numbers, row-major.
    fn to_vec(&self, x: &Self::Rows) -> Result<Vec<f32>>;
}
