//! A tile with AVX-VNNI: `vpdpbusd` multiplies 32 unsigned codes with 32 signed ones and adds four products each to
//! eight sums.
//!
//! Processors with AVX-512 VNNI know the same instruction in another encoding, which the tests run.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

#[cfg(test)]
use std::arch::x86_64::_mm256_dpbusd_epi32;
use std::arch::x86_64::{
    __m256i, _mm256_dpbusd_avx_epi32, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_setzero_si256,
};

use super::super::isa::prefetch;
use super::Sums;
use super::avx2::add_scaled;
use super::panels::Line;
use super::tile::{Group, Tile};

/// Twelve vectors of sums beside two of weights and one of activations.
pub(super) const TILE_ROWS: usize = 6;

/// Vectors that a line fills.
const HALVES: usize = 2;

#[target_feature(enable = "avx")]
#[inline]
fn load(line: &Line, half: usize) -> __m256i {
    // SAFETY: a line has two times 32 bytes.
    unsafe { _mm256_loadu_si256(line.0.as_ptr().cast::<__m256i>().add(half)) }
}

/// `$multiply` writes the sums of a tile with the instructions `$features`.
macro_rules! tile {
    ($multiply:ident, $run:ident, $features:literal, $dot:ident) => {
        pub(super) fn $multiply(tile: &Tile<'_>, sums: &mut Sums) {
            match tile.rows {
                // SAFETY: units of this kind are made after the processor said that it has the instructions.
                1 => unsafe { $run::<1>(tile, sums) },
                // SAFETY: as above.
                2 => unsafe { $run::<2>(tile, sums) },
                // SAFETY: as above.
                3 => unsafe { $run::<3>(tile, sums) },
                // SAFETY: as above.
                4 => unsafe { $run::<4>(tile, sums) },
                // SAFETY: as above.
                5 => unsafe { $run::<5>(tile, sums) },
                // SAFETY: as above.
                TILE_ROWS => unsafe { $run::<TILE_ROWS>(tile, sums) },
                rows => unreachable!("a tile of {rows} rows"),
            }
        }

        /// R rows, one panel after the other.
        #[target_feature(enable = $features)]
        fn $run<const R: usize>(tile: &Tile<'_>, sums: &mut Sums) {
            let panels = tile.panels;
            let (mut codes, mut lines, mut ahead) = (tile.codes, tile.lines, tile.ahead);
            for (g, scales) in tile.scales.chunks_exact(R).enumerate() {
                let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, R, panels);
                for panel in 0..panels {
                    let mut integers = [[_mm256_setzero_si256(); HALVES]; R];
                    for row in &mut integers {
                        for (half, sum) in row.iter_mut().enumerate() {
                            *sum = load(&head[panels + panel], half);
                        }
                    }
                    for (quads, lines) in group.chunks_exact(R).zip(body.chunks_exact(panels)) {
                        prefetch(ahead);
                        ahead = ahead.wrapping_add(tile.step);
                        let weights = [load(&lines[panel], 0), load(&lines[panel], 1)];
                        for (row, quad) in integers.iter_mut().zip(quads) {
                            let quad = _mm256_set1_epi32(quad.cast_signed());
                            for (sum, weights) in row.iter_mut().zip(&weights) {
                                *sum = $dot(*sum, quad, *weights);
                            }
                        }
                    }
                    let (of_weights, _) = head[panel].floats().as_chunks::<8>();
                    for ((integers, sums), scale) in integers.iter().zip(sums.0.iter_mut()).zip(scales) {
                        let (sums, _) = sums[panel].as_chunks_mut::<8>();
                        for ((integers, sums), of_weights) in integers.iter().zip(sums).zip(of_weights) {
                            add_scaled(sums, *integers, *scale, of_weights, g == 0);
                        }
                    }
                }
            }
        }
    };
}

tile!(multiply, run, "avx2,fma,avxvnni", _mm256_dpbusd_avx_epi32);
#[cfg(test)]
tile!(multiply_by_avx512, run_by_avx512, "avx2,fma,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
