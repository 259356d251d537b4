//! Rotary positions: pairs of columns rotated by the token's position (Su et al. 2021).

use super::isa::{Arithmetic, Kernel};
use crate::architecture::AttentionShape;
use crate::compute::RotationWeights;

/// Cosines (L, K / 2) and sines (L, K / 2).
pub struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rotation {
    pub(super) fn new(weights: RotationWeights<'_>) -> Rotation {
        let half = weights.cos.columns;
        Rotation { cos: weights.cos.values.into_owned(), sin: weights.sin.values.into_owned(), half }
    }
}

/// Rotates the queries and keys of one text, in place.
pub(super) struct Rotate<'a> {
    /// (L, columns)
    pub(super) rows: &'a mut [f32],
    pub(super) columns: usize,
    pub(super) rotation: &'a Rotation,
    pub(super) shape: &'a AttentionShape,
}

impl Kernel for Rotate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Rotation { cos, sin, half } = self.rotation;
        let rotated = self.shape.num_rotated_heads() * self.shape.head_dim;
        let angles = cos.chunks_exact(*half).zip(sin.chunks_exact(*half));
        for (row, (cos, sin)) in self.rows.chunks_exact_mut(self.columns).zip(angles) {
            for head in row[..rotated].chunks_exact_mut(self.shape.head_dim) {
                let (a, b) = head.split_at_mut(*half);
                for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    (*a, *b) = (A::mul_add(*a, *cos, -*b * *sin), A::mul_add(*b, *cos, *a * *sin));
                }
            }
        }
    }
}
