//! A product of tiles of bf16: 16 rows of 32 numbers with 32 times 16 are added to 16 x 16 sums.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::ops::Range;

use super::super::amx::TILE_ROWS;
use super::super::gemm::Epilogue;
use super::super::half_tiles::Tile;
use super::super::isa::{Arithmetic, Kernel, prefetch};
use super::super::rounded_matrix::RoundedPanel;
use super::super::tile_units::{NO_SUMS, TOGETHER, TileUnits};
use super::tiles::{Panels, RoundedRows};

/// Bytes of A that are multiplied with all panels before the next are touched: a part of a second-level cache. Tests
/// have small matrices, and several blocks of them.
const BLOCK_BYTES: usize = if cfg!(test) { 4 << 10 } else { 512 << 10 };

/// C = A B^T of numbers rounded to bf16, or some columns of it. The twin of [`Gemm`](super::super::gemm::Gemm).
pub(crate) struct HalfGemm<'a, 'out, E> {
    /// (M, K)
    pub(crate) a: &'a RoundedRows,
    /// (N, K)
    pub(crate) b: Panels<'a>,
    /// The panels of B that stay rounded: all of them, or none.
    pub(crate) kept: &'a [RoundedPanel],
    /// The panels of B to use.
    pub(crate) panels: Range<usize>,
    /// What becomes of the sums.
    pub(crate) epilogue: E,
    /// M rows, each from the output column of the first panel to that of the last.
    pub(crate) out: &'a mut [&'out mut [f32]],
    /// Memory for panels.
    pub(crate) scratch: &'a mut [Vec<Tile>; TOGETHER],
}

impl<E: Epilogue> Kernel for HalfGemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let HalfGemm { a, b, kept, panels, epilogue, out, scratch } = self;
        // SAFETY: `Factors::Tiles` is made after `are_there`.
        let units = unsafe { TileUnits::ready() };
        let mut sums = [[NO_SUMS; TOGETHER]; TOGETHER];
        let rows_of_block = (BLOCK_BYTES / a.row_bytes()).next_multiple_of(TOGETHER * TILE_ROWS);
        // All rows of a block pass by each panel. The next blocks need the panels again.
        let for_all_blocks: Vec<RoundedPanel>;
        let kept = if kept.is_empty() && out.len() > rows_of_block {
            for_all_blocks = vec![RoundedPanel::new(); panels.end];
            &for_all_blocks
        } else {
            kept
        };
        let [scratch0, scratch1] = scratch;
        for (block, out) in out.chunks_mut(rows_of_block).enumerate() {
            for first in panels.clone().step_by(TOGETHER) {
                let some = first..(first + TOGETHER).min(panels.end);
                let b0 = b.panel(first, a.depth(), kept, scratch0);
                // Where the last panel is alone, nobody looks at the sums beside it.
                let b1 = if some.len() == 1 { b0 } else { b.panel(first + 1, a.depth(), kept, scratch1) };
                for (number, rows) in out.chunks_mut(TOGETHER * TILE_ROWS).enumerate() {
                    let row = block * rows_of_block + number * TOGETHER * TILE_ROWS;
                    // What the sums are added to arrives while they are summed: a column of blocks has lines in many
                    // pages.
                    for out in rows.iter() {
                        let column = (some.start - panels.start) * E::WIDTH;
                        prefetch(out[column..].as_ptr().cast());
                        prefetch(out[column..].as_ptr().wrapping_add(E::WIDTH).cast());
                    }
                    units.multiply_together([a.block(row), a.block(row + TILE_ROWS)], [b0, b1], &mut sums);
                    for (row, out) in rows.iter_mut().enumerate() {
                        for (panel, sums) in some.clone().zip(&sums[row / TILE_ROWS]) {
                            let column = (panel - panels.start) * E::WIDTH;
                            let end = (column + E::WIDTH).min(out.len());
                            epilogue.store::<A>(panel, &sums.0[row % TILE_ROWS], &mut out[column..end]);
                        }
                    }
                }
            }
        }
    }
}
