//! The first half of an MLP, with a factor on each neuron where width is learned or masked.

use std::sync::Arc;

use super::linear::RecordedLinear;
use super::parameters::{Gradients, Parameter, Place};
use crate::architecture::Activation;
use crate::compute::cpu::elementwise::derivative;
use crate::compute::cpu::isa::{Arithmetic, Isa, Kernel};

/// The first half of an MLP: act(gate x) * up x, or act(up x).
pub struct RecordedExpand {
    pub(crate) gate: Option<Arc<RecordedLinear>>,
    pub(crate) up: Arc<RecordedLinear>,
    pub(super) activation: Activation,
    neurons: Option<Neurons>,
}

/// Factors on the neurons of an MLP.
pub(crate) struct Neurons {
    /// (I)
    factors: Vec<f32>,
    /// z, where it is trained: the factors are ReLU(z) (EffiR, equation 7).
    gates: Option<Place>,
}

impl RecordedExpand {
    pub(super) fn new(
        gate: Option<RecordedLinear>,
        up: RecordedLinear,
        activation: Activation,
    ) -> RecordedExpand {
        RecordedExpand { gate: gate.map(Arc::new), up: Arc::new(up), activation, neurons: None }
    }

    /// I
    pub(crate) fn width(&self) -> usize {
        self.up.num_rows()
    }

    /// Multiplies each neuron by a fixed factor.
    pub(crate) fn mask(&mut self, factors: Vec<f32>) {
        self.neurons = Some(Neurons { factors, gates: None });
    }

    /// Multiplies each neuron by ReLU of a number that is trained.
    pub(crate) fn train_gates(&mut self, gates: Place) {
        self.neurons = Some(Neurons { factors: vec![1.0; self.width()], gates: Some(gates) });
    }

    pub(super) fn is_gated(&self) -> bool {
        self.neurons.as_ref().is_some_and(|neurons| neurons.gates.is_some())
    }

    pub(super) fn factors(&self) -> Option<&[f32]> {
        self.neurons.as_ref().map(|neurons| &neurons.factors[..])
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        for linear in self.gate.iter_mut().chain([&mut self.up]) {
            Arc::get_mut(linear).expect("no record is kept between steps").refresh(parameters);
        }
        if let Some(Neurons { factors, gates: Some(gates) }) = &mut self.neurons {
            let z = gates.of(parameters, factors.len());
            factors.iter_mut().zip(z).for_each(|(factor, z)| *factor = z.max(0.0));
        }
    }

    /// From the gradient of the output to that of the sums before the activation, in place of those: `up` becomes its own
    /// gradient, `gate` likewise.
    pub(super) fn backward(
        &self,
        isa: Isa,
        gradient: &mut [f32],
        gate: Option<&mut [f32]>,
        up: &mut [f32],
        gradients: &mut Gradients,
    ) {
        let width = self.width();
        let mut of_factors = vec![0.0; if self.is_gated() { width } else { 0 }];
        isa.dispatch(Backward {
            activation: self.activation,
            width,
            factors: self.factors(),
            gradient,
            gate,
            up,
            of_factors: &mut of_factors,
        });
        if let Some(Neurons { factors, gates: Some(gates) }) = &self.neurons {
            let slots = gradients.of(*gates, width);
            for ((slot, sum), factor) in slots.iter_mut().zip(of_factors).zip(factors) {
                // ReLU passes nothing where it is at zero.
                *slot += if *factor > 0.0 { sum } else { 0.0 };
            }
        }
    }
}

/// act(gate) * up * factors, or act(up) * factors, into `out`.
pub(super) struct Combine<'a> {
    pub(super) activation: Activation,
    pub(super) factors: Option<&'a [f32]>,
    pub(super) gate: Option<&'a [f32]>,
    pub(super) up: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Combine<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Combine { activation, factors, gate, up, out } = self;
        out.copy_from_slice(gate.unwrap_or(up));
        activation.apply::<A>(out);
        if gate.is_some() {
            for (out, up) in out.iter_mut().zip(up) {
                *out *= up;
            }
        }
        if let Some(factors) = factors {
            for row in out.chunks_exact_mut(factors.len()) {
                for (out, factor) in row.iter_mut().zip(factors) {
                    *out *= factor;
                }
            }
        }
    }
}

struct Backward<'a> {
    activation: Activation,
    width: usize,
    factors: Option<&'a [f32]>,
    gradient: &'a mut [f32],
    gate: Option<&'a mut [f32]>,
    up: &'a mut [f32],
    /// The gradient of each factor, or nothing.
    of_factors: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Backward { activation, width, factors, gradient, mut gate, up, of_factors } = self;
        let mut active = vec![0.0; width];
        for (row, (g, up)) in gradient.chunks_exact_mut(width).zip(up.chunks_exact_mut(width)).enumerate() {
            let gate = gate.as_deref_mut().map(|gate| &mut gate[row * width..(row + 1) * width]);
            active.copy_from_slice(gate.as_deref().unwrap_or(up));
            activation.apply::<A>(&mut active);
            if !of_factors.is_empty() {
                for (((slot, g), active), up) in
                    of_factors.iter_mut().zip(g.iter()).zip(&active).zip(up.iter())
                {
                    *slot += g * active * if gate.is_some() { *up } else { 1.0 };
                }
            }
            if let Some(factors) = factors {
                for (g, factor) in g.iter_mut().zip(factors) {
                    *g *= factor;
                }
            }
            match gate {
                Some(gate) => {
                    derivative::<A>(activation, gate);
                    for (((gate, up), active), g) in gate.iter_mut().zip(up).zip(&active).zip(g.iter()) {
                        *gate *= *up * g;
                        *up = active * g;
                    }
                }
                None => {
                    derivative::<A>(activation, up);
                    for (up, g) in up.iter_mut().zip(g.iter()) {
                        *up *= g;
                    }
                }
            }
        }
    }
}
