//! The few operations that a transformer's forward is written in.
//!
//! Letters, here and below: T tokens of all texts together, B texts, D hidden size, I intermediate size. Of attention:
//! H heads, G key-value heads, K size of a head. Texts lie one after the other in the rows of an array, without
//! padding; [`Spans`] says where each begins.
//!
//! A [`Backend`] is who computes: [`cpu`] and [`cuda`] with kernels of ours, `candle` (a feature) with elementary
//! operations that can be checked by eye. `tape` writes down what a backend does so that
//! training can go back through it; it works with any backend that is `Backward`.

pub(crate) mod backward;
#[cfg(any(test, feature = "candle"))]
pub mod candle;
pub mod cpu;
pub mod cuda;
pub(crate) mod numbers;
pub mod precision;
pub(crate) mod tape;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::architecture::{Activation, AttentionShape};
use crate::error::Result;
use crate::pooling::{Pooling, normalize};
pub use crate::spans::Spans;
pub use crate::weights::mapped::MappedTable;
pub use crate::weights::matrix::{HalfRows, LinearWeights, Matrix, Nf4Rows, Weight};
pub use crate::weights::quantized::int8::Int8Rows;

/// The projections that an MLP begins with, as they lie in a checkpoint.
#[derive(Clone, Debug)]
pub struct GateUpWeights<'a> {
    /// The gate: the layer whose activation multiplies the output of `up`. Without a gate, `up` itself is activated.
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

/// The cosines and sines that rotate queries and keys by their token's position in its text.
#[derive(Clone, Debug)]
pub struct RotationWeights<'a> {
    /// (L, K / 2), row by position
    pub cos: Matrix<'a>,
    /// (L, K / 2)
    pub sin: Matrix<'a>,
}

/// Who computes: the operations, over an array type of its own.
///
/// Loading methods take weights as they are stored and turn them into what the operations want; the others compute.
/// Whatever has the length of a text stays in arrays of the backend; [`Backend::to_vec`] alone brings numbers back.
/// Errors come from the device: memory, drivers. Shapes are the caller's duty and are asserted.
pub trait Backend {
    /// A (T, columns) array of activations.
    type Activations;
    /// A linear layer.
    type Linear;
    /// The projections that an MLP begins with: (T, D) -> (T, I), non-linearity included.
    type GateUp;
    /// A normalization.
    type Norm;
    /// An embedding table.
    type Table;
    /// Cosines and sines by position.
    type Rotation;

