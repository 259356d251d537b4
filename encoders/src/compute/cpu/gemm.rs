//! Products of activations with packed matrices, in f32. A is (M, K) row-major, B is (N, K), C is (M, N). The plain
//! algorithm:
//!
//! ```text
//! for i in 0..M
//!     for j in 0..N
//!         C[i, j] = 0
//!         for k in 0..K
//!             C[i, j] = fma(A[i, k], B[j, k], C[i, j])
//! ```
//!
//! Every element of C is that one sum over k in ascending order, whatever computes it. So a row of C depends on its row
//! of A alone, bit for bit. That is what makes a text's vector independent of its batch mates. What differs is the
//! order of the loops (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication"):
//!
//! - B is packed once into panels of [`PANEL`] of its rows, each k-major, so that the inner loop reads it front to
//!   back.
//! - A is taken [`BLOCK_ROWS`] rows at a time, which stay in the second-level cache while all panels of B pass by.
//! - Within a block, tiles of a few rows are packed k-major. A tile of C, as many rows by a panel, stays in registers
//!   while k runs.
//! - K is divided where a tile of A and a panel of B do not fit the first-level cache together. The sums so far wait
//!   in an array of a few panels. They go on where they were, so this changes no bit.
//! - The first block of rows fetches the next panel while it computes with this one: few rows would else wait for
//!   memory.
//! - An [`Epilogue`] takes the sums from the registers: bias, activation, residual and scale cost no pass over C.
//! - `depth` and `panels` restrict the sum and the columns, for attention sees some keys only.

use std::ops::Range;

use super::isa::{Arithmetic, Block, Kernel, PANEL, prefetch};
use super::packed_matrix::PackedMatrix;

/// Rows of A that are multiplied with all panels before the next rows are touched. 96 rows of 1,536 f32 are 576 KiB,
/// about a second-level cache.
pub(crate) const BLOCK_ROWS: usize = 96;

/// The most k that are summed at a time: 14 rows of A and a panel of B take 45 KiB.
const DEPTH_BLOCK: usize = 384;

/// Panels whose sums wait together for the next k.
const GROUP: usize = 8;

/// What becomes of the sums of one row of C over one panel of B.
pub(crate) trait Epilogue: Copy {
    /// Output columns a panel yields: fewer than [`PANEL`] where columns of C are combined.
    const WIDTH: usize;
    /// Takes the sums `values` of panel `panel` and writes `out`, which has at most `WIDTH` elements (fewer at the end
    /// of the row).
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]);
}

/// C = A B^T, or a part of it.
pub(crate) struct Gemm<'a, 'out, E> {
    /// (M, K), row i at `i * stride`; its columns are those in `depth`.
    pub(crate) a: &'a [f32],
    /// Distance between the rows of A.
    pub(crate) stride: usize,
    /// B.
    pub(crate) b: &'a PackedMatrix,
    /// The panels of B to use.
    pub(crate) panels: Range<usize>,
    /// The k to sum over.
    pub(crate) depth: Range<usize>,
    /// What becomes of the sums.
    pub(crate) epilogue: E,
    /// M rows, each from the output column of the first panel to that of the last.
    pub(crate) out: &'a mut [&'out mut [f32]],
    /// All of A from [`PackTiles`], if the same A is multiplied many times. Otherwise each block is packed when it is
    /// multiplied.
    pub(crate) tiles: Option<&'a [f32]>,
    /// Memory for a block of A, tile by tile, k-major, and for sums that wait.
    pub(crate) scratch: &'a mut Vec<f32>,
}

/// Writes the rows of A tile by tile, each k-major.
pub(crate) struct PackTiles<'a> {
    /// (M, K), row i at `i * stride`.
    pub(crate) a: &'a [f32],
    /// Distance between the rows.
    pub(crate) stride: usize,
    /// K.
    pub(crate) depth: usize,
    /// M K numbers.
    pub(crate) out: &'a mut [f32],
}

