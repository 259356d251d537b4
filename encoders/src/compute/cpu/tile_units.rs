//! What multiplies tiles of bf16.
//!
//! AMX has an instruction for two tiles. One of AVX-512 BF16 multiplies a pair of numbers on the left with a line on
//! the right. 16 rows times 16 lines are what AMX does at once.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::amx::{self, ROW_BYTES, TILE_ROWS, Tiles, add_products, load, store, zero};
use super::half_tiles::{Line, Tile};
use super::isa::PANEL;

/// Rows of tiles on the left, and on the right, that are multiplied together. 4 of the 8 registers of AMX are sums.
/// What is read is used twice.
pub(super) const TOGETHER: usize = 2;

/// The sums of 16 rows with 16 columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[f32; PANEL]; TILE_ROWS]);

pub(super) const NO_SUMS: Sums = Sums([[0.0; PANEL]; TILE_ROWS]);

/// The instructions that multiply tiles, ready on this thread.
pub(super) enum TileUnits {
    Amx(Tiles),
    Avx512,
}

impl TileUnits {
    /// The faster ones.
    ///
    /// # Safety
    ///
    /// [`half_tiles::are_there`](super::half_tiles::are_there) has said yes.
    pub(super) unsafe fn ready() -> TileUnits {
        if amx::is_there() {
            // SAFETY: it has just said yes.
            TileUnits::Amx(unsafe { Tiles::configure() })
        } else {
            TileUnits::Avx512
        }
    }

    /// `sums` become the product of two rows of equally many tiles.
    pub(super) fn multiply(&self, left: &[Tile], right: &[Tile], sums: &mut Sums) {
        match self {
            // SAFETY: there are `Tiles`, so the processor has the instructions, and registers have 16 rows of 64 bytes.
            // So have tiles and sums.
            TileUnits::Amx(_) => unsafe {
                zero!("tmm0");
                for (left, right) in left.iter().zip(right) {
                    load!("tmm1", left.as_ptr(), ROW_BYTES);
                    load!("tmm2", right.as_ptr(), ROW_BYTES);
                    add_products!("tdpbf16ps", "tmm0", "tmm1", "tmm2");
                }
                store!("tmm0", sums.0.as_mut_ptr());
            },
            // SAFETY: whoever made the units knows that the instructions are there.
            TileUnits::Avx512 => unsafe { by_pairs(left, right, sums) },
        }
    }

    /// `sums` become the products of each of two rows of tiles with each of two others, all of them equally long.
    pub(super) fn multiply_together(
        &self,
        [a0, a1]: [&[Tile]; TOGETHER],
        [b0, b1]: [&[Tile]; TOGETHER],
        sums: &mut [[Sums; TOGETHER]; TOGETHER],
    ) {
        let [[s00, s01], [s10, s11]] = sums;
        match self {
            // SAFETY: as above.
            TileUnits::Amx(_) => unsafe {
                zero!("tmm0");
                zero!("tmm1");
                zero!("tmm2");
                zero!("tmm3");
                for ((a0, a1), (b0, b1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
                    load!("tmm4", a0.as_ptr(), ROW_BYTES);
                    load!("tmm6", b0.as_ptr(), ROW_BYTES);
                    load!("tmm7", b1.as_ptr(), ROW_BYTES);
                    add_products!("tdpbf16ps", "tmm0", "tmm4", "tmm6");
                    load!("tmm5", a1.as_ptr(), ROW_BYTES);
                    add_products!("tdpbf16ps", "tmm1", "tmm4", "tmm7");
                    add_products!("tdpbf16ps", "tmm2", "tmm5", "tmm6");
                    add_products!("tdpbf16ps", "tmm3", "tmm5", "tmm7");
                }
                store!("tmm0", s00.0.as_mut_ptr());
                store!("tmm1", s01.0.as_mut_ptr());
                store!("tmm2", s10.0.as_mut_ptr());
                store!("tmm3", s11.0.as_mut_ptr());
            },
            TileUnits::Avx512 => {
                for (a, b, sums) in [(a0, b0, s00), (a1, b0, s10), (a0, b1, s01), (a1, b1, s11)] {
                    self.multiply(a, b, sums);
                }
            }
        }
    }
}

/// The 16 rows of sums stay in 16 of 32 registers, which hides the latency of the products.
#[target_feature(enable = "avx512f,avx512bf16")]
fn by_pairs(left: &[Tile], right: &[Tile], sums: &mut Sums) {
    let mut rows = [_mm512_setzero_ps(); TILE_ROWS];
    for (left, right) in left.iter().zip(right) {
        for (pair, line) in right.iter().enumerate() {
            // SAFETY: both are 64 bytes.
            let line = unsafe { transmute::<Line, __m512bh>(*line) };
            for (Line(pairs), row) in left.iter().zip(&mut rows) {
                // SAFETY: both are 64 bytes.
                let pair =
                    unsafe { transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pairs[pair].cast_signed())) };
                *row = _mm512_dpbf16_ps(*row, pair, line);
            }
        }
    }
    for (row, sums) in rows.iter().zip(&mut sums.0) {
        // SAFETY: there are 16 numbers.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *row) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::half_tiles;
    use super::*;

    fn number(pair: u32, half: u32) -> f64 {
        f64::from(f32::from_bits((pair >> (16 * half)) << 16))
    }

    proptest! {
        /// All that this processor has, against the definition. Products of bf16 are exact in f32. The bound is that of
        /// a sum of as many numbers up to 1, in whatever order (Higham 2002, eq. 3.5).
        #[test]
        fn sums_are_those_of_pairs(seed in any::<u64>(), steps in 1..3usize) {
            if !half_tiles::are_there() {
                return Ok(());
            }
            let mut state = seed;
            let mut half = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u32::from(half::bf16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0).to_bits())
            };
            let mut tiles = || -> Vec<Tile> {
                (0..steps).map(|_| std::array::from_fn(|_| Line(std::array::from_fn(|_| half() | half() << 16)))).collect()
            };
            let (left, right) = ([tiles(), tiles()], [tiles(), tiles()]);
            // SAFETY: they are there.
            let fastest = unsafe { TileUnits::ready() };
            for units in [TileUnits::Avx512, fastest] {
                let mut together = [[NO_SUMS; TOGETHER]; TOGETHER];
                units.multiply_together([&left[0], &left[1]], [&right[0], &right[1]], &mut together);
                for (a, of_a) in left.iter().zip(&together) {
                    for (b, of_both) in right.iter().zip(of_a) {
                        let mut alone = NO_SUMS;
                        units.multiply(a, b, &mut alone);
                        prop_assert_eq!(alone.0, of_both.0);
                        for row in 0..TILE_ROWS {
                            for column in 0..PANEL {
                                let pairs = a.iter().zip(b).flat_map(|(a, b)| (0..PANEL).map(|p| (a[row].0[p], b[p].0[column])));
                                let want: f64 =
                                    pairs.map(|(a, b)| number(a, 0) * number(b, 0) + number(a, 1) * number(b, 1)).sum();
                                let terms = (32 * steps) as f64;
                                let bound = terms * terms * f64::from(f32::EPSILON);
                                prop_assert!((f64::from(alone.0[row][column]) - want).abs() <= bound);
                            }
                        }
                    }
                }
            }
        }
    }
}
