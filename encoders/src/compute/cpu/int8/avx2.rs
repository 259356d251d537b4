//! A tile with AVX2. Codes are widened to 16 bits: `vpmaddwd` multiplies them and adds pairs without loss.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps,
    _mm256_fmadd_ps, _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_mul_ps,
    _mm256_permute4x64_epi64, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_storeu_ps,
};

use super::super::isa::prefetch;
use super::Sums;
use super::panels::Line;
use super::tile::{Group, Tile};

/// Twelve vectors of sums beside one of weights and the activations of three rows.
pub(super) const TILE_ROWS: usize = 3;

/// Vectors that the widened codes of a line fill. Each has those of four rows of B.
const QUARTERS: usize = 4;

/// Writes the sums of a tile.
pub(super) fn multiply(tile: &Tile<'_>, sums: &mut Sums) {
    match tile.rows {
        // SAFETY: units of this kind are made after the processor said that it has the instructions.
        1 => unsafe { run::<1>(tile, sums) },
        // SAFETY: as above.
        2 => unsafe { run::<2>(tile, sums) },
        // SAFETY: as above.
        TILE_ROWS => unsafe { run::<TILE_ROWS>(tile, sums) },
        rows => unreachable!("a tile of {rows} rows"),
    }
}

/// 16 codes in 16 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn widened(line: &Line, quarter: usize) -> __m256i {
    let codes = &line.0.as_chunks::<16>().0[quarter];
    // SAFETY: there are 16 bytes.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(codes.as_ptr().cast()) })
}

/// Adds the sums of a group, times the scales of a row and of eight columns. Before the first group the sums are zero,
/// whatever they hold.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn add_scaled(
    sums: &mut [f32; 8],
    integers: __m256i,
    scale: f32,
    of_weights: &[f32; 8],
    is_first: bool,
) {
    // SAFETY: both are eight floats.
    let (of_weights, old) = unsafe { (_mm256_loadu_ps(of_weights.as_ptr()), _mm256_loadu_ps(sums.as_ptr())) };
    let old = if is_first { _mm256_setzero_ps() } else { old };
    let scale = _mm256_mul_ps(_mm256_set1_ps(scale), of_weights);
    let new = _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers), scale, old);
    // SAFETY: as above.
    unsafe { _mm256_storeu_ps(sums.as_mut_ptr(), new) };
}

/// R rows, one panel after the other.
#[target_feature(enable = "avx2,fma")]
fn run<const R: usize>(tile: &Tile<'_>, sums: &mut Sums) {
    let panels = tile.panels;
    let (mut codes, mut lines, mut ahead) = (tile.codes, tile.lines, tile.ahead);
    for (g, scales) in tile.scales.chunks_exact(R).enumerate() {
        let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, R, panels);
        for panel in 0..panels {
            let mut integers = [[_mm256_setzero_si256(); QUARTERS]; R];
            for (quads, lines) in group.chunks_exact(R).zip(body.chunks_exact(panels)) {
                prefetch(ahead);
                ahead = ahead.wrapping_add(tile.step);
                let mut of_rows = [_mm256_setzero_si256(); R];
                for (slot, quad) in of_rows.iter_mut().zip(quads) {
                    *slot = _mm256_cvtepi8_epi16(_mm_set1_epi32(quad.cast_signed()));
                }
                for quarter in 0..QUARTERS {
                    let weights = widened(&lines[panel], quarter);
                    for (row, quads) in integers.iter_mut().zip(&of_rows) {
                        row[quarter] = _mm256_add_epi32(row[quarter], _mm256_madd_epi16(*quads, weights));
                    }
                }
            }
            let (of_weights, _) = head[panel].floats().as_chunks::<8>();
            for ((integers, sums), scale) in integers.iter().zip(sums.0.iter_mut()).zip(scales) {
                let (pairs, _) = integers.as_chunks::<2>();
                let (sums, _) = sums[panel].as_chunks_mut::<8>();
                for ((pair, sums), of_weights) in pairs.iter().zip(sums).zip(of_weights) {
                    // Rows 0, 1, 4, 5, 2, 3, 6, 7 of eight.
                    let integers = _mm256_hadd_epi32(pair[0], pair[1]);
                    let integers = _mm256_permute4x64_epi64::<0b11_01_10_00>(integers);
                    add_scaled(sums, integers, *scale, of_weights, g == 0);
                }
            }
        }
    }
}