impl Kernel for PackTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { a, stride, depth, out } = self;
        let num_rows = out.len() / depth.max(1);
        for start in (0..num_rows).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(num_rows);
            pack_block::<A>(a, stride, depth, start..end, &mut out[start * depth..end * depth]);
        }
    }
}

/// Writes the rows of A as [`PackTiles`] does, where it is A's transpose that is at hand.
pub(crate) struct PackTransposedTiles<'a> {
    /// A^T (K, ..), row k at `k * stride`.
    pub(crate) a: &'a [f32],
    /// Distance between its rows.
    pub(crate) stride: usize,
    /// The columns that are the rows of A.
    pub(crate) columns: Range<usize>,
    /// M K numbers.
    pub(crate) out: &'a mut Vec<f32>,
}

impl Kernel for PackTransposedTiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { a, stride, columns, out } = self;
        let depth = a.len() / stride;
        // Every element is written below; old ones need not be cleared.
        out.resize(columns.len() * depth, 0.0);
        for start in (0..columns.len()).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(columns.len());
            for (k, line) in a.chunks_exact(stride).enumerate() {
                let line = &line[columns.start..columns.end];
                for (row, height) in Tiles::new::<A>(start, end) {
                    let slots = &mut out[row * depth + k * height..][..height];
                    slots.copy_from_slice(&line[row..row + height]);
                }
            }
        }
    }
}

/// The `rows` of A, tile by tile, k-major.
#[inline(always)]
pub(super) fn pack_block<A: Arithmetic>(
    a: &[f32],
    stride: usize,
    depth: usize,
    rows: Range<usize>,
    out: &mut [f32],
) {
    for (row, height) in Tiles::new::<A>(rows.start, rows.end) {
        let out = &mut out[(row - rows.start) * depth..];
        if A::TURNS && height > 1 && depth.is_multiple_of(PANEL) {
            pack_turned::<A>(&a[row * stride..], stride, (height, depth), out);
            continue;
        }
        let tile = &mut out[..height * depth];
        // A piece of the tile stays in the first-level cache while all rows are written to it.
        const PIECE: usize = 128;
        for (piece, tile) in tile.chunks_mut(PIECE * height).enumerate() {
            for r in 0..height {
                let line = &a[(row + r) * stride + piece * PIECE..];
                for (slot, value) in tile[r..].iter_mut().step_by(height).zip(line) {
                    *slot = *value;
                }
            }
        }
    }
}

/// The first `height` rows of A as a tile, block by block. What is behind the tile may be written over, too, by what a
/// block has beyond its rows: whatever it had before.
#[inline(always)]
fn pack_turned<A: Arithmetic>(a: &[f32], stride: usize, (height, depth): (usize, usize), out: &mut [f32]) {
    let mut block = Block([[0.0; PANEL]; PANEL]);
    for first in (0..depth).step_by(PANEL) {
        for (row, slot) in block.0[..height].iter_mut().enumerate() {
            *slot = *a[row * stride + first..].first_chunk().expect("rows have whole blocks");
        }
        A::turn(&mut block);
        for (k, line) in (first..).zip(&block.0) {
            let out = &mut out[k * height..];
            match out.first_chunk_mut() {
                // More than the line has: the next one writes over the rest.
                Some(out) => *out = *line,
                None => write_part(line, &mut out[..height]),
            }
        }
    }
}

