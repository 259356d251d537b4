//! Norms and what their gradients are made of.

use super::parameters::{Gradients, Parameter, Place};
use crate::compute::NormWeights;
use crate::compute::cpu::elementwise::sum;
use crate::compute::cpu::isa::{Arithmetic, Isa, Kernel};

/// A norm, and whether it is trained.
pub struct RecordedNorm {
    pub(super) weights: NormWeights<'static>,
    trained: Option<TrainedNorm>,
}

/// Where the weight and bias of a norm are trained.
#[derive(Clone, Copy)]
pub(crate) struct TrainedNorm {
    pub(crate) weight: Place,
    pub(crate) bias: Option<Place>,
    /// Added to the trained weight (Gemma stores weights less one).
    pub(crate) offset: f32,
}

impl RecordedNorm {
    pub(super) fn new(weights: NormWeights<'static>) -> RecordedNorm {
        RecordedNorm { weights, trained: None }
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
        let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = &self.weights;
        weight.len()
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        let Some(trained) = self.trained else { return };
        let length = self.len();
        let (NormWeights::Layer { weight, .. } | NormWeights::Rms { weight, .. }) = &mut self.weights;
        let values = trained.weight.of(parameters, length);
        weight.to_mut().iter_mut().zip(values).for_each(|(slot, value)| *slot = value + trained.offset);
        if let (NormWeights::Layer { bias, .. }, Some(place)) = (&mut self.weights, trained.bias) {
            bias.to_mut().copy_from_slice(place.of(parameters, length));
        }
    }

    /// From the gradient of the output (rows of D) to that of the input, in place, and of what is trained. `inputs` are what
    /// was normed.
    pub(super) fn backward(&self, isa: Isa, inputs: &[f32], gradient: &mut [f32], gradients: &mut Gradients) {
        let length = self.len();
        let (mut of_weight, mut of_bias) = (vec![0.0; length], vec![0.0; length]);
        isa.dispatch(Backward {
            norm: &self.weights,
            inputs,
            gradient,
            of_weight: &mut of_weight,
            of_bias: &mut of_bias,
        });
        if let Some(TrainedNorm { weight, bias, .. }) = self.trained {
            for (place, sums) in [(Some(weight), of_weight), (bias, of_bias)] {
                if let Some(place) = place {
                    let slots = gradients.of(place, length);
                    slots.iter_mut().zip(sums).for_each(|(slot, sum)| *slot += sum);
                }
            }
        }
    }
}

/// With x' = (x - m) s, s = 1 / sqrt(variance + eps), and h = g w: dL/dx = s (h - mean(h) - x' mean(h x')); an RMS norm has
/// m = 0 and no mean(h).
struct Backward<'a> {
    norm: &'a NormWeights<'static>,
    inputs: &'a [f32],
    gradient: &'a mut [f32],
    of_weight: &'a mut [f32],
    of_bias: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Backward { norm, inputs, gradient, of_weight, of_bias } = self;
        let (weight, eps, centered) = match norm {
            NormWeights::Layer { weight, eps, .. } => (weight, *eps, true),
            NormWeights::Rms { weight, eps } => (weight, *eps, false),
        };
        let columns = weight.len();
        let count = columns as f32;
        let mut unit = vec![0.0; columns];
        let mut product = vec![0.0; columns];
        for (x, g) in inputs.chunks_exact(columns).zip(gradient.chunks_exact_mut(columns)) {
            let mean = if centered { sum(x, |x| x) / count } else { 0.0 };
            let scale = 1.0 / (sum(x, |x| (x - mean) * (x - mean)) / count + eps).sqrt();
            for (unit, x) in unit.iter_mut().zip(x) {
                *unit = (x - mean) * scale;
            }
            for (((of_weight, of_bias), unit), g) in
                of_weight.iter_mut().zip(of_bias.iter_mut()).zip(&unit).zip(g.iter())
            {
                *of_weight = A::mul_add(*g, *unit, *of_weight);
                *of_bias += g;
            }
            for (g, weight) in g.iter_mut().zip(weight.iter()) {
                *g *= weight;
            }
            for ((product, unit), g) in product.iter_mut().zip(&unit).zip(g.iter()) {
                *product = unit * g;
            }
            let along = sum(&product, |x| x) / count;
            let shift = if centered { sum(g, |x| x) / count } else { 0.0 };
            for (g, unit) in g.iter_mut().zip(&unit) {
                *g = scale * (*g - shift - unit * along);
            }
        }
    }
}
