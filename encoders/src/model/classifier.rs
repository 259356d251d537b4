//! A transformer with a head that gives one number: the model of a cross-encoder.

use std::path::Path;

use super::Transformer;
use super::load::{linear, norm};
use crate::architecture::Architecture;
use crate::architecture::family;
use crate::compute::{ExpandWeights, Ops, Spans};
use crate::error::Result;
use crate::json;
use crate::pooling::Pooling;
use crate::weights::matrix::Matrix;
use crate::weights::tensors::Tensors;

/// A transformer whose pooled hidden states become a logit: output(norm(activation(dense(x)))).
pub struct Classifier<O: Ops> {
    transformer: Transformer<O>,
    pooling: Pooling,
    /// With the activation.
    dense: O::Expand,
    norm: Option<O::Norm>,
    output: O::Linear,
}

impl<O: Ops> Classifier<O> {
    /// Loads the transformer and the head that the config.json at `config` describes.
    ///
    /// # Errors
    ///
    /// As [`Transformer::load`]; the family has no head that is known, or the head has more labels than one.
    pub fn load(
        ops: &O,
        architecture: Architecture,
        config: &Path,
        tensors: &dyn Tensors,
    ) -> Result<Classifier<O>> {
        let head = family::head(config, &json::read(config)?, &architecture)?;
        let hidden_size = architecture.hidden_size;
        let dense = linear(tensors, head.dense, [hidden_size, hidden_size], head.dense_bias)?;
        let dense = ExpandWeights { gate: None, up: dense, activation: head.activation };
        Ok(Classifier {
            pooling: head.pooling,
            dense: ops.load_expand(dense)?,
            norm: head.norm.map(|name| norm(ops, tensors, &architecture, name, hidden_size)).transpose()?,
            output: ops.load_linear(linear(tensors, head.output, [1, hidden_size], true)?)?,
            transformer: Transformer::load(ops, architecture, tensors)?,
        })
    }

    /// What the transformer looks like.
    pub fn architecture(&self) -> &Architecture {
        self.transformer.architecture()
    }

    /// The logit of each pair of texts: ids (T) of pairs that lie one after the other -> (B).
    ///
    /// `types` (T) tells the first text of a pair, 0, from the second, 1. It may be empty, which means 0 throughout, and has to
    /// be where [`Architecture::token_types`] is 1. Other types are the caller's mistake, as ids outside of the vocabulary are.
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn logits(&self, ops: &O, ids: &[u32], types: &[u32], spans: &Spans) -> Result<Vec<f32>> {
        let hidden = self.transformer.forward_typed(ops, ids, types, spans, &mut |_, _| Ok(()))?;
        let columns = self.architecture().hidden_size;
        let pooled = self.pooling.pool(&ops.to_vec(&hidden)?, columns, spans, 0);
        // Numbers become rows of activations by way of a table.
        let table = Matrix { values: pooled.into(), rows: spans.len(), columns };
        let rows: Vec<u32> = (0..spans.len() as u32).collect();
        let x = ops.embed(&ops.load_table(table)?, &rows)?;
        let mut x = ops.expand(&x, &self.dense)?;
        if let Some(norm) = &self.norm {
            x = ops.norm(x, norm)?;
        }
        ops.to_vec(&ops.linear(&x, &self.output)?)
    }
}