impl<E: Epilogue> Kernel for Gemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(mut self) {
        let depth = self.depth.len();
        let num_rows = self.out.len();
        let num_depths = depth.div_ceil(DEPTH_BLOCK).max(1);
        let depth_block = depth.div_ceil(num_depths);
        let waiting = if num_depths > 1 { num_rows.min(BLOCK_ROWS) * GROUP * PANEL } else { 0 };
        let mut scratch = std::mem::take(self.scratch);
        for start in (0..num_rows).step_by(BLOCK_ROWS) {
            let end = (start + BLOCK_ROWS).min(num_rows);
            let own = if self.tiles.is_some() { 0 } else { (end - start) * depth };
            // Every element is written below; old ones need not be cleared.
            scratch.resize(own + waiting, 0.0);
            let (packed, sums) = scratch.split_at_mut(own);
            let packed = match self.tiles {
                Some(tiles) => &tiles[start * depth..end * depth],
                None => {
                    pack_block::<A>(self.a, self.stride, depth, start..end, packed);
                    packed
                }
            };
            for group in self.panels.clone().step_by(GROUP) {
                let group = group..(group + GROUP).min(self.panels.end);
                for number in 0..num_depths {
                    let ks = number * depth_block..((number + 1) * depth_block).min(depth);
                    for p in group.clone() {
                        let next = self.next_slice(start, p, &group, &ks);
                        let sums =
                            sums.get_mut((p - group.start) * (end - start) * PANEL..).unwrap_or_default();
                        for (row, height) in Tiles::new::<A>(start, end) {
                            let tile = &packed[(row - start) * depth..][..height * depth];
                            let tile = &tile[ks.start * height..ks.end * height];
                            let part = Part { row, p, ks: ks.clone(), next };
                            let sums = sums.get_mut((row - start) * PANEL..).unwrap_or_default();
                            match height {
                                14 => self.tile::<A, 14>(part, tile, sums),
                                6 => self.tile::<A, 6>(part, tile, sums),
                                4 => self.tile::<A, 4>(part, tile, sums),
                                2 => self.tile::<A, 2>(part, tile, sums),
                                _ => self.tile::<A, 1>(part, tile, sums),
                            }
                        }
                    }
                }
            }
        }
        *self.scratch = scratch;
    }
}

/// The tiles of a block of rows, as (first row, rows): the tallest that fit, then shorter ones.
///
/// An iterator, where a callback would do: a closure is compiled without the vector instructions unless it happens to
/// be inlined.
pub(super) struct Tiles {
    row: usize,
    end: usize,
    tallest: usize,
}

impl Tiles {
    #[inline(always)]
    pub(super) fn new<A: Arithmetic>(start: usize, end: usize) -> Tiles {
        Tiles { row: start, end, tallest: A::TILE_ROWS }
    }
}

impl Iterator for Tiles {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        let row = self.row;
        let height = match self.tallest.min(self.end - row) {
            0 => return None,
            14.. => 14,
            6.. => 6,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        self.row += height;
        Some((row, height))
    }
}

/// A tile of C and some of its k.
struct Part<'a> {
    row: usize,
    p: usize,
    ks: Range<usize>,
    /// What the tiles of these rows fetch.
    next: &'a [f32],
}

