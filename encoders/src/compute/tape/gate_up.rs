//! The projections that an MLP begins with, with a factor on each neuron where width is learned or masked.

use std::sync::Arc;

use super::linear::TapeLinear;
use super::parameters::{Gradients, Parameter, ParameterRows};
use crate::architecture::Activation;
use crate::compute::backward::{Backward, Combined};
use crate::error::Result;

/// act(gate x) * up x, or act(up x).
pub(crate) struct TapeGateUp<B: Backward> {
    pub(crate) gate: Option<Arc<TapeLinear<B>>>,
    pub(crate) up: Arc<TapeLinear<B>>,
    activation: Activation,
    neurons: Option<NeuronFactors>,
}

/// Factors on the neurons of an MLP.
struct NeuronFactors {
    /// (I)
    factors: Vec<f32>,
    /// z, where it is trained: the factors are ReLU(z) (EffiR, equation 7).
    trained: Option<ParameterRows>,
}

impl<B: Backward> TapeGateUp<B> {
    pub(super) fn new(
        gate: Option<Arc<TapeLinear<B>>>,
        up: Arc<TapeLinear<B>>,
        activation: Activation,
    ) -> TapeGateUp<B> {
        TapeGateUp { gate, up, activation, neurons: None }
    }

    /// I
    pub(crate) fn width(&self) -> usize {
        self.up.num_rows()
    }

    /// Multiplies each neuron by a fixed factor.
    pub(crate) fn mask_neurons(&mut self, factors: Vec<f32>) {
        self.neurons = Some(NeuronFactors { factors, trained: None });
    }

    /// Multiplies each neuron by ReLU of a number that is trained.
    pub(crate) fn train_neurons(&mut self, rows: ParameterRows) {
        self.neurons = Some(NeuronFactors { factors: vec![1.0; self.width()], trained: Some(rows) });
    }

    pub(super) fn is_trained(&self) -> bool {
        self.neurons.as_ref().is_some_and(|neurons| neurons.trained.is_some())
    }

    /// How the backend combines the projections.
    pub(super) fn combined(&self) -> Combined<'_> {
        let factors = self.neurons.as_ref().map(|neurons| &neurons.factors[..]);
        Combined { activation: self.activation, factors }
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        for linear in self.gate.iter_mut().chain([&mut self.up]) {
            Arc::get_mut(linear).expect("no record is kept between steps").refresh(parameters);
        }
        if let Some(NeuronFactors { factors, trained: Some(rows) }) = &mut self.neurons {
            let z = rows.of(parameters, factors.len());
            factors.iter_mut().zip(z).for_each(|(factor, z)| *factor = z.max(0.0));
        }
    }

    /// Turns the gradient of the output into the gradient of the sums before the activation, in place: `up` and
    /// `gate` become their own gradients.
    pub(super) fn backward(
        &self,
        backend: &B,
        gradient: B::Activations,
        gate: Option<&mut B::Activations>,
        up: &mut B::Activations,
        gradients: &mut Gradients,
    ) -> Result<()> {
        let mut of_factors = vec![0.0; if self.is_trained() { self.width() } else { 0 }];
        backend.combine_backward(&self.combined(), gradient, gate, up, &mut of_factors)?;
        if let Some(NeuronFactors { factors, trained: Some(rows) }) = &self.neurons {
            let slots = gradients.of(*rows, factors.len());
            for ((slot, sum), factor) in slots.iter_mut().zip(of_factors).zip(factors) {
                // ReLU passes nothing where it is at zero.
                *slot += if *factor > 0.0 { sum } else { 0.0 };
            }
        }
        Ok(())
    }
}