    /// Whether it computes with bf16 weights: those of a file are then given to it as they are.
    fn takes_half(&self) -> bool {
        false
    }
    /// Loads a linear layer.
    fn load_linear(&self, weights: LinearWeights<'_>) -> Result<Self::Linear>;
    /// Loads the projections that an MLP begins with.
    fn load_gate_up(&self, weights: GateUpWeights<'_>) -> Result<Self::GateUp>;
    /// Loads a normalization.
    fn load_norm(&self, weights: NormWeights<'_>) -> Result<Self::Norm>;
    /// Loads an embedding table (V, D).
    fn load_table(&self, table: Matrix<'_>) -> Result<Self::Table>;
    /// Loads an embedding table (V, D) that is stored in bf16.
    fn load_half_table(&self, table: HalfRows<'_>) -> Result<Self::Table> {
        self.load_table(Weight::Half(vec![table]).dequantize())
    }
    /// Loads an embedding table that lies in a mapped file, where it can stay.
    fn load_mapped_table(&self, table: &MappedTable) -> Result<Self::Table> {
        let (rows, columns) = (table.rows(), table.columns());
        self.load_table(Matrix { values: table.to_vec().into(), rows, columns })
    }
    /// Loads the cosines and sines of the positions of a batch, or of more.
    fn load_rotation(&self, weights: RotationWeights<'_>) -> Result<Self::Rotation>;

    /// An array of plain numbers, row-major.
    fn upload(&self, values: &[f32], columns: usize) -> Result<Self::Activations>;
    /// The numbers of an array, row-major.
    fn to_vec(&self, x: &Self::Activations) -> Result<Vec<f32>>;

    /// Rows of a table: ids (T) -> (T, D). Every id is below V.
    fn embed(&self, table: &Self::Table, ids: &[u32]) -> Result<Self::Activations>;
    /// Rows of an array, by number: (T, D) -> (rows, D).
    fn select(&self, x: &Self::Activations, rows: &[u32]) -> Result<Self::Activations>;
    /// Rows of two arrays of which the second lies below the first, by number: (P, D), (T, D) -> (rows, D).
    fn select_below(
        &self,
        above: &Self::Activations,
        below: &Self::Activations,
        rows: &[u32],
    ) -> Result<Self::Activations>;
    /// x + y, elementwise.
    fn add(&self, x: Self::Activations, y: &Self::Activations) -> Result<Self::Activations>;
    /// The norm of each row, of an array that is needed afterwards as it is.
    fn norm(&self, x: &Self::Activations, norm: &Self::Norm) -> Result<Self::Activations>;
    /// The norm of each row, in place where the backend can.
    fn norm_in_place(&self, x: Self::Activations, norm: &Self::Norm) -> Result<Self::Activations>;
    /// The norm of each of the `heads`, K columns each, of each row: (T, n K) -> (T, n K). Other heads stay.
    fn norm_heads(
        &self,
        x: Self::Activations,
        norm: &Self::Norm,
        heads: Range<usize>,
    ) -> Result<Self::Activations>;
    /// Queries and keys rotated by position (Su et al. 2021). In each head the pair (k, k + K / 2) is rotated by an
    /// angle. `rotation` has the angle for k and the token's position in its text. Values stay. (T, (H + 2 G) K) -> the
    /// same.
    fn rotate(
        &self,
        qkv: Self::Activations,
        spans: &Spans,
        rotation: &Self::Rotation,
        shape: &AttentionShape,
    ) -> Result<Self::Activations>;
    /// A linear layer: (T, in) -> (T, out).
    fn linear(&self, x: &Self::Activations, linear: &Self::Linear) -> Result<Self::Activations>;
    /// `residual` + linear(x): (T, in), (T, out) -> (T, out).
    fn linear_add(
        &self,
        x: &Self::Activations,
        linear: &Self::Linear,
        residual: Self::Activations,
    ) -> Result<Self::Activations>;
    /// act(gate(x)) * up(x), or act(up(x)) where there is no gate: (T, D) -> (T, I).
    fn gate_up(&self, x: &Self::Activations, gate_up: &Self::GateUp) -> Result<Self::Activations>;
    /// `residual` + output(gate_up(x)), where nobody needs what is between the products. Without `x` the residual is x:
    /// (T, D), (T, D) -> (T, D).
    fn mlp_add(
        &self,
        x: Option<&Self::Activations>,
        gate_up: &Self::GateUp,
        output: &Self::Linear,
        residual: Self::Activations,
    ) -> Result<Self::Activations> {
        let inner = self.gate_up(x.unwrap_or(&residual), gate_up)?;
        self.linear_add(&inner, output, residual)
    }
    /// softmax(scale Q K^T) V within each text (Vaswani et al. 2017). Queries, keys and values lie side by side:
    /// (T, (H + 2 G) K) -> (T, H K). With a `window` w token i sees token j only if |i - j| <= w.
    fn attention(
        &self,
        qkv: &Self::Activations,
        spans: &Spans,
        shape: &AttentionShape,
        window: Option<usize>,
    ) -> Result<Self::Activations>;
    /// One vector for each text: (T, D) -> (B, D), as [`Pooling::pool`] defines it.
    fn pool(
        &self,
        hidden: &Self::Activations,
        spans: &Spans,
        pooling: Pooling,
        skipped: usize,
    ) -> Result<Self::Activations>;
    /// The first `kept` columns of each row, scaled to length 1 if `unit`: (B, D) -> numbers (B, `kept`). A row of
    /// zeros stays.
    fn to_vectors(&self, x: &Self::Activations, kept: usize, unit: bool) -> Result<Vec<f32>>;
}

/// [`Backend::to_vectors`] of numbers (B, `columns`).
pub(crate) fn vectors_of(mut values: Vec<f32>, columns: usize, kept: usize, unit: bool) -> Vec<f32> {
    if kept < columns {
        values = values.chunks_exact(columns).flat_map(|row| &row[..kept]).copied().collect();
    }
    if unit {
        normalize(&mut values, kept);
    }
    values
}
