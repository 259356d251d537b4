//! One micro-batch: forward to pooled vectors, and back from their gradients to those of the parameters.

use crate::compute::Spans;
use crate::compute::cpu::Cpu;
use crate::compute::tape::{Dropout, Gradients, Tape, Tracked};
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;

/// Texts that are computed together by one thread.
pub(super) struct MicroBatch {
    /// Their places among all of the step's texts.
    pub(super) texts: Vec<usize>,
    /// Their tokens, one text after the other.
    pub(super) ids: Vec<u32>,
    pub(super) spans: Spans,
    /// Tokens at the beginning of each that a mean leaves out.
    pub(super) skipped: usize,
    pub(super) dropout: Dropout,
}

/// What is kept between forward and backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Nothing: there is no backward.
    Nothing,
    /// What each operation needs.
    Operations,
    /// The input of each layer, whose operations are computed again (Chen et al. 2016, "Training Deep Nets with Sublinear
    /// Memory Cost").
    Layers,
}

/// A forward that can be gone back through.
pub(super) struct Pass {
    ops: Tape,
    kept: Kept,
}

impl Pass {
    /// What the forward computed with, where there will be no backward.
    pub(super) fn into_fused(self) -> Cpu {
        drop(self.kept);
        self.ops.into_fused()
    }
}

enum Kept {
    /// The last hidden states, with a record.
    Operations(Tracked),
    /// Without one: before the first layer, then after each.
    Layers(Vec<Tracked>),
}

impl MicroBatch {
    /// Pooled vectors (B, D), not scaled, and the way back.
    pub(super) fn forward(
        &self,
        model: &Transformer<Tape>,
        pooling: Pooling,
        fused: Cpu,
        keep: Keep,
    ) -> Result<(Vec<f32>, Pass)> {
        let ops = Tape::forward_only(fused).with_dropout(self.dropout);
        let ops = if keep == Keep::Operations { ops.recording() } else { ops };
        let batch = model.batch(&ops, &self.spans)?;
        let mut x = model.embed(&ops, &self.ids, &self.spans)?;
        let mut states = Vec::new();
        for layer in 0..model.architecture().layers.len() {
            if keep == Keep::Layers {
                states.push(x.clone());
            }
            x = model.forward_layer(&ops, layer, x, &batch, &mut |_, _| Ok(()))?;
        }
        if keep == Keep::Layers {
            states.push(x.clone());
        }
        let hidden = model.finish(&ops, x)?;
        let dim = model.architecture().hidden_size;
        let vectors = pooling.pool(hidden.values(), dim, &self.spans, self.skipped);
        let kept = if keep == Keep::Layers { Kept::Layers(states) } else { Kept::Operations(hidden) };
        Ok((vectors, Pass { ops, kept }))
    }

    /// Adds the gradients of the parameters to `gradients`; `gradient` (B, D) is that of the pooled vectors. Gives back what
    /// the forward computed with.
    pub(super) fn backward(
        &self,
        model: &Transformer<Tape>,
        pooling: Pooling,
        pass: Pass,
        gradient: &[f32],
        gradients: &mut Gradients,
    ) -> Result<Cpu> {
        let dim = model.architecture().hidden_size;
        let mut gradient = pooling.spread(gradient, dim, &self.spans, self.skipped);
        let Pass { ops, kept } = pass;
        let states = match kept {
            Kept::Operations(hidden) => {
                ops.backward(&hidden, &gradient, gradients);
                drop(hidden);
                return Ok(ops.into_fused());
            }
            Kept::Layers(states) => states,
        };
        let ops = ops.recording();
        let batch = model.batch(&ops, &self.spans)?;
        let num_layers = states.len() - 1;
        for (number, state) in states.into_iter().enumerate().rev() {
            let input = ops.given(state.values(), dim);
            drop(state);
            let output = if number == num_layers {
                model.finish(&ops, input.clone())?
            } else {
                model.forward_layer(&ops, number, input.clone(), &batch, &mut |_, _| Ok(()))?
            };
            let mut given = ops.backward(&output, &gradient, gradients);
            // What a layer without sub-layers gives back is its input itself.
            if let Some(of_input) = given.take(&input) {
                gradient.copy_from_slice(of_input.values());
            }
        }
        let embedded = model.embed(&ops, &self.ids, &self.spans)?;
        ops.backward(&embedded, &gradient, gradients);
        drop(embedded);
        Ok(ops.into_fused())
    }
}
