//! Where numkong is not compiled, what is rounded to bf16 is multiplied in f32.

use std::convert::Infallible;

use half::bf16;

/// Whether the processor multiplies bf16 faster than f32.
pub(in super::super) fn has_units() -> bool {
    false
}

/// A matrix that nobody makes.
pub(in super::super) struct Bf16Panels(Infallible);

impl Bf16Panels {
    pub(in super::super) fn pack(_: usize, _: usize, _: impl Fn(usize, usize) -> f32) -> Bf16Panels {
        unreachable!("products in bf16 are chosen where there are units for them")
    }

    pub(in super::super) fn rows(&self) -> usize {
        match self.0 {}
    }

    pub(in super::super) fn depth(&self) -> usize {
        match self.0 {}
    }

    pub(in super::super) fn multiply(&self, _: &[bf16], _: usize, _: &mut Vec<f32>) -> usize {
        match self.0 {}
    }
}
