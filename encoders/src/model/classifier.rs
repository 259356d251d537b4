//! A transformer with a head that gives one number: the model of a cross-encoder.

use std::path::Path;

use super::Transformer;
use super::load::{linear, norm};
use crate::architecture::Architecture;
use crate::architecture::family;
use crate::compute::{Backend, GateUpWeights, Spans};
use crate::error::Result;
use crate::json;
use crate::pooling::Pooling;
use crate::weights::tensors::Tensors;

/// A transformer whose pooled hidden states become a logit: output(norm(activation(dense(x)))).
pub struct Classifier<B: Backend> {
    transformer: Transformer<B>,
    pooling: Pooling,
    /// With the activation.
    dense: B::GateUp,
    norm: Option<B::Norm>,
    output: B::Linear,
}

impl<B: Backend> Classifier<B> {
    /// Loads the transformer and the head that the config.json at `config` describes.
    ///
    /// # Errors
    ///
    /// The errors of [`Transformer::load`]. The family has no known head, or the head has more than one label.
    pub fn load(
        backend: &B,
        architecture: Architecture,
        config: &Path,
        tensors: &dyn Tensors,
    ) -> Result<Classifier<B>> {
        let head = family::head(config, &json::read(config)?, &architecture)?;
        let hidden_size = architecture.hidden_size;
        let source = (tensors, backend.takes_half());
        let dense = linear(source, head.dense, [hidden_size, hidden_size], head.dense_bias)?;
        let dense = GateUpWeights { gate: None, up: dense, activation: head.activation };
        Ok(Classifier {
            pooling: head.pooling,
            dense: backend.load_gate_up(dense)?,
            norm: head
                .norm
                .map(|name| norm(backend, tensors, &architecture, name, hidden_size))
                .transpose()?,
            output: backend.load_linear(linear(source, head.output, [1, hidden_size], true)?)?,
            transformer: Transformer::load(backend, architecture, tensors)?,
        })
    }

    /// What the transformer looks like.
    pub fn architecture(&self) -> &Architecture {
        self.transformer.architecture()
    }

    /// The logit of each pair of texts: ids (T) of pairs that lie one after the other -> (B).
    ///
    /// `types` (T) is 0 for the first text of a pair and 1 for the second. Empty means 0 throughout, and it must be
    /// empty if [`Architecture::token_types`] is 1. Other types are a mistake of the caller, as ids outside of the
    /// vocabulary are.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn logits(&self, backend: &B, ids: &[u32], types: &[u32], spans: &Spans) -> Result<Vec<f32>> {
        let hidden = self.transformer.forward_typed(backend, ids, types, spans, None)?;
        let pooled = backend.pool(&hidden, spans, self.pooling, 0)?;
        let mut x = backend.gate_up(&pooled, &self.dense)?;
        if let Some(norm) = &self.norm {
            x = backend.norm_in_place(x, norm)?;
        }
        backend.to_vec(&backend.linear(&x, &self.output)?)
    }
}
