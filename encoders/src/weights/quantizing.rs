//! Tensors whose linear layers are quantized as they are read.

use std::borrow::Cow;

use super::mapped::MappedTable;
use super::matrix::Weight;
use super::quantized::Quantization;
use super::quantized::nf4::Nf4Matrix;
use super::shards::StoredTensor;
use super::tensors::{TensorInfo, Tensors};
use crate::error::Result;

/// A source whose matrices of linear layers are quantized, those that are not yet.
pub struct Quantized {
    source: Box<dyn Tensors>,
    quantization: Quantization,
}

impl Quantized {
    /// Quantizes what `source` has in full precision.
    pub fn new(source: Box<dyn Tensors>, quantization: Quantization) -> Quantized {
        Quantized { source, quantization }
    }
}

impl Tensors for Quantized {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        self.source.list()
    }

    fn contains(&self, tensor: &str) -> bool {
        self.source.contains(tensor)
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        self.source.stored(tensor)
    }

    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        self.source.values(tensor, shape)
    }

    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        Ok(match (self.source.weight(tensor, rows, columns)?, self.quantization) {
            (quantized @ (Weight::Nf4(_) | Weight::Int8(_)), _) => quantized,
            (weight, Quantization::Nf4) => {
                Nf4Matrix::quantize(&weight.dequantize().values, rows, columns).into()
            }
        })
    }

    fn is_quantized(&self) -> bool {
        true
    }

    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedTable>> {
        self.source.mapped(tensor, rows, columns)
    }

    fn release(&self, tensor: &str) {
        self.source.release(tensor);
    }
}
