//! Linear layers whose weights, biases or low-rank additions are trained.

use std::ops::Range;
use std::sync::Arc;

use super::parameters::{Gradients, Parameter, Place};
use super::{Dropout, Tape};
use crate::compute::cpu::gemm::PackedMatrix;
use crate::compute::cpu::{Cpu, PackedLinear, Rows};
use crate::compute::{LinearWeights, Ops};

/// A linear layer: what it multiplies with, and what of that is trained.
pub struct RecordedLinear {
    packed: PackedLinear,
    blocks: Vec<Block>,
    adapters: Vec<LowRank>,
}

/// Outputs that belong to one tensor of a checkpoint.
pub(crate) struct Block {
    /// The outputs.
    pub(crate) rows: Range<usize>,
    pub(crate) weight: Place,
    pub(crate) bias: Option<Place>,
}

/// s B A of Hu et al. 2021, added to the weights of some outputs: A (r, in), B (rows, r).
pub(crate) struct LowRank {
    /// The outputs.
    pub(crate) rows: Range<usize>,
    pub(crate) a: Place,
    pub(crate) b: Place,
    pub(crate) rank: usize,
    /// s
    pub(crate) scale: f32,
    /// The share of the inputs that A does not see.
    pub(crate) dropout: f32,
    packed_a: PackedMatrix,
    packed_b: PackedMatrix,
}

/// What the gradient of a layer needs of its forward.
pub(super) struct Kept {
    /// The input, where anything is trained: a frozen layer's gradient does not look at it.
    pub(super) x: Option<Arc<Rows>>,
    /// A x of each adapter.
    pub(super) inner: Vec<Rows>,
    pub(super) dropout: Dropout,
}

impl LowRank {
    pub(crate) fn new(
        rows: Range<usize>,
        [a, b]: [Place; 2],
        rank: usize,
        scale: f32,
        dropout: f32,
    ) -> LowRank {
        let (packed_a, packed_b) = Default::default();
        LowRank { rows, a, b, rank, scale, dropout, packed_a, packed_b }
    }

    fn refresh(&mut self, parameters: &[Parameter], columns: usize) {
        let (a, b) = (self.a.of(parameters, self.rank), self.b.of(parameters, self.rows.len()));
        self.packed_a.refill(self.rank, columns, |row, k| a[row * columns + k]);
        self.packed_b.refill(self.rows.len(), self.rank, |row, k| b[row * self.rank + k]);
    }
}

impl RecordedLinear {
    pub(super) fn new(ops: &Cpu, weights: LinearWeights<'_>) -> crate::error::Result<RecordedLinear> {
        Ok(RecordedLinear { packed: ops.load_linear(weights)?, blocks: Vec::new(), adapters: Vec::new() })
    }

    /// The layer of the forward.
    pub(super) fn packed(&self) -> &PackedLinear {
        &self.packed
    }

    /// How many outputs there are.
    pub(crate) fn num_rows(&self) -> usize {
        self.packed.num_rows()
    }

    /// Trains all weights. The blocks hold every output, in order.
    pub(crate) fn train_weights(&mut self, blocks: Vec<Block>) {
        self.blocks = blocks;
    }

    /// Trains what is added to some outputs.
    pub(crate) fn add_adapter(&mut self, adapter: LowRank) {
        self.adapters.push(adapter);
    }

    /// Whether any of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        !self.blocks.is_empty() || !self.adapters.is_empty()
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        let columns = self.packed.num_columns();
        for adapter in &mut self.adapters {
            adapter.refresh(parameters, columns);
        }
        if self.blocks.is_empty() {
            return;
        }
        let (mut rows, mut biases): (Vec<&[f32]>, Vec<f32>) = Default::default();
        for Block { rows: outputs, weight, bias } in &self.blocks {
            rows.extend(weight.of(parameters, outputs.len()).chunks_exact(columns));
            match bias {
                Some(bias) => biases.extend_from_slice(bias.of(parameters, outputs.len())),
                None => biases.resize(rows.len(), 0.0),
            }
        }
        self.packed.refill(|row, k| rows[row][k], |row| biases[row]);
    }

    /// Adds what the adapters yield to `out`; gives back A x of each.
    pub(super) fn add_adapters(&self, ops: &Tape, x: &Rows, dropout: &Dropout, out: &mut Rows) -> Vec<Rows> {
        let of_adapter = |adapter: &LowRank| {
            let mut inner = ops.zeros(x.num_rows(), adapter.rank);
            let dropped = ops.dropped(x, dropout, adapter);
            let seen = dropped.as_ref().unwrap_or(x);
            ops.fused.add_product(seen, &adapter.packed_a, 1.0, &mut inner, 0..adapter.rank);
            ops.fused.add_product(&inner, &adapter.packed_b, adapter.scale, out, adapter.rows.clone());
            inner
        };
        self.adapters.iter().map(of_adapter).collect()
    }

    /// From the gradient of the output to that of everything trained and, if `wants_input`, of the input.
    pub(super) fn backward(
        &self,
        ops: &Tape,
        Kept { x, inner, dropout }: &Kept,
        gradient: &Rows,
        wants_input: bool,
        gradients: &mut Gradients,
    ) -> Option<Rows> {
        let fused = &ops.fused;
        let num_tokens = gradient.num_rows();
        let mut of_input = wants_input.then(|| {
            let mut of_input = ops.zeros(num_tokens, self.packed.num_columns());
            fused.add_input_gradient(gradient, &self.packed, &mut of_input);
            of_input
        });
        let Some(x) = x.as_deref() else { return of_input };
        for Block { rows, weight, bias } in &self.blocks {
            fused.add_outer_product(gradient, rows.clone(), x, 1.0, gradients.of(*weight, rows.len()));
            if let Some(bias) = bias {
                fused.add_column_sums(gradient, rows.clone(), gradients.of(*bias, rows.len()));
            }
        }
        for (adapter, inner) in self.adapters.iter().zip(inner) {
            let LowRank { rows, a, b, rank, scale, packed_a, packed_b, .. } = adapter;
            fused.add_outer_product(gradient, rows.clone(), inner, *scale, gradients.of(*b, rows.len()));
            let mut of_inner = ops.zeros(num_tokens, *rank);
            fused.add_transposed_product(gradient, rows.clone(), packed_b, *scale, &mut of_inner);
            let dropped = ops.dropped(x, dropout, adapter);
            let seen = dropped.as_ref().unwrap_or(x);
            fused.add_outer_product(&of_inner, 0..*rank, seen, 1.0, gradients.of(*a, *rank));
            if let Some(of_input) = &mut of_input {
                if dropped.is_some() {
                    let mut of_seen = ops.zeros(num_tokens, x.columns());
                    fused.add_transposed_product(&of_inner, 0..*rank, packed_a, 1.0, &mut of_seen);
                    dropout.apply(adapter, of_seen.values_mut());
                    ops.add_to(of_input, &of_seen);
                } else {
                    fused.add_transposed_product(&of_inner, 0..*rank, packed_a, 1.0, of_input);
                }
            }
        }
        of_input
    }
}
