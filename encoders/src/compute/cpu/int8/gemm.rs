//! The loops around a tile. The order is that of [`super::super::gemm`]. A block of rows of A stays in the second-level
//! cache while all panels of B pass by. The first block fetches the next panels while it computes.

use std::ops::Range;

use super::super::gemm::Epilogue;
use super::super::isa::{Arithmetic, Kernel, PANEL, prefetch};
use super::panels::Int8Panels;
use super::quantize::{QuantizedRows, Tiles};
use super::tile::Tile;
use super::{MAX_ROWS, QUAD, Sums, Units, WIDE, portable, quads};
#[cfg(target_arch = "x86_64")]
use super::{amx, avx_vnni, avx2, avx512_vnni};

/// Bytes of A that are multiplied with all panels before the next are touched: a part of a second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// C = A B^T for some panels of B.
pub(crate) struct Int8Gemm<'a, 'out, E> {
    /// A
    pub(crate) a: &'a QuantizedRows,
    /// B, for the same units.
    pub(crate) b: &'a Int8Panels,
    /// The panels of B to use, from an even one on.
    pub(crate) panels: Range<usize>,
    /// What becomes of the sums.
    pub(crate) epilogue: E,
    /// M rows, each from the output column of the first panel to that of the last.
    pub(crate) out: &'a mut [&'out mut [f32]],
}

/// Writes the sums of a tile.
#[inline(always)]
fn multiply<A: Arithmetic>(tile: &Tile<'_>, units: Units, sums: &mut Sums) {
    match units {
        Units::Portable => portable::multiply::<A>(tile, sums),
        #[cfg(target_arch = "x86_64")]
        Units::Avx2 => avx2::multiply(tile, sums),
        #[cfg(target_arch = "x86_64")]
        Units::AvxVnni => avx_vnni::multiply(tile, sums),
        #[cfg(all(test, target_arch = "x86_64"))]
        Units::AvxVnniByAvx512 => avx_vnni::multiply_by_avx512(tile, sums),
        #[cfg(target_arch = "x86_64")]
        Units::Avx512Vnni => avx512_vnni::multiply(tile, sums),
        #[cfg(target_arch = "x86_64")]
        Units::Amx => amx::multiply(tile, sums),
    }
}

impl<E: Epilogue> Kernel for Int8Gemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Int8Gemm { a, b, panels, epilogue, out } = self;
        let units = b.units();
        let tiles = Tiles::new(a.rows(), units.tile_rows());
        let quads = quads(a.depth());
        let tiles_of_block = (BLOCK_BYTES / (units.tile_rows() * quads * QUAD).max(1)).max(1);
        #[cfg(target_arch = "x86_64")]
        let _tiles = (units == Units::Amx).then(amx::configure);
        let mut sums = Sums([[[0.0; PANEL]; WIDE]; MAX_ROWS]);
        for block in (0..tiles.count).step_by(tiles_of_block) {
            let end = (block + tiles_of_block).min(tiles.count);
            for first in panels.clone().step_by(WIDE) {
                let (lines, wide) = b.lines(first);
                // What is not to be fetched is an address at hand. A prefetch from where nothing is mapped walks the
                // page tables, and took as long as the products.
                let fetches = block == 0 && first + WIDE < panels.end;
                let next = if fetches { b.lines(first + WIDE).0 } else { &lines[..0] };
                for tile in block..end {
                    let (row, rows) = tiles.get(tile);
                    let (codes, scales) = a.tile(units, tiles, tile);
                    let columns = |panel: usize| (panel - panels.start) * E::WIDTH;
                    // What will be written arrives while it is computed.
                    for out in &out[row..row + rows] {
                        for panel in first..first + wide {
                            prefetch(out.as_ptr().wrapping_add(columns(panel)).cast());
                        }
                    }
                    let bytes = size_of_val(next) / (end - block);
                    let tile = Tile {
                        codes,
                        scales,
                        rows,
                        lines,
                        panels: wide,
                        ahead: next.as_ptr().cast::<u8>().wrapping_add(bytes * (tile - block)),
                        step: bytes.div_ceil((quads * wide).max(1)),
                    };
                    multiply::<A>(&tile, units, &mut sums);
                    for (out, sums) in out[row..row + rows].iter_mut().zip(&sums.0) {
                        for (panel, sums) in (first..first + wide).zip(sums) {
                            let column = columns(panel);
                            let end = (column + E::WIDTH).min(out.len());
                            epilogue.store::<A>(panel, sums, &mut out[column..end]);
                        }
                    }
                }
            }
        }
    }
}
