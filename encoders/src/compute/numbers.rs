//! Where a backend keeps what training changes: numbers, their gradients, the optimizer's means.

use std::borrow::Cow;

use crate::error::Result;

/// f32 numbers in the memory that a backend computes with.
pub(crate) trait Numbers: Send + Sync + Sized + 'static {
    /// What new numbers are taken from.
    type Memory: Clone + Send + Sync + 'static;

    /// Zeros.
    fn zeros(memory: &Self::Memory, len: usize) -> Result<Self>;
    /// These numbers.
    fn new(memory: &Self::Memory, values: Vec<f32>) -> Result<Self>;
    /// How many there are.
    fn len(&self) -> usize;
    /// The numbers, read.
    fn read(&self) -> Result<Cow<'_, [f32]>>;
    /// Adds all of `other` to the numbers from `first` on. What becomes of `other` is zero.
    fn take(&mut self, first: usize, other: &mut Self) -> Result<()>;
    /// Adds rows of equal length, times a factor: row i of `values` to row `rows[i]`. A row may come more than once.
    fn add_rows(&mut self, rows: &[u32], values: &Self, factor: f32) -> Result<()>;
    /// Makes all zero.
    fn clear(&mut self) -> Result<()>;
    /// The sum of the squares, in an order that depends on the number of numbers alone.
    fn squared_sum(&self) -> Result<f64>;
    /// A step of AdamW; `means` are those of the gradients and of their squares.
    fn step(&mut self, gradient: &Self, means: [&mut Self; 2], with: &OptimizerStep) -> Result<()>;
}

/// Numbers and the first of them that is meant.
pub(crate) type Place<'a, N> = (&'a N, usize);
/// The same, to be changed.
pub(crate) type PlaceMut<'a, N> = (&'a mut N, usize);

/// A step of AdamW (Loshchilov & Hutter 2019): m and v are the means; t is `number`.
///
/// p = (1 - rate decay) p - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptimizerStep {
    pub(crate) learning_rate: f64,
    pub(crate) betas: (f64, f64),
    pub(crate) eps: f64,
    pub(crate) decay: f64,
    /// Multiplies gradients first.
    pub(crate) scale: f32,
    /// Counted from 1.
    pub(crate) number: usize,
}
