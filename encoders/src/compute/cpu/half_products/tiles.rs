//! Rounds numbers to bf16 into tiles: 16 rows of 64 bytes, as the registers of AMX are filled from.
//!
//! A tile of A has 16 of its rows and 32 of its columns. A tile of B has 16 of its rows as columns, and a row of the
//! tile has two numbers of each, of neighbouring k. A matrix may lie the other way round. Then what is read are lines
//! of pairs that have to be turned, 16 x 16 at a time.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::arch::x86_64::*;
use std::mem::transmute;
use std::ops::Range;

use super::super::amx::{self, TILE_ROWS};
use super::super::isa::PANEL;
use super::super::packed_matrix::PackedMatrix;

/// Numbers along K that a tile has.
pub(super) const STEP: usize = 32;

/// A row of a tile: pairs of bf16, the lower k in the lower half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; PANEL]);

/// What a register is filled with.
pub(crate) type Tile = [Line; TILE_ROWS];

pub(super) const ZEROS: Tile = [Line([0; PANEL]); TILE_ROWS];

/// Whether the processor has the instructions that this file and the product use.
pub(super) fn are_there() -> bool {
    amx::is_there()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// The rows of A in bf16: blocks of [`TILE_ROWS`] rows, an even number of them, each with its tiles in the order of k.
///
/// Rows beyond A's hold anything: sums do not depend on other rows. Beyond K there are zeros.
#[derive(Default)]
pub(crate) struct RoundedRows {
    tiles: Vec<Tile>,
    depth: usize,
}

impl RoundedRows {
    /// K.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The tiles of the block of rows that `row` begins.
    pub(super) fn block(&self, row: usize) -> &[Tile] {
        let steps = self.depth.div_ceil(STEP);
        &self.tiles[row / TILE_ROWS * steps..][..steps]
    }

    /// Becomes `num_rows` rows of `depth` numbers, which lie `stride` apart in `a`.
    pub(crate) fn refill(&mut self, a: &[f32], stride: usize, depth: usize, num_rows: usize) {
        self.make_room(num_rows, depth);
        let steps = depth.div_ceil(STEP).max(1);
        for (row, line) in a.chunks(stride.max(1)).take(num_rows).enumerate() {
            let tiles = &mut self.tiles[row / TILE_ROWS * steps..][..steps];
            // SAFETY: `Factors::Tiles` is made after `are_there`.
            unsafe { round_row(&line[..depth], tiles, row % TILE_ROWS) }
        }
    }

    /// Becomes some columns of `a`, whose rows are `stride` long.
    pub(crate) fn refill_columns(&mut self, a: &[f32], stride: usize, columns: Range<usize>) {
        let depth = a.len() / stride;
        self.make_room(columns.len(), depth);
        let steps = depth.div_ceil(STEP).max(1);
        // Rows of `a` are read from end to end: a column of it has each of its numbers in another page.
        for step in 0..depth.div_ceil(STEP) {
            let blocks = self.tiles.chunks_exact_mut(steps).zip(columns.clone().step_by(TILE_ROWS));
            for (tiles, first) in blocks {
                let columns = first..(first + TILE_ROWS).min(columns.end);
                let line = |k: usize| a.get(k * stride + columns.start..k * stride + columns.end);
                // SAFETY: as above.
                unsafe {
                    write_pairs(&mut tiles[step], |k| line(step * STEP + k).unwrap_or_default());
                    turn(&mut tiles[step]);
                }
            }
        }
    }

    fn make_room(&mut self, num_rows: usize, depth: usize) {
        self.depth = depth;
        let blocks = num_rows.next_multiple_of(2 * TILE_ROWS) / TILE_ROWS;
        self.tiles.resize(blocks * depth.div_ceil(STEP), ZEROS);
    }
}

/// B, wherever it lies.
#[derive(Clone, Copy)]
pub(crate) enum Panels<'a> {
    /// A packed matrix.
    Of(&'a PackedMatrix),
    /// Its transpose.
    Transposed(&'a PackedMatrix),
    /// The columns of a row-major array of so many of them.
    Columns(&'a [f32], usize),
}

impl Panels<'_> {
    /// Makes `tiles` those of a panel, in the order of k.
    pub(super) fn write(self, panel: usize, depth: usize, tiles: &mut Vec<Tile>) {
        tiles.resize(depth.div_ceil(STEP), ZEROS);
        for (step, tile) in tiles.iter_mut().enumerate() {
            let first = step * STEP;
            // SAFETY: `Factors::Tiles` is made after `are_there`.
            unsafe {
                match self {
                    Panels::Of(matrix) => {
                        let line = |k: usize| matrix.panel(panel).get(k * PANEL..(k + 1) * PANEL);
                        write_pairs(tile, |k| line(first + k).unwrap_or_default());
                    }
                    Panels::Columns(values, columns) => {
                        let of_panel = panel * PANEL..((panel + 1) * PANEL).min(columns);
                        let line =
                            |k: usize| values.get(k * columns + of_panel.start..k * columns + of_panel.end);
                        write_pairs(tile, |k| line(first + k).unwrap_or_default());
                    }
                    Panels::Transposed(matrix) => {
                        // Two of its panels are 32 numbers along K.
                        let half = |q: usize| match q < matrix.num_panels() {
                            true => matrix.panel(q).get(panel * PANEL * PANEL..).unwrap_or_default(),
                            false => &[],
                        };
                        let halves = [half(2 * step), half(2 * step + 1)];
                        for (column, line) in tile.iter_mut().enumerate() {
                            let [low, high] =
                                halves.map(|half| half.get(column * PANEL..).unwrap_or_default());
                            *line = halves_of(low, high);
                        }
                        turn(tile);
                    }
                }
            }
        }
    }
}

/// Writes a row of some tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round_row(row: &[f32], tiles: &mut [Tile], line: usize) {
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
fn write_pairs<'a>(tile: &mut Tile, line: impl Fn(usize) -> &'a [f32]) {
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
fn load(numbers: &[f32]) -> __m512 {
    let there = (1u32 << numbers.len().min(PANEL)) - 1;
    // SAFETY: it reads the numbers that `there` has a bit for.
    unsafe { _mm512_maskz_loadu_ps(there as __mmask16, numbers.as_ptr()) }
}

/// Turns a tile of pairs: what was row i is column i.
#[target_feature(enable = "avx512f")]
#[inline]
fn turn(tile: &mut Tile) {
    // SAFETY: a line is 64 bytes, as a vector is.
    let rows = unsafe { transmute::<Tile, [__m512i; TILE_ROWS]>(*tile) };
    let zero = _mm512_setzero_si512();
    // Blocks of 4 x 4 are turned within vectors. `fours[4 i + j]` has column j of each block of rows 4 i to 4 i + 3.
    let mut fours = [zero; TILE_ROWS];
    for (four, rows) in fours.as_chunks_mut::<4>().0.iter_mut().zip(rows.as_chunks::<4>().0) {
        let low = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpacklo_epi32(rows[2], rows[3])];
        let high = [_mm512_unpackhi_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[2], rows[3])];
        *four = [
            _mm512_unpacklo_epi64(low[0], low[1]),
            _mm512_unpackhi_epi64(low[0], low[1]),
            _mm512_unpacklo_epi64(high[0], high[1]),
            _mm512_unpackhi_epi64(high[0], high[1]),
        ];
    }
    // Then whole blocks change their places. Of two vectors, these take blocks 0 and 2 of each, or 1 and 3.
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let mut columns = [zero; TILE_ROWS];
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let even = [_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<EVEN>(c, d)];
        let odd = [_mm512_shuffle_i32x4::<ODD>(a, b), _mm512_shuffle_i32x4::<ODD>(c, d)];
        columns[j] = _mm512_shuffle_i32x4::<EVEN>(even[0], even[1]);
        columns[4 + j] = _mm512_shuffle_i32x4::<EVEN>(odd[0], odd[1]);
        columns[8 + j] = _mm512_shuffle_i32x4::<ODD>(even[0], even[1]);
        columns[12 + j] = _mm512_shuffle_i32x4::<ODD>(odd[0], odd[1]);
    }
    // SAFETY: as above.
    *tile = unsafe { transmute::<[__m512i; TILE_ROWS], Tile>(columns) };
}
