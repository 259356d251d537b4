//! Products of numbers rounded to bf16, on processors that have instructions for them.
//!
//! The crate numkong packs the weights and multiplies. Our code then adds biases and activates. Only x86-64 takes the
//! crate. Elsewhere it has nothing that is used, and GCC 12 does not compile it for Arm.

use half::bf16;

use super::gemm::Epilogue;
use super::isa::{Arithmetic, Kernel, PANEL};
use super::packed_matrix::PackedMatrix;

#[cfg(not(target_arch = "x86_64"))]
mod no_units;
#[cfg(target_arch = "x86_64")]
mod units;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use no_units::{Bf16Panels, has_units};
#[cfg(target_arch = "x86_64")]
pub(super) use units::{Bf16Panels, has_units};

/// Panels that are packed together: 256 rows.
pub(super) const CHUNK: usize = 16;

/// Rounds to nearest, ties to even, as `bf16::from_f32`, which looks for NaN first: a loop over activations
/// would not be vectorized.
#[inline(always)]
fn rounded(x: f32) -> bf16 {
    let bits = x.to_bits();
    bf16::from_bits((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
}

/// Rounds activations.
pub(super) fn round_into(values: &[f32], out: &mut Vec<bf16>) {
    out.clear();
    out.extend(values.iter().map(|x| rounded(*x)));
}

/// The twin of [`Bf16Panels`]: the rounded numbers, to be multiplied in f32.
pub(super) fn pack_rounded(rows: usize, depth: usize, value: impl Fn(usize, usize) -> f32) -> PackedMatrix {
    let mut matrix = PackedMatrix::default();
    matrix.refill(rows, depth, |row, k| bf16::from_f32(value(row, k)).to_f32());
    matrix
}

/// Hands sums (M, columns) to an epilogue, panel by panel.
pub(super) struct Finish<'a, 'out, E> {
    pub(super) sums: &'a [f32],
    /// A multiple of [`PANEL`].
    pub(super) columns: usize,
    pub(super) first_panel: usize,
    pub(super) epilogue: E,
    /// M rows, from the output column of the first panel on.
    pub(super) out: &'a mut [&'out mut [f32]],
}

impl<E: Epilogue> Kernel for Finish<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (sums, out) in self.sums.chunks_exact(self.columns).zip(self.out) {
            for (panel, values) in sums.as_chunks::<PANEL>().0.iter().enumerate() {
                let start = (panel * E::WIDTH).min(out.len());
                let end = (start + E::WIDTH).min(out.len());
                self.epilogue.store::<A>(self.first_panel + panel, values, &mut out[start..end]);
            }
        }
    }
}
