//! A tile with AVX-512 VNNI: `vpdpbusd` multiplies 64 unsigned codes with 64 signed ones and adds four products each to
//! 16 sums.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

use std::arch::x86_64::{
    __m128i, __m512, __m512i, _mm512_and_si512, _mm512_castps_si512, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_max_epu32, _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::super::isa::PANEL;
use super::super::isa::prefetch;
use super::codes::{ROUND, of_largest};
use super::panels::Line;
use super::tile::{Group, Tile};
use super::{GROUP, QUAD, Quad, Sums, Units};

/// Rows of a tile. Their sums of two panels leave four of 32 registers.
pub(super) const TILE_ROWS: usize = 14;

/// Codes of [`PANEL`] numbers.
pub(super) type Chunk = [Quad; PANEL / QUAD];

/// Writes the codes of a group to every `stride`th of `slots` and returns the scale.
pub(super) fn quantize(group: &[f32], slots: &mut [Quad], stride: usize) -> f32 {
    let quads = group.len().div_ceil(QUAD);
    assert!((1..=GROUP / QUAD).contains(&quads) && (quads - 1) * stride < slots.len());
    match <&[f32; GROUP]>::try_from(group) {
        // SAFETY: units of this kind are made after the processor said that it has the instructions.
        Ok(group) => unsafe { quantize_group::<true>(group, GROUP / QUAD, slots, stride) },
        // SAFETY: as above.
        Err(_) => unsafe { quantize_group::<false>(&filled_up(group), quads, slots, stride) },
    }
}

/// The numbers of a group that is cut, and zeros.
pub(super) fn filled_up(group: &[f32]) -> [f32; GROUP] {
    let mut whole = [0.0; GROUP];
    whole[..group.len()].copy_from_slice(group);
    whole
}

/// The same of a group with zeros at its end, of which only the first `quads` are written; all of them if `WHOLE`. That
/// many times `stride` are inside of `slots`.
#[target_feature(enable = "avx512f")]
#[inline]
fn quantize_group<const WHOLE: bool>(
    group: &[f32; GROUP],
    quads: usize,
    slots: &mut [Quad],
    stride: usize,
) -> f32 {
    let (codes, scale) = encode_group(group, Units::Avx512Vnni.offset());
    for (quad, code) in codes.as_flattened().iter().enumerate() {
        if WHOLE || quad < quads {
            // SAFETY: `quantize` has compared the last place with the length.
            *unsafe { slots.get_unchecked_mut(quad * stride) } = *code;
        }
    }
    scale
}

/// The codes of a group, plus `offset`, and the scale.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn encode_group(group: &[f32; GROUP], offset: u8) -> ([Chunk; GROUP / PANEL], f32) {
    let mut largest = _mm512_setzero_si512();
    let (chunks, _) = group.as_chunks::<PANEL>();
    for chunk in chunks {
        // SAFETY: there are 16 numbers.
        let bits = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
        // Bits of absolute values are in the order of the values, and NaN is above all.
        largest = _mm512_max_epu32(largest, _mm512_and_si512(bits, _mm512_set1_epi32(i32::MAX)));
    }
    let (inverse, scale) = of_largest(f32::from_bits(_mm512_reduce_max_epu32(largest)));
    let (inverse, round) = (_mm512_set1_ps(inverse), _mm512_set1_ps(ROUND + f32::from(offset)));
    let mut codes = [Chunk::default(); GROUP / PANEL];
    for (chunk, codes) in chunks.iter().zip(&mut codes) {
        // SAFETY: as above.
        let values = unsafe { _mm512_loadu_ps(chunk.as_ptr()) };
        let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(_mm512_fmadd_ps(values, inverse, round)));
        // SAFETY: both have 16 bytes.
        *codes = unsafe { transmute::<__m128i, Chunk>(bytes) };
    }
    (codes, scale)
}

/// Writes the sums of a tile.
pub(super) fn multiply(tile: &Tile<'_>, sums: &mut Sums) {
    macro_rules! by_shape {
        ($($rows:literal)*) => {
            match (tile.rows, tile.panels) {
                $(
                    // SAFETY: units of this kind are made after the processor said that it has the instructions.
                    ($rows, 1) => unsafe { run::<$rows, 1>(tile, sums) },
                    // SAFETY: as above.
                    ($rows, _) => unsafe { run::<$rows, 2>(tile, sums) },
                )*
                (rows, _) => unreachable!("a tile of {rows} rows"),
            }
        };
    }
    by_shape!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line has 64 bytes.
    unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) }
}

/// `total` + the sums of a group, times the scales of a row and of a panel.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn add_scaled(total: __m512, integers: __m512i, scale: f32, of_weights: &[f32; PANEL]) -> __m512 {
    // SAFETY: there are 16 floats.
    let of_weights = unsafe { _mm512_loadu_ps(of_weights.as_ptr()) };
    let scale = _mm512_mul_ps(_mm512_set1_ps(scale), of_weights);
    _mm512_fmadd_ps(_mm512_cvtepi32_ps(integers), scale, total)
}

/// R rows by P panels. R P sums of integers stay in registers, at most 28 of 32. Those in f32 are touched once a group.
#[target_feature(enable = "avx512f,avx512vnni")]
fn run<const R: usize, const P: usize>(tile: &Tile<'_>, sums: &mut Sums) {
    let (mut codes, mut lines) = (tile.codes, tile.lines);
    let (mut ahead, step) = (tile.ahead, tile.step);
    // While integers fill the registers these are put aside. In `sums` each would be stored twice a group.
    let mut totals = [[_mm512_setzero_ps(); P]; R];
    for scales in tile.scales.chunks_exact(R) {
        let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, R, P);
        let mut integers = [[_mm512_setzero_si512(); P]; R];
        for row in &mut integers {
            for (sum, correction) in row.iter_mut().zip(&head[P..]) {
                *sum = load(correction);
            }
        }
        for (quads, weights) in group.chunks_exact(R).zip(body.chunks_exact(P)) {
            let mut of_weights = [_mm512_setzero_si512(); P];
            for (slot, line) in of_weights.iter_mut().zip(weights) {
                *slot = load(line);
                prefetch(ahead);
                ahead = ahead.wrapping_add(step);
            }
            for (row, quad) in integers.iter_mut().zip(quads) {
                let quad = _mm512_set1_epi32(quad.cast_signed());
                for (sum, weights) in row.iter_mut().zip(&of_weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, quad, *weights);
                }
            }
        }
        for ((row, totals), scale) in integers.iter().zip(&mut totals).zip(scales) {
            for ((integers, total), of_weights) in row.iter().zip(totals).zip(head) {
                *total = add_scaled(*total, *integers, *scale, of_weights.floats());
            }
        }
    }
    for (sums, totals) in sums.0.iter_mut().zip(&totals) {
        for (sums, total) in sums.iter_mut().zip(totals) {
            // SAFETY: there is room for 16 floats.
            unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), *total) };
        }
    }
}
