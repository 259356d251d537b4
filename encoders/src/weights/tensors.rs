//! A source of tensors: what a model is loaded from, and what is written.

use std::borrow::Cow;

use safetensors::Dtype;

use super::mapped::MappedTable;
use super::matrix::{Matrix, Weight};
use super::shards::StoredTensor;
use crate::error::Result;

/// Where a model's tensors come from: a [`Checkpoint`](super::checkpoint::Checkpoint), or a layer over another source
/// that changes some of them.
pub trait Tensors: Send + Sync {
    /// All tensors in the order of their names, with the shapes they have here.
    fn list(&self) -> Vec<TensorInfo<'_>>;

    /// Whether there is a tensor of this name.
    fn contains(&self, tensor: &str) -> bool;

    /// A tensor in the bytes of its file, where nothing changes its values: bf16 stays bf16, and nothing is copied.
    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>>;

    /// A tensor of any number of dimensions, as f32.
    ///
    /// # Errors
    ///
    /// The tensor is missing, has another shape or an element type that is not a float, or holds a NaN or infinity.
    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>>;

    /// The matrix of a linear layer, quantized where the source has it so. Errors as [`Tensors::values`].
    ///
    /// # Errors
    ///
    /// As [`Tensors::values`].
    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>>;

    /// Whether linear layers are quantized.
    fn is_quantized(&self) -> bool;

    /// A table that lies in a mapped file as floats of 16 or 32 bits, where it can stay; `None` where it does not.
    ///
    /// # Errors
    ///
    /// As [`Tensors::values`].
    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedTable>> {
        let (_, _, _) = (tensor, rows, columns);
        Ok(None)
    }

    /// Says that the memory of a tensor that was read is not needed now: it can be read again.
    fn release(&self, tensor: &str) {
        let _ = tensor;
    }

    /// A matrix, as f32.
    ///
    /// # Errors
    ///
    /// As [`Tensors::values`].
    fn matrix(&self, tensor: &str, rows: usize, columns: usize) -> Result<Matrix<'_>> {
        Ok(Matrix { values: self.values(tensor, &[rows, columns])?, rows, columns })
    }

    /// A vector, as f32.
    ///
    /// # Errors
    ///
    /// As [`Tensors::values`].
    fn vector(&self, tensor: &str, length: usize) -> Result<Cow<'_, [f32]>> {
        self.values(tensor, &[length])
    }
}

/// What a source says of a tensor before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// The element type of its file.
    pub(crate) dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}
