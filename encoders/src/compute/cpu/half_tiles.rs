//! Tiles of bf16: 16 rows of 64 bytes, as the registers of AMX are filled from. AVX-512 BF16 multiplies them too.
//! Numbers are rounded on the way, to nearest, ties to even.
//!
//! A tile on the left of a product has 16 of its rows and 32 of its columns. On the right it has 16 rows as columns,
//! and a row of the tile has two numbers of each, of neighbouring k. What lies the other way round is turned, 16 x 16
//! pairs at a time.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::amx::TILE_ROWS;
use super::isa::PANEL;

/// Numbers along K that a tile has.
pub(super) const STEP: usize = 2 * PANEL;

/// A row of a tile: pairs of bf16, the lower k in the lower half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(super) [u32; PANEL]);

/// What a register is filled with.
pub(crate) type Tile = [Line; TILE_ROWS];

pub(super) const ZEROS: Tile = [Line([0; PANEL]); TILE_ROWS];

/// Whether the processor has the instructions that this file and [`TileUnits`](super::tile_units::TileUnits) use.
pub(super) fn are_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// Makes each row of a tile some numbers, side by side. `halves` gives the first 16 and the next 16 of a row; where
/// there are fewer, zeros follow them.
///
/// # Safety
///
/// [`are_there`] has said yes.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
pub(super) fn write_rows<'a>(tile: &mut Tile, halves: impl Fn(usize) -> [&'a [f32]; 2]) {
    for (row, line) in tile.iter_mut().enumerate() {
        let [low, high] = halves(row);
        *line = halves_of(low, high);
    }
}

/// Writes a row of some tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn round_row(row: &[f32], tiles: &mut [Tile], line: usize) {
    for (numbers, tile) in row.chunks(STEP).zip(tiles) {
        let (low, high) = numbers.split_at(numbers.len().min(PANEL));
        tile[line] = halves_of(low, high);
    }
}

/// A row of a tile: the first 16 of `low` and the first 16 of `high`, zeros where there are fewer.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn halves_of(low: &[f32], high: &[f32]) -> Line {
    // SAFETY: both are 64 bytes.
    unsafe { transmute(_mm512_cvtne2ps_pbh(load(high), load(low))) }
}

/// Makes each row of a tile the pairs of two lines, number by number. `line` gives the lines, each at most [`PANEL`]
/// numbers; zeros follow them.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
pub(super) fn write_pairs<'a>(tile: &mut Tile, line: impl Fn(usize) -> &'a [f32]) {
    // Number i of the first line, then number i of the second.
    let order: [u16; STEP] = std::array::from_fn(|i| (i / 2 + i % 2 * PANEL) as u16);
    // SAFETY: both are 64 bytes.
    let order = unsafe { transmute::<[u16; STEP], __m512i>(order) };
    for (pair, slot) in tile.iter_mut().enumerate() {
        let Line(halves) = halves_of(line(2 * pair), line(2 * pair + 1));
        // SAFETY: all of these are 64 bytes.
        *slot = unsafe {
            transmute::<__m512i, Line>(_mm512_permutexvar_epi16(
                order,
                transmute::<[u32; 16], __m512i>(halves),
            ))
        };
    }
}

/// The first 16 numbers, zeros where there are fewer.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn load(numbers: &[f32]) -> __m512 {
    let there = (1u32 << numbers.len().min(PANEL)) - 1;
    // SAFETY: it reads the numbers that `there` has a bit for.
    unsafe { _mm512_maskz_loadu_ps(there as __mmask16, numbers.as_ptr()) }
}

/// Turns a tile of pairs: what was row i is column i.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn turn(tile: &mut Tile) {
    let mut pairs = tile.map(|Line(pairs)| pairs);
    super::turn::turn(&mut pairs);
    *tile = pairs.map(Line);
}
