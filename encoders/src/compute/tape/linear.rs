//! Linear layers whose weights, biases or low-rank additions are trained.

use std::ops::Range;
use std::sync::Arc;

use super::parameters::{Gradients, Parameter, ParameterRows};
use super::{Dropout, SubLayerScale};
use crate::compute::backward::{Backward, NewBlock};
use crate::error::Result;

/// A linear layer: what the backend multiplies with, and what of that is trained.
pub(crate) struct TapeLinear<B: Backward> {
    loaded: B::Linear,
    blocks: Vec<Block>,
    adapters: Vec<LowRank<B>>,
    /// Where it is the last of a sub-layer that is differentiated by its size.
    pub(crate) scale: Option<SubLayerScale>,
}

/// Outputs that belong to one tensor of a checkpoint.
pub(crate) struct Block {
    /// The outputs.
    pub(crate) rows: Range<usize>,
    pub(crate) weight: ParameterRows,
    pub(crate) bias: Option<ParameterRows>,
}

/// s B A of Hu et al. 2021, added to the weights of some outputs: A (r, in), B (rows, r).
struct LowRank<B: Backward> {
    /// The outputs.
    rows: Range<usize>,
    a: ParameterRows,
    b: ParameterRows,
    rank: usize,
    /// s
    scale: f32,
    /// The share of the inputs that A does not see.
    dropout: f32,
    loaded_a: B::Matrix,
    loaded_b: B::Matrix,
}

/// What is to become of the gradient of a layer's input.
pub(super) enum InputGradient<B: Backward> {
    Unwanted,
    /// Nothing yet, or the gradient by other ways.
    AddedTo(Option<B::Activations>),
}

/// What the gradient of a layer needs of its forward.
pub(super) struct Kept<B: Backward> {
    /// The input, where anything is trained: a frozen layer's gradient does not look at it.
    pub(super) x: Option<Arc<B::Activations>>,
    /// A x of each adapter.
    pub(super) inner: Vec<B::Activations>,
    pub(super) dropout: Dropout,
}

impl<B: Backward> LowRank<B> {
    /// What A does not see of `x` is dropped; nothing where it sees all.
    fn dropped(&self, backend: &B, x: &B::Activations, dropout: &Dropout) -> Result<Option<B::Activations>> {
        let Some(key) = dropout.key(&self.b, self.dropout) else { return Ok(None) };
        let mut dropped = backend.copy(x);
        backend.dropout(&mut dropped, key, self.dropout)?;
        Ok(Some(dropped))
    }
}

impl<B: Backward> TapeLinear<B> {
    pub(super) fn new(loaded: B::Linear) -> TapeLinear<B> {
        TapeLinear { loaded, blocks: Vec::new(), adapters: Vec::new(), scale: None }
    }

    /// The layer of the backend.
    pub(super) fn loaded(&self) -> &B::Linear {
        &self.loaded
    }

    /// How many outputs there are.
    pub(crate) fn num_rows(&self) -> usize {
        B::linear_shape(&self.loaded).0
    }

    /// Trains all weights. The blocks hold every output, in order.
    pub(crate) fn train_weights(&mut self, blocks: Vec<Block>) {
        self.blocks = blocks;
    }

    /// Trains what is added to some outputs: `scale` B A, with A and B in these rows of parameters.
    pub(crate) fn train_low_rank(
        &mut self,
        backend: &B,
        rows: Range<usize>,
        [a, b]: [ParameterRows; 2],
        AdapterShape { rank, scale, dropout }: AdapterShape,
    ) -> Result<()> {
        let loaded_a = backend.matrix(rank, B::linear_shape(&self.loaded).1)?;
        let loaded_b = backend.matrix(rows.len(), rank)?;
        self.adapters.push(LowRank { rows, a, b, rank, scale, dropout, loaded_a, loaded_b });
        Ok(())
    }

