//! Norms whose weights are trained.

use std::ops::Range;

use super::SubLayerScale;
use super::parameters::{Gradients, Parameter, ParameterRows};
use crate::compute::backward::Backward;
use crate::error::Result;

/// A norm, and whether it is trained.
pub(crate) struct TapeNorm<B: Backward> {
    loaded: B::Norm,
    trained: Option<TrainedNorm>,
    /// Where it is the last of a sub-layer that is differentiated by its size.
    pub(crate) scale: Option<SubLayerScale>,
}

/// Where the weight and bias of a norm are trained.
#[derive(Clone, Copy)]
pub(crate) struct TrainedNorm {
    pub(crate) weight: ParameterRows,
    pub(crate) bias: Option<ParameterRows>,
    /// Added to the trained weight (Gemma stores weights less one).
    pub(crate) offset: f32,
}

impl<B: Backward> TapeNorm<B> {
    pub(super) fn new(loaded: B::Norm) -> TapeNorm<B> {
        TapeNorm { loaded, trained: None, scale: None }
    }

    /// The norm of the backend.
    pub(super) fn loaded(&self) -> &B::Norm {
        &self.loaded
    }

    /// Trains weight and bias.
    pub(crate) fn train(&mut self, trained: TrainedNorm) {
        self.trained = Some(trained);
    }

    pub(super) fn is_trained(&self) -> bool {
        self.trained.is_some()
    }

    /// D
    pub(super) fn len(&self) -> usize {
        B::norm_length(&self.loaded)
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter<B::Numbers>]) -> Result<()> {
        let Some(TrainedNorm { weight, bias, offset }) = self.trained else { return Ok(()) };
        let bias = bias.map(|rows| rows.of(parameters));
        B::refill_norm(&mut self.loaded, weight.of(parameters), offset, bias)
    }

    /// From the gradient of the output to that of the input `x`, of which some heads were normed, and of what is
    /// trained.
    pub(super) fn backward(
        &self,
        backend: &B,
        x: &B::Activations,
        heads: Range<usize>,
        gradient: B::Activations,
        gradients: &mut Gradients<B::Numbers>,
    ) -> Result<B::Activations> {
        let zeros = || gradients.zeros(self.len());
        let mut sums = match self.trained {
            Some(_) => Some([zeros()?, zeros()?]),
            None => None,
        };
        let gradient = backend.norm_heads_backward(&self.loaded, x, heads, gradient, sums.as_mut())?;
        if let (Some(TrainedNorm { weight, bias, .. }), Some([of_weight, of_bias])) =
            (self.trained, &mut sums)
        {
            gradients.add(weight, of_weight)?;
            if let Some(bias) = bias {
                gradients.add(bias, of_bias)?;
            }
        }
        Ok(gradient)
    }
}