impl<'a, E: Epilogue> Gemm<'a, '_, E> {
    /// The numbers of B that are multiplied after those of panel `p` of a group. The tiles of the first block together
    /// fetch them while they compute. So a product of few rows does not wait for memory. Later blocks find them in the
    /// cache.
    #[inline(always)]
    fn next_slice(&self, start: usize, p: usize, group: &Range<usize>, ks: &Range<usize>) -> &'a [f32] {
        let depth = self.depth.len();
        let (p, first) = match (p + 1 < group.end, ks.end < depth) {
            (true, _) => (p + 1, ks.start),
            (false, true) => (group.start, ks.end),
            (false, false) => (group.end, 0),
        };
        if start > 0 || p >= self.panels.end {
            return &[];
        }
        let end = (first + ks.len()).min(depth);
        &self.b.panel(p)[(self.depth.start + first) * PANEL..(self.depth.start + end) * PANEL]
    }

    /// R rows of A, k-major in `tile`, times one panel of B, for some k. `sums` has those of the k before, and gets
    /// these if there are more.
    #[inline(always)]
    fn tile<A: Arithmetic, const R: usize>(&mut self, part: Part<'_>, tile: &[f32], waiting: &mut [f32]) {
        let Part { row, p, ks, next } = part;
        let from = self.depth.start;
        let panel = &self.b.panel(p)[(from + ks.start) * PANEL..(from + ks.end) * PANEL];
        // Whole arrays of known lengths: by parts the sums would not stay in registers below.
        let mut waiting = waiting.as_chunks_mut::<PANEL>().0.first_chunk_mut::<R>();
        let mut sums = match &waiting {
            Some(waiting) if ks.start > 0 => **waiting,
            _ => [[0.0f32; PANEL]; R],
        };
        let block = self.out.len().min(BLOCK_ROWS);
        let mut ahead = match next {
            // An address at hand: a prefetch from where nothing is mapped walks the page tables.
            [] => panel.as_ptr().cast::<u8>(),
            _ => next.as_ptr().cast::<u8>().wrapping_add(size_of_val(next) * row / block),
        };
        let step = if next.is_empty() { 0 } else { PANEL * size_of::<f32>() * R / block };
        // Both operands in fixed-size chunks: no bounds checks, and the sums stay in registers.
        for (a, b) in tile.chunks_exact(R).zip(panel.chunks_exact(PANEL)) {
            prefetch(ahead);
            ahead = ahead.wrapping_add(step);
            let a: &[f32; R] = a.try_into().expect("chunks have R elements");
            let b: &[f32; PANEL] = b.try_into().expect("chunks have PANEL elements");
            for (a, sums) in a.iter().zip(&mut sums) {
                A::add_products(*a, b, sums);
            }
        }
        // A local copy, so that the compiler can keep the sums in registers. Otherwise it stores each sum after every
        // addition.
        let sums = std::hint::black_box(sums);
        if ks.end < self.depth.len()
            && let Some(waiting) = &mut waiting
        {
            **waiting = sums;
            return;
        }
        let column = (p - self.panels.start) * E::WIDTH;
        for (out, values) in self.out[row..row + R].iter_mut().zip(&sums) {
            let end = (column + E::WIDTH).min(out.len());
            self.epilogue.store::<A>(p, values, &mut out[column..end]);
        }
    }
}

/// Writes the sums times a factor.
#[derive(Clone, Copy)]
pub(crate) struct Scaled(pub(crate) f32);

impl Epilogue for Scaled {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, _: usize, values: &[f32; PANEL], out: &mut [f32]) {
        let mut scaled = [0.0; PANEL];
        for lane in 0..PANEL {
            scaled[lane] = values[lane] * self.0;
        }
        write(&scaled, out);
    }
}

/// Adds the sums times a factor.
#[derive(Clone, Copy)]
pub(crate) struct Accumulate(pub(crate) f32);

impl Epilogue for Accumulate {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, _: usize, values: &[f32; PANEL], out: &mut [f32]) {
        match <&mut [f32; PANEL]>::try_from(&mut *out) {
            // The length is known here, so that the sum is one vector instruction.
            Ok(out) => {
                for lane in 0..PANEL {
                    out[lane] = A::mul_add(values[lane], self.0, out[lane]);
                }
            }
            Err(_) => {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = A::mul_add(*value, self.0, *out);
                }
            }
        }
    }
}

/// Copies the beginning of `values` that fits: one vector store where all of it does.
#[inline(always)]
pub(crate) fn write<const N: usize>(values: &[f32; N], out: &mut [f32]) {
    match <&mut [f32; N]>::try_from(&mut *out) {
        Ok(out) => *out = *values,
        Err(_) => out.copy_from_slice(&values[..out.len()]),
    }
}

/// Copies the beginning of `values`. In attention the compiler makes one copy of both in [`write()`], of any length. A
/// call makes it, across which no vector register is kept. The epilogues of bf16 take longer with this.
#[cold]
#[inline(never)]
pub(super) fn write_part(values: &[f32], out: &mut [f32]) {
    out.copy_from_slice(&values[..out.len()]);
}

#[cfg(test)]
mod tests;
