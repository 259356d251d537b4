//! The projections that an MLP begins with, with a factor on each neuron where width is learned or masked.

use std::sync::Arc;

use super::linear::TapeLinear;
use super::parameters::{Gradients, Parameter, ParameterRows};
use crate::architecture::Activation;
use crate::compute::backward::{Backward, Combined};
use crate::compute::numbers::Numbers;
use crate::error::Result;

/// act(gate x) * up x, or act(up x).
pub(crate) struct TapeGateUp<B: Backward> {
    pub(crate) gate: Option<Arc<TapeLinear<B>>>,
    pub(crate) up: Arc<TapeLinear<B>>,
    activation: Activation,
    neurons: Option<NeuronFactors<B::Numbers>>,
}

/// Factors on the neurons of an MLP.
struct NeuronFactors<N> {
    /// (I)
    factors: N,
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
    pub(crate) fn mask_neurons(&mut self, backend: &B, factors: Vec<f32>) -> Result<()> {
        let factors = B::Numbers::new(&backend.memory(), factors)?;
        self.neurons = Some(NeuronFactors { factors, trained: None });
        Ok(())
    }

    /// Multiplies each neuron by ReLU of a number that is trained.
    pub(crate) fn train_neurons(&mut self, backend: &B, rows: ParameterRows) -> Result<()> {
        let factors = B::Numbers::new(&backend.memory(), vec![1.0; self.width()])?;
        self.neurons = Some(NeuronFactors { factors, trained: Some(rows) });
        Ok(())
    }

    pub(super) fn is_trained(&self) -> bool {
        self.neurons.as_ref().is_some_and(|neurons| neurons.trained.is_some())
    }

    /// How the backend combines the projections.
    pub(super) fn combined(&self) -> Combined<'_, B::Numbers> {
        let factors = self.neurons.as_ref().map(|neurons| &neurons.factors);
        Combined { activation: self.activation, factors }
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter<B::Numbers>]) -> Result<()> {
        for linear in self.gate.iter_mut().chain([&mut self.up]) {
            Arc::get_mut(linear).expect("no record is kept between steps").refresh(parameters)?;
        }
        match &mut self.neurons {
            Some(NeuronFactors { factors, trained: Some(rows) }) => {
                B::refill_relu(factors, rows.of(parameters))
            }
            _ => Ok(()),
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
        gradients: &mut Gradients<B::Numbers>,
    ) -> Result<()> {
        let trained = self.neurons.as_ref().and_then(|neurons| neurons.trained);
        let mut of_factors = trained.map(|_| gradients.zeros(self.width())).transpose()?;
        backend.combine_backward(&self.combined(), gradient, gate, up, of_factors.as_mut())?;
        if let (Some(rows), Some(sums)) = (trained, &mut of_factors) {
            gradients.add(rows, sums)?;
        }
        Ok(())
    }
}
