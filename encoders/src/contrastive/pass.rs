//! One micro-batch: forward to pooled vectors, and back from their gradients to those of the parameters.

use crate::compute::backward::Backward;
use crate::compute::tape::{Dropout, Gradients, Tape, Tracked};
use crate::compute::{Backend, Spans};
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;

/// Texts that are computed together by one thread.
pub(super) struct MicroBatch {
    /// Their indexes among all of the step's texts.
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
    /// The input of each layer, whose operations are computed again (Chen et al. 2016, "Training Deep Nets with
    /// Sublinear Memory Cost").
    Layers,
}

/// A forward that can be gone back through.
pub(super) struct Pass<B: Backward> {
    tape: Tape<B>,
    kept: Kept<B>,
}

enum Kept<B: Backward> {
    /// The pooled vectors, with all operations on the tape.
    Operations(Tracked<B>),
    /// With an empty tape: the hidden states before the first layer, then after each.
    Layers(Vec<Tracked<B>>),
}

impl<B: Backward> Pass<B> {
    /// What the forward computed with, where there will be no backward.
    pub(super) fn into_backend(self) -> B {
        drop(self.kept);
        self.tape.into_backend()
    }
}

impl MicroBatch {
    /// Pooled vectors (B, D), not scaled, and the way back.
    pub(super) fn forward<B: Backward>(
        &self,
        model: &Transformer<Tape<B>>,
        pooling: Pooling,
        backend: B,
        keep: Keep,
    ) -> Result<(Vec<f32>, Pass<B>)> {
        let tape = Tape::forward_only(backend).with_dropout(self.dropout);
        let tape = if keep == Keep::Operations { tape.recording() } else { tape };
        let batch = model.batch(&tape, &self.spans)?;
        let mut x = model.embed(&tape, &self.ids, &self.spans)?;
        let mut states = Vec::new();
        for layer in 0..model.architecture().layers.len() {
            if keep == Keep::Layers {
                states.push(x.clone());
            }
            x = model.forward_layer(&tape, layer, x, &batch, None)?;
        }
        if keep == Keep::Layers {
            states.push(x.clone());
        }
        let pooled = self.pool(model, pooling, &tape, x)?;
        let vectors = tape.to_vec(&pooled)?;
        let kept = if keep == Keep::Layers { Kept::Layers(states) } else { Kept::Operations(pooled) };
        Ok((vectors, Pass { tape, kept }))
    }

    /// Adds the gradients of the parameters to `gradients`; `gradient` (B, D) is that of the pooled vectors. Gives
    /// back what the forward computed with.
    pub(super) fn backward<B: Backward>(
        &self,
        model: &Transformer<Tape<B>>,
        pooling: Pooling,
        Pass { tape, kept }: Pass<B>,
        gradient: &[f32],
        gradients: &mut Gradients<B::Numbers>,
    ) -> Result<B> {
        let mut gradient = tape.backend().upload(gradient, model.architecture().hidden_size)?;
        let states = match kept {
            Kept::Operations(pooled) => {
                tape.backward(&pooled, gradient, gradients)?;
                drop(pooled);
                return Ok(tape.into_backend());
            }
            Kept::Layers(states) => states,
        };
        let tape = tape.recording();
        let batch = model.batch(&tape, &self.spans)?;
        let num_layers = states.len() - 1;
        for (number, state) in states.into_iter().enumerate().rev() {
            let input = tape.given(state);
            let output = if number == num_layers {
                self.pool(model, pooling, &tape, input.clone())?
            } else {
                model.forward_layer(&tape, number, input.clone(), &batch, None)?
            };
            let mut given = tape.backward(&output, gradient, gradients)?;
            gradient = given.take(&input).expect("the last operation's output depends on the input");
        }
        let embedded = model.embed(&tape, &self.ids, &self.spans)?;
        tape.backward(&embedded, gradient, gradients)?;
        drop(embedded);
        Ok(tape.into_backend())
    }

    /// What comes after the last layer: (T, D) -> (B, D).
    fn pool<B: Backward>(
        &self,
        model: &Transformer<Tape<B>>,
        pooling: Pooling,
        tape: &Tape<B>,
        x: Tracked<B>,
    ) -> Result<Tracked<B>> {
        tape.pool(&model.finish(tape, x)?, &self.spans, pooling, self.skipped)
    }
}
