//! A tile with NEON's dot product: `sdot` multiplies 16 signed codes with 16 others and adds four products each to four
//! sums.
//!
//! The standard library's function for it is not stable, so the instruction is written in assembly.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

use std::arch::aarch64::{
    float32x4_t, int32x4_t, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vld1q_f32, vld1q_s8,
    vmulq_n_f32, vreinterpretq_s32_s8, vst1q_f32,
};
use std::arch::asm;
use std::mem::transmute;

use super::panels::Line;
use super::tile::{Group, Tile};
use super::{Quad, Sums};

/// Twenty-four vectors of sums beside four of weights and two of activations.
pub(super) const TILE_ROWS: usize = 6;

/// Vectors that a line fills. Each has the codes of four rows of B.
const QUARTERS: usize = 4;

/// Quads of a vector, each of which the instruction can take for all.
const LANES: usize = 4;

/// Writes the sums of a tile.
pub(super) fn multiply(tile: &Tile<'_>, sums: &mut Sums) {
    match tile.rows {
        // SAFETY: units of this kind are made after the processor said that it has the instructions.
        1 => unsafe { run::<1>(tile, sums) },
        // SAFETY: as above.
        2 => unsafe { run::<2>(tile, sums) },
        // SAFETY: as above.
        3 => unsafe { run::<3>(tile, sums) },
        // SAFETY: as above.
        4 => unsafe { run::<4>(tile, sums) },
        // SAFETY: as above.
        5 => unsafe { run::<5>(tile, sums) },
        // SAFETY: as above.
        TILE_ROWS => unsafe { run::<TILE_ROWS>(tile, sums) },
        rows => unreachable!("a tile of {rows} rows"),
    }
}

/// The codes of four rows of B.
#[target_feature(enable = "neon")]
#[inline]
fn load(line: &Line, quarter: usize) -> int32x4_t {
    let codes = &line.0.as_chunks::<16>().0[quarter];
    // SAFETY: there are 16 bytes.
    vreinterpretq_s32_s8(unsafe { vld1q_s8(codes.as_ptr()) })
}

/// Up to eight quads.
#[target_feature(enable = "neon")]
#[inline]
fn load_quads(quads: &[Quad]) -> [int32x4_t; 2] {
    let mut whole = [0; 2 * LANES];
    whole[..quads.len()].copy_from_slice(quads);
    // SAFETY: two vectors are the same bytes.
    unsafe { transmute::<[Quad; 2 * LANES], [int32x4_t; 2]>(whole) }
}

/// Sums of a row.
type Row = [int32x4_t; QUARTERS];

/// Multiplies a line of weights with one of `quads`, and adds each product to a sum. Only one block of assembly for the
/// line lets the compiler unroll the loop over rows, and keep all sums in registers.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn add_products<const LANE: usize>(sums: &mut Row, weights: &Row, quads: int32x4_t) {
    let [a, b, c, d] = sums;
    // SAFETY: the instructions change the sums alone.
    unsafe {
        asm!(
            "sdot {a:v}.4s, {first:v}.16b, {quads:v}.4b[{lane}]",
            "sdot {b:v}.4s, {second:v}.16b, {quads:v}.4b[{lane}]",
            "sdot {c:v}.4s, {third:v}.16b, {quads:v}.4b[{lane}]",
            "sdot {d:v}.4s, {fourth:v}.16b, {quads:v}.4b[{lane}]",
            a = inout(vreg) *a,
            b = inout(vreg) *b,
            c = inout(vreg) *c,
            d = inout(vreg) *d,
            first = in(vreg) weights[0],
            second = in(vreg) weights[1],
            third = in(vreg) weights[2],
            fourth = in(vreg) weights[3],
            quads = in(vreg) quads,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

/// Adds the sums of a group, times the scales of a row and of four columns. Before the first group the sums are zero,
/// whatever they hold.
#[target_feature(enable = "neon")]
#[inline]
fn add_scaled(
    sums: &mut [f32; LANES],
    integers: int32x4_t,
    scale: f32,
    of_weights: &[f32; LANES],
    is_first: bool,
) {
    // SAFETY: both are four floats.
    let (of_weights, old): (float32x4_t, float32x4_t) =
        unsafe { (vld1q_f32(of_weights.as_ptr()), vld1q_f32(sums.as_ptr())) };
    let old = if is_first { vdupq_n_f32(0.0) } else { old };
    let new = vfmaq_f32(old, vcvtq_f32_s32(integers), vmulq_n_f32(of_weights, scale));
    // SAFETY: as above.
    unsafe { vst1q_f32(sums.as_mut_ptr(), new) };
}

/// R rows, one panel after the other.
#[target_feature(enable = "neon,dotprod")]
fn run<const R: usize>(tile: &Tile<'_>, sums: &mut Sums) {
    let panels = tile.panels;
    let (mut codes, mut lines) = (tile.codes, tile.lines);
    for (g, scales) in tile.scales.chunks_exact(R).enumerate() {
        let Group { codes: group, head, body } = Group::take(&mut codes, &mut lines, R, panels);
        for panel in 0..panels {
            let mut integers = [[vdupq_n_s32(0); QUARTERS]; R];
            for (quads, lines) in group.chunks_exact(R).zip(body.chunks_exact(panels)) {
                let of_rows = load_quads(quads);
                let mut weights = [vdupq_n_s32(0); QUARTERS];
                for (quarter, weights) in weights.iter_mut().enumerate() {
                    *weights = load(&lines[panel], quarter);
                }
                for (rows, quads) in integers.chunks_mut(LANES).zip(of_rows) {
                    if let Some(sums) = rows.get_mut(0) {
                        add_products::<0>(sums, &weights, quads);
                    }
                    if let Some(sums) = rows.get_mut(1) {
                        add_products::<1>(sums, &weights, quads);
                    }
                    if let Some(sums) = rows.get_mut(2) {
                        add_products::<2>(sums, &weights, quads);
                    }
                    if let Some(sums) = rows.get_mut(3) {
                        add_products::<3>(sums, &weights, quads);
                    }
                }
            }
            let (of_weights, _) = head[panel].floats().as_chunks::<LANES>();
            for ((integers, sums), scale) in integers.iter().zip(sums.0.iter_mut()).zip(scales) {
                let (sums, _) = sums[panel].as_chunks_mut::<LANES>();
                for ((integers, sums), of_weights) in integers.iter().zip(sums).zip(of_weights) {
                    add_scaled(sums, *integers, *scale, of_weights, g == 0);
                }
            }
        }
    }
}
