//! Tensors of any shape, made of one block of random numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::bf16;
use rayon::prelude::*;
use safetensors::Dtype;

use crate::architecture::{Architecture, TensorGroup};
use crate::error::Result;
use crate::random;
use crate::weights::matrix::{HalfRows, Weight};
use crate::weights::shards::StoredTensor;
use crate::weights::tensors::{TensorInfo, Tensors};

/// Numbers of one generator.
const STRETCH: usize = 1 << 16;

/// The tensors of an architecture. Weights of matrices are bf16 from one block, each from a place of its own; norms
/// multiply by one, and biases are nothing.
pub(super) struct RandomWeights {
    block: Vec<u8>,
    tensors: BTreeMap<String, Entry>,
}

struct Entry {
    shape: Vec<usize>,
    group: TensorGroup,
    /// Where its bytes begin.
    first: usize,
}

impl RandomWeights {
    /// Uniform numbers of this size on both sides of 0.
    pub(super) fn new(architecture: &Architecture, size: f32) -> RandomWeights {
        let prefix = architecture.prefixes()[0];
        let shapes = architecture.tensors();
        let largest = shapes.iter().map(|tensor| tensor.elements()).max().unwrap_or(0);
        // Tensors begin at different places, so that no two are the same.
        let count = (largest + (largest / 4).max(1 << 16)).next_multiple_of(STRETCH);
        let mut block = vec![0u8; 2 * count];
        block.par_chunks_mut(2 * STRETCH).enumerate().for_each(|(number, bytes)| {
            let mut numbers = random::named(number as u64, "random weights");
            for pair in bytes.chunks_exact_mut(2) {
                let x = bf16::from_f32((2.0 * numbers.unit() as f32 - 1.0) * size);
                pair.copy_from_slice(&x.to_le_bytes());
            }
        });
        let entry = |(number, tensor): (usize, crate::architecture::TensorShape)| {
            let room = count - tensor.elements();
            let first = 2 * (number * 7919 * 8 % room.max(1));
            let (shape, group) = (tensor.shape, tensor.group);
            (format!("{prefix}{}", tensor.name), Entry { shape, group, first })
        };
        RandomWeights { block, tensors: shapes.into_iter().enumerate().map(entry).collect() }
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.block[entry.first..entry.first + 2 * entry.shape.iter().product::<usize>()]
    }

    fn entry(&self, tensor: &str) -> &Entry {
        self.tensors.get(tensor).unwrap_or_else(|| panic!("the architecture has a tensor {tensor}"))
    }
}

impl Tensors for RandomWeights {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, entry) in &self.tensors {
            tensors.push(TensorInfo { name, dtype: Dtype::BF16, shape: entry.shape.clone() });
        }
        tensors
    }

    fn contains(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor)
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        let (name, entry) = self.tensors.get_key_value(tensor)?;
        // One-dimensional ones are not of the block.
        (entry.shape.len() == 2).then(|| StoredTensor {
            name,
            dtype: Dtype::BF16,
            shape: &entry.shape,
            bytes: self.bytes(entry),
        })
    }

    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        let entry = self.entry(tensor);
        assert_eq!(entry.shape, shape, "the architecture says the shape of {tensor}");
        if shape.len() == 1 {
            let one = entry.group == TensorGroup::Norm && tensor.ends_with(".weight");
            return Ok(vec![f32::from(u8::from(one)); shape[0]].into());
        }
        let bytes = self.bytes(entry).into();
        let rows = HalfRows { bytes, rows: shape[0], columns: shape[1] };
        let values: Vec<f32> = rows.values().map(f32::from).collect();
        Ok(values.into())
    }

    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        Ok(self.matrix(tensor, rows, columns)?.into())
    }

    fn is_quantized(&self) -> bool {
        false
    }
}
