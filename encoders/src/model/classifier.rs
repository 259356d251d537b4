//! A transformer with a head that gives one number: the model of a cross-encoder.

use std::borrow::Cow;

use super::family::{self, HeadNames};
use super::{Architecture, Transformer};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::ops::{Matrix, Ops, Spans};

/// A transformer whose first hidden state becomes a logit: output(tanh(dense(x))).
pub struct Classifier<O: Ops> {
    transformer: Transformer<O>,
    /// (D, D)
    dense: Matrix<'static>,
    /// (D)
    dense_bias: Cow<'static, [f32]>,
    /// (D)
    output: Cow<'static, [f32]>,
    output_bias: f32,
}

impl<O: Ops> Classifier<O> {
    /// Loads the transformer and the head of the model directory that `checkpoint` was opened from.
    ///
    /// # Errors
    ///
    /// As [`Transformer::load`]; the family has no head that is known, or the head has more labels than one.
    pub fn load(ops: &O, architecture: Architecture, checkpoint: &Checkpoint) -> Result<Classifier<O>> {
        let HeadNames { dense, output } =
            family::head(&checkpoint.directory().join("config.json"), &architecture)?;
        let hidden_size = architecture.hidden_size;
        let owned = |matrix: Matrix<'_>| matrix.values.into_owned();
        Ok(Classifier {
            dense: Matrix {
                values: owned(checkpoint.matrix(&format!("{dense}.weight"), hidden_size, hidden_size)?)
                    .into(),
                rows: hidden_size,
                columns: hidden_size,
            },
            dense_bias: checkpoint.vector(&format!("{dense}.bias"), hidden_size)?.into_owned().into(),
            output: owned(checkpoint.matrix(&format!("{output}.weight"), 1, hidden_size)?).into(),
            output_bias: checkpoint.vector(&format!("{output}.bias"), 1)?[0],
            transformer: Transformer::load(ops, architecture, checkpoint)?,
        })
    }

    /// What the transformer looks like.
    pub fn architecture(&self) -> &Architecture {
        self.transformer.architecture()
    }

    /// The logit of each text: ids (T) of texts that lie one after the other -> (B).
    ///
    /// # Errors
    ///
    /// What the operations fail with.
    pub fn logits(&self, ops: &O, ids: &[u32], spans: &Spans) -> Result<Vec<f32>> {
        let hidden = ops.to_vec(&self.transformer.forward(ops, ids, spans)?)?;
        let columns = self.dense.columns;
        // One row a text, against hundreds in the transformer: plain loops, summed in f64.
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let logit = |first: &[f32]| {
            let rows = self.dense.values.chunks_exact(columns).zip(self.dense_bias.iter());
            let inner = rows.map(|(row, bias)| (dot(row, first) + f64::from(*bias)).tanh());
            let sum: f64 = inner.zip(self.output.iter()).map(|(x, weight)| x * f64::from(*weight)).sum();
            (sum + f64::from(self.output_bias)) as f32
        };
        Ok(spans.iter().map(|span| logit(&hidden[span.start * columns..][..columns])).collect())
    }
}
