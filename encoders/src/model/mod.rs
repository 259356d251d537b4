//! One transformer, whose sub-layers may be absent and whose MLP widths may differ from layer to layer.
//!
//! The families are values of [`Architecture`]; the forward is written once, over any [`Ops`].

pub mod architecture;
mod family;
mod load;

pub use architecture::{Architecture, LayerShape, Positions};

use crate::error::Result;
use crate::ops::{Ops, Spans};

/// A transformer and its weights, for one kind of operations.
pub struct Transformer<O: Ops> {
    architecture: Architecture,
    embeddings: Embeddings<O>,
    layers: Vec<Layer<O>>,
}

struct Embeddings<O: Ops> {
    tokens: O::Table,
    /// Learned positions, with the embedding of token type 0 added to each: every token of ours is of that type.
    positions: O::Table,
    norm: O::Norm,
}

struct Layer<O: Ops> {
    attention: Option<Attention<O>>,
    mlp: Option<Mlp<O>>,
}

struct Attention<O: Ops> {
    /// Query, key and value projections, side by side.
    qkv: O::Linear,
    output: O::Linear,
    /// After the residual sum.
    norm: O::Norm,
}

struct Mlp<O: Ops> {
    up: O::Expand,
    down: O::Linear,
    /// After the residual sum.
    norm: O::Norm,
}

impl<O: Ops> Transformer<O> {
    /// What it looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The last hidden states: ids (T) of texts that lie one after the other -> (T, D).
    ///
    /// Ids are below the vocabulary's size and texts no longer than the model allows: the caller's duty.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn forward(&self, ops: &O, ids: &[u32], spans: &Spans) -> Result<O::Rows> {
        self.forward_observed(ops, ids, spans, &mut |_, _| Ok(()))
    }

    /// The same; `observe` is shown the hidden states (T, D) before the first layer, as number 0, and after every layer,
    /// as number 1 and so on.
    ///
    /// # Errors
    ///
    /// What the operations or `observe` fail with.
    pub fn forward_observed(
        &self,
        ops: &O,
        ids: &[u32],
        spans: &Spans,
        observe: &mut dyn FnMut(usize, &O::Rows) -> Result<()>,
    ) -> Result<O::Rows> {
        let mut x = self.embeddings.forward(ops, self.architecture.positions, ids, spans)?;
        observe(0, &x)?;
        for (number, layer) in self.layers.iter().enumerate() {
            if let Some(attention) = &layer.attention {
                x = attention.forward(ops, x, spans, &self.architecture)?;
            }
            if let Some(mlp) = &layer.mlp {
                x = mlp.forward(ops, x)?;
            }
            observe(number + 1, &x)?;
        }
        Ok(x)
    }
}

impl<O: Ops> Embeddings<O> {
    fn forward(&self, ops: &O, positions: Positions, ids: &[u32], spans: &Spans) -> Result<O::Rows> {
        let Positions::Learned { first, .. } = positions;
        let places: Vec<u32> =
            spans.iter().flat_map(|span| (0..span.len()).map(|place| (first + place) as u32)).collect();
        let x = ops.add(ops.embed(&self.tokens, ids)?, &ops.embed(&self.positions, &places)?)?;
        ops.norm(x, &self.norm)
    }
}

impl<O: Ops> Attention<O> {
    fn forward(&self, ops: &O, x: O::Rows, spans: &Spans, architecture: &Architecture) -> Result<O::Rows> {
        let qkv = ops.linear(&x, &self.qkv)?;
        let context = ops.attention(&qkv, spans, &architecture.attention)?;
        ops.norm(ops.linear_add(&context, &self.output, x)?, &self.norm)
    }
}

impl<O: Ops> Mlp<O> {
    fn forward(&self, ops: &O, x: O::Rows) -> Result<O::Rows> {
        let hidden = ops.expand(&x, &self.up)?;
        ops.norm(ops.linear_add(&hidden, &self.down, x)?, &self.norm)
    }
}
