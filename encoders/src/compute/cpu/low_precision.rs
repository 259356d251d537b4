//! Matrices that are stored in fewer bits than f32, unpacked a few panels at a time while they are multiplied in f32.

use std::ops::Range;

use half::bf16;

use super::isa::{Arithmetic, Isa, Kernel, PANEL};
use super::nf4::Nf4Panels;
use super::packed_matrix::PackedMatrix;

/// How many numbers are unpacked at a time: 256 KiB, which fit the second-level cache beside a block of activations.
const WINDOW: usize = 64 << 10;

/// A matrix (N, K) that is multiplied in f32 and held in less.
pub(crate) enum LowPrecision {
    Nf4(Nf4Panels),
    Bf16(HalfPanels),
}

impl LowPrecision {
    /// N, the columns of a product with this matrix.
    pub(super) fn rows(&self) -> usize {
        match self {
            LowPrecision::Nf4(matrix) => matrix.rows(),
            LowPrecision::Bf16(matrix) => matrix.rows,
        }
    }

    /// K.
    pub(super) fn depth(&self) -> usize {
        match self {
            LowPrecision::Nf4(matrix) => matrix.depth(),
            LowPrecision::Bf16(matrix) => matrix.depth,
        }
    }

    /// How many panels are unpacked at a time.
    pub(super) fn window(&self) -> usize {
        (WINDOW / (PANEL * self.depth())).max(1)
    }

    /// Makes `window` the panels `panels` of this matrix in f32.
    pub(super) fn unpack(&self, isa: Isa, panels: Range<usize>, window: &mut PackedMatrix) {
        let (rows, depth) = (self.rows(), self.depth());
        let values = window.refill_window(rows, depth, panels.clone());
        match self {
            LowPrecision::Nf4(matrix) => matrix.unpack(isa, panels, values),
            LowPrecision::Bf16(HalfPanels { halves, .. }) => {
                let halves = &halves[panels.start * PANEL * depth..panels.end * PANEL * depth];
                isa.dispatch(Widen { halves, out: values });
            }
        }
    }
}

/// A matrix (N, K) in bf16, in the order of [`PackedMatrix`].
pub(crate) struct HalfPanels {
    halves: Vec<bf16>,
    rows: usize,
    depth: usize,
}

impl HalfPanels {
    /// Packs a matrix (`rows`, `depth`), rounded to nearest, ties to even; `value(row, k)` gives the elements.
    pub(super) fn pack(rows: usize, depth: usize, value: impl Fn(usize, usize) -> f32) -> HalfPanels {
        let halves = vec![bf16::ZERO; rows.next_multiple_of(PANEL) * depth];
        let mut matrix = HalfPanels { halves, rows, depth };
        matrix.refill(value);
        matrix
    }

    /// Packs another matrix of the same shape.
    pub(super) fn refill(&mut self, value: impl Fn(usize, usize) -> f32) {
        let HalfPanels { halves, rows, depth } = self;
        for (p, panel) in halves.chunks_exact_mut((PANEL * *depth).max(1)).enumerate() {
            for (k, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                for (lane, slot) in line.iter_mut().enumerate() {
                    let row = p * PANEL + lane;
                    *slot = if row < *rows { bf16::from_f32(value(row, k)) } else { bf16::ZERO };
                }
            }
        }
    }
}

/// Writes numbers in bf16 as f32.
struct Widen<'a> {
    halves: &'a [bf16],
    out: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (out, half) in self.out.iter_mut().zip(self.halves) {
            *out = widened(*half);
        }
    }
}

/// The f32 that a bf16 is the upper half of. The conversion of the crate `half` looks for NaN first, which keeps loops
/// from being vectorized. There is no NaN here: weights that are not finite are refused when they are read.
#[inline(always)]
pub(super) fn widened(half: bf16) -> f32 {
    f32::from_bits(u32::from(half.to_bits()) << 16)
}
