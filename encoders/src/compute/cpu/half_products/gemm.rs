//! A product with AMX: `tdpbf16ps` multiplies 16 rows of 32 bf16 with 32 times 16, and adds the products to 16 x 16
//! sums.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::ops::Range;

use super::super::amx::{ROW_BYTES, TILE_ROWS, Tiles, add_products, load, store, zero};
use super::super::gemm::Epilogue;
use super::super::half_tiles::Tile;
use super::super::isa::{Arithmetic, Kernel, PANEL, prefetch};
use super::super::rounded_matrix::RoundedPanel;
use super::tiles::{Panels, RoundedRows};

/// Blocks of rows, and panels, that are multiplied together: 4 of the 8 registers are sums, and what is read is used
/// twice.
const TOGETHER: usize = 2;

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

/// Sums of two blocks of rows with two panels.
#[repr(C, align(64))]
struct Sums([[[[f32; PANEL]; TILE_ROWS]; TOGETHER]; TOGETHER]);

impl<E: Epilogue> Kernel for HalfGemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let HalfGemm { a, b, kept, panels, epilogue, out, scratch } = self;
        // SAFETY: `Factors::Tiles` is made after `are_there`.
        let tiles = unsafe { Tiles::configure() };
        let mut sums = Sums([[[[0.0; PANEL]; TILE_ROWS]; TOGETHER]; TOGETHER]);
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
                    multiply(&tiles, [a.block(row), a.block(row + TILE_ROWS)], [b0, b1], &mut sums);
                    for (row, out) in rows.iter_mut().enumerate() {
                        for (panel, sums) in some.clone().zip(&sums.0[row / TILE_ROWS]) {
                            let column = (panel - panels.start) * E::WIDTH;
                            let end = (column + E::WIDTH).min(out.len());
                            epilogue.store::<A>(panel, &sums[row % TILE_ROWS], &mut out[column..end]);
                        }
                    }
                }
            }
        }
    }
}

/// The sums of two blocks of rows with two panels, all of them with equally many tiles.
fn multiply(_: &Tiles, [a0, a1]: [&[Tile]; TOGETHER], [b0, b1]: [&[Tile]; TOGETHER], sums: &mut Sums) {
    let Sums([[s00, s01], [s10, s11]]) = sums;
    // SAFETY: there are `Tiles`, so the processor has the instructions, and registers have 16 rows of 64 bytes. So have
    // the tiles that they are filled from, and the arrays of sums.
    unsafe {
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
        store!("tmm0", s00.as_mut_ptr());
        store!("tmm1", s01.as_mut_ptr());
        store!("tmm2", s10.as_mut_ptr());
        store!("tmm3", s11.as_mut_ptr());
    }
}