    /// Whether any of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        !self.blocks.is_empty() || !self.adapters.is_empty()
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter<B::Numbers>]) -> Result<()> {
        for LowRank { a, b, loaded_a, loaded_b, .. } in &mut self.adapters {
            B::refill_matrix(loaded_a, a.of(parameters))?;
            B::refill_matrix(loaded_b, b.of(parameters))?;
        }
        if self.blocks.is_empty() {
            return Ok(());
        }
        let new = |Block { rows, weight, bias }: &Block| NewBlock {
            rows: rows.clone(),
            weight: weight.of(parameters),
            bias: bias.map(|bias| bias.of(parameters)),
        };
        let blocks: Vec<NewBlock<'_, B::Numbers>> = self.blocks.iter().map(new).collect();
        B::refill_linear(&mut self.loaded, &blocks)
    }

    /// Adds what the adapters yield to `out`; gives back A x of each.
    pub(super) fn add_adapters(
        &self,
        backend: &B,
        x: &B::Activations,
        dropout: &Dropout,
        out: &mut B::Activations,
    ) -> Result<Vec<B::Activations>> {
        let of_adapter = |adapter: &LowRank<B>| -> Result<B::Activations> {
            let LowRank { rows, rank, scale, loaded_a, loaded_b, .. } = adapter;
            let mut inner = backend.zeros(B::shape(x).0, *rank);
            let dropped = adapter.dropped(backend, x, dropout)?;
            backend.add_product(dropped.as_ref().unwrap_or(x), loaded_a, 1.0, &mut inner, 0..*rank)?;
            backend.add_product(&inner, loaded_b, *scale, out, rows.clone())?;
            Ok(inner)
        };
        self.adapters.iter().map(of_adapter).collect()
    }

    /// Turns the gradient of the output into the gradients of everything trained and, if `of_input` says so, of the
    /// input, added to what it has.
    pub(super) fn backward(
        &self,
        backend: &B,
        Kept { x, inner, dropout }: &Kept<B>,
        gradient: &B::Activations,
        of_input: InputGradient<B>,
        gradients: &mut Gradients<B::Numbers>,
    ) -> Result<Option<B::Activations>> {
        let num_tokens = B::shape(gradient).0;
        let columns = B::linear_shape(&self.loaded).1;
        let mut of_input = match of_input {
            InputGradient::Unwanted => None,
            InputGradient::AddedTo(sum) => Some(backend.input_gradient(gradient, &self.loaded, sum)?),
        };
        let Some(x) = x.as_deref() else { return Ok(of_input) };
        for Block { rows, weight, bias } in &self.blocks {
            let of_weight = gradients.of(*weight)?;
            backend.add_outer_product(gradient, rows.clone(), x, 1.0, of_weight)?;
            if let Some(bias) = bias {
                backend.add_column_sums(gradient, rows.clone(), gradients.of(*bias)?)?;
            }
        }
        for (adapter, inner) in self.adapters.iter().zip(inner) {
            let LowRank { rows, a, b, rank, scale, loaded_a, loaded_b, .. } = adapter;
            backend.add_outer_product(gradient, rows.clone(), inner, *scale, gradients.of(*b)?)?;
            let mut of_inner = backend.zeros(num_tokens, *rank);
            backend.add_transposed_product(gradient, rows.clone(), loaded_b, *scale, &mut of_inner)?;
            let dropped = adapter.dropped(backend, x, dropout)?;
            let seen = dropped.as_ref().unwrap_or(x);
            backend.add_outer_product(&of_inner, 0..*rank, seen, 1.0, gradients.of(*a)?)?;
            let Some(sum) = of_input.take() else { continue };
            of_input = Some(match dropout.key(b, adapter.dropout) {
                Some(key) => {
                    let mut of_seen = backend.zeros(num_tokens, columns);
                    backend.add_transposed_product(&of_inner, 0..*rank, loaded_a, 1.0, &mut of_seen)?;
                    backend.dropout(&mut of_seen, key, adapter.dropout)?;
                    backend.add(sum, &of_seen)?
                }
                None => {
                    let mut sum = sum;
                    backend.add_transposed_product(&of_inner, 0..*rank, loaded_a, 1.0, &mut sum)?;
                    sum
                }
            });
        }
        Ok(of_input)
    }
}

/// What is the same for all low-rank additions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdapterShape {
    /// r
    pub(crate) rank: usize,
    /// The factor on B A.
    pub(crate) scale: f32,
    /// The share of the inputs that A does not see.
    pub(crate) dropout: f32,
}
