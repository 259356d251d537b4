//! What comes between the projections that an MLP begins with and the one that it ends with, and its gradient.

use super::elementwise::derivative;
use super::isa::{Arithmetic, Kernel};
use crate::architecture::Activation;

/// act(gate) * up * factors, or act(up) * factors, into `out`.
pub(super) struct Combine<'a> {
    pub(super) activation: Activation,
    pub(super) width: usize,
    pub(super) factors: Option<&'a [f32]>,
    pub(super) gate: Option<&'a [f32]>,
    pub(super) up: &'a [f32],
    pub(super) out: &'a mut [f32],
}

impl Kernel for Combine<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Combine { activation, width, factors, gate, up, out } = self;
        // A row after the other, which stays in the first cache until all is done with it.
        for (row, (out, up)) in out.chunks_exact_mut(width).zip(up.chunks_exact(width)).enumerate() {
            let gate = gate.map(|gate| &gate[row * width..(row + 1) * width]);
            out.copy_from_slice(gate.unwrap_or(up));
            activation.apply::<A>(out);
            if gate.is_some() {
                for (out, up) in out.iter_mut().zip(up) {
                    *out *= up;
                }
            }
            for (out, factor) in out.iter_mut().zip(factors.unwrap_or_default()) {
                *out *= factor;
            }
        }
    }
}

/// From the gradient of the output to those of `gate` and `up`, in place of them.
pub(super) struct CombineBackward<'a> {
    pub(super) activation: Activation,
    pub(super) width: usize,
    pub(super) factors: Option<&'a [f32]>,
    pub(super) gradient: &'a mut [f32],
    pub(super) gate: Option<&'a mut [f32]>,
    pub(super) up: &'a mut [f32],
    /// The gradient of each factor, or nothing.
    pub(super) of_factors: &'a mut [f32],
}

impl Kernel for CombineBackward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let CombineBackward { activation, width, factors, gradient, mut gate, up, of_factors } = self;
        let mut active = vec![0.0; width];
        for (row, (g, up)) in gradient.chunks_exact_mut(width).zip(up.chunks_exact_mut(width)).enumerate() {
            let gate = gate.as_deref_mut().map(|gate| &mut gate[row * width..(row + 1) * width]);
            if gate.is_some() || !of_factors.is_empty() {
                active.copy_from_slice(gate.as_deref().unwrap_or(up));
                activation.apply::<A>(&mut active);
            }
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
