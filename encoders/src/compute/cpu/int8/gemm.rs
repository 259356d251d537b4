//! The loops around a tile. The order is that of [`super::super::gemm`]. A block of rows of A stays in the second-level
//! cache while all panels of B pass by. The first block fetches the next panels while it computes.
//!
//! What becomes of the sums is up to a [`Sink`]: [`Int8Gemm`] writes numbers, [`QuantizingGemm`] codes.

use std::ops::Range;

use super::super::gemm::Epilogue;
use super::super::isa::{Arithmetic, Kernel, PANEL, prefetch};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::panels::Int8Panels;
use super::quantize::{QuantizedRows, TileStrip, Tiles};
use super::tile::Tile;
use super::{GROUP, MAX_ROWS, QUAD, Sums, Units, WIDE, portable, quads};
#[cfg(target_arch = "x86_64")]
use super::{amx, avx_vnni, avx2, avx512_vnni};

/// Bytes of rows that are multiplied with all panels before the next are touched, what becomes of the rows included. A
/// part of a second-level cache.
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
        #[cfg(target_arch = "aarch64")]
        Units::Neon => neon::multiply(tile, sums),
    }
}

/// Takes the sums of tiles.
trait Sink {
    /// Says that the sums of a tile and some panels come next.
    fn expect(&self, tile: usize, panels: Range<usize>);
    /// The sums of a tile and some panels.
    fn take<A: Arithmetic>(&mut self, tile: usize, panels: Range<usize>, sums: &Sums);
}

/// A and B, and how A is divided.
struct Operands<'a> {
    a: &'a QuantizedRows,
    b: &'a Int8Panels,
    units: Units,
    tiles: Tiles,
    tiles_of_block: usize,
}

impl<'a> Operands<'a> {
    /// `more_bytes` are those beside A's that a row takes.
    #[inline(always)]
    fn new(a: &'a QuantizedRows, b: &'a Int8Panels, more_bytes: usize) -> Operands<'a> {
        let units = b.units();
        let tiles = Tiles::new(a.rows(), units.tile_rows());
        let bytes_of_tile = units.tile_rows() * (quads(a.depth()) * QUAD + more_bytes);
        let tiles_of_block = (BLOCK_BYTES / bytes_of_tile.max(1)).max(1);
        Operands { a, b, units, tiles, tiles_of_block }
    }

    /// The tiles of each block.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, each) = (self.tiles.count, self.tiles_of_block);
        (0..count).step_by(each).map(move |first| first..(first + each).min(count))
    }

    /// Multiplies the tiles of a block with some panels. The first block fetches what comes next, up to panel `end`.
    #[inline(always)]
    fn multiply<A: Arithmetic>(
        &self,
        block: &Range<usize>,
        (panels, end): (Range<usize>, usize),
        sums: &mut Sums,
        sink: &mut impl Sink,
    ) {
        let Operands { a, b, units, tiles, .. } = *self;
        let quads = quads(a.depth());
        for first in panels.step_by(WIDE) {
            let (lines, wide) = b.lines(first);
            // What is not to be fetched is an address at hand. A prefetch from where nothing is mapped walks the page
            // tables, and took as long as the products.
            let fetches = block.start == 0 && first + WIDE < end;
            let next = if fetches { b.lines(first + WIDE).0 } else { &lines[..0] };
            for number in block.clone() {
                let (_, rows) = tiles.get(number);
                let (codes, scales) = a.tile(units, tiles, number);
                sink.expect(number, first..first + wide);
                let bytes = size_of_val(next) / block.len();
                let tile = Tile {
                    codes,
                    scales,
                    rows,
                    lines,
                    panels: wide,
                    ahead: next.as_ptr().cast::<u8>().wrapping_add(bytes * (number - block.start)),
                    step: bytes.div_ceil((quads * wide).max(1)),
                };
                multiply::<A>(&tile, units, sums);
                sink.take::<A>(number, first..first + wide, sums);
            }
        }
    }
}

impl Sums {
    const ZERO: Sums = Sums([[[0.0; PANEL]; WIDE]; MAX_ROWS]);
}

impl<E: Epilogue> Kernel for Int8Gemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Int8Gemm { a, b, panels, epilogue, out } = self;
        let operands = Operands::new(a, b, 0);
        #[cfg(target_arch = "x86_64")]
        let _tiles = (operands.units == Units::Amx).then(amx::configure);
        let mut sums = Sums::ZERO;
        let mut rows = Rows { tiles: operands.tiles, first: panels.start, epilogue, out };
        for block in operands.blocks() {
            operands.multiply::<A>(&block, (panels.clone(), panels.end), &mut sums, &mut rows);
        }
    }
}

/// Rows of numbers.
struct Rows<'a, 'out, E> {
    tiles: Tiles,
    /// The panel of their first column.
    first: usize,
    epilogue: E,
    out: &'a mut [&'out mut [f32]],
}

impl<E: Epilogue> Sink for Rows<'_, '_, E> {
    #[inline(always)]
    fn expect(&self, tile: usize, panels: Range<usize>) {
        let (row, rows) = self.tiles.get(tile);
        // What will be written arrives while it is computed.
        for out in &self.out[row..row + rows] {
            for panel in panels.clone() {
                prefetch(out.as_ptr().wrapping_add((panel - self.first) * E::WIDTH).cast());
            }
        }
    }

    #[inline(always)]
    fn take<A: Arithmetic>(&mut self, tile: usize, panels: Range<usize>, sums: &Sums) {
        let (row, rows) = self.tiles.get(tile);
        for (out, sums) in self.out[row..row + rows].iter_mut().zip(&sums.0) {
            for (panel, sums) in panels.clone().zip(sums) {
                let column = (panel - self.first) * E::WIDTH;
                let end = (column + E::WIDTH).min(out.len());
                self.epilogue.store::<A>(panel, sums, &mut out[column..end]);
            }
        }
    }
}

/// C = A B^T for some groups of columns, in codes: what [`Quantize`](super::Quantize) makes of the numbers, which are
/// never all there. Those of a group and a block of rows are, in `numbers`.
pub(crate) struct QuantizingGemm<'a, 'out, E> {
    /// A
    pub(crate) a: &'a QuantizedRows,
    /// B, for the same units.
    pub(crate) b: &'a Int8Panels,
    /// The columns of C, a whole group of them at first.
    pub(crate) columns: Range<usize>,
    /// What becomes of the sums before they are quantized.
    pub(crate) epilogue: E,
    /// Each tile of C, from the group of the first column to that of the last.
    pub(crate) out: &'a mut [TileStrip<'out>],
    /// Working memory.
    pub(crate) numbers: &'a mut Vec<f32>,
}

impl<E: Epilogue> Kernel for QuantizingGemm<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let QuantizingGemm { a, b, columns, epilogue, out, numbers } = self;
        let operands = Operands::new(a, b, GROUP * size_of::<f32>());
        #[cfg(target_arch = "x86_64")]
        let _tiles = (operands.units == Units::Amx).then(amx::configure);
        let mut sums = Sums::ZERO;
        let end = columns.end.div_ceil(E::WIDTH);
        for block in operands.blocks() {
            numbers.resize(block.len() * MAX_ROWS * GROUP, 0.0);
            for (number, first) in columns.clone().step_by(GROUP).enumerate() {
                let width = GROUP.min(columns.end - first);
                let panels = first / E::WIDTH..(first + width).div_ceil(E::WIDTH);
                let tiles = operands.tiles;
                let mut sink =
                    Columns { tiles, first: [block.start, panels.start], width, epilogue, numbers };
                operands.multiply::<A>(&block, (panels, end), &mut sums, &mut sink);
                for (tile, numbers) in block.clone().zip(numbers.chunks_exact(MAX_ROWS * GROUP)) {
                    for (row, numbers) in numbers.chunks_exact(GROUP).take(tiles.get(tile).1).enumerate() {
                        out[tile].quantize::<A>(operands.units, number, row, &numbers[..width]);
                    }
                }
            }
        }
    }
}

/// A group of columns of a block of rows, tile by tile.
struct Columns<'a, E> {
    tiles: Tiles,
    /// The first tile and the first panel.
    first: [usize; 2],
    /// How many columns there are.
    width: usize,
    epilogue: E,
    numbers: &'a mut [f32],
}

impl<E: Epilogue> Sink for Columns<'_, E> {
    #[inline(always)]
    fn expect(&self, _: usize, _: Range<usize>) {}

    #[inline(always)]
    fn take<A: Arithmetic>(&mut self, tile: usize, panels: Range<usize>, sums: &Sums) {
        let (_, rows) = self.tiles.get(tile);
        let [first_tile, first_panel] = self.first;
        let numbers = &mut self.numbers[(tile - first_tile) * MAX_ROWS * GROUP..];
        for (numbers, sums) in numbers.chunks_exact_mut(GROUP).take(rows).zip(&sums.0) {
            for (panel, sums) in panels.clone().zip(sums) {
                let column = (panel - first_panel) * E::WIDTH;
                let end = (column + E::WIDTH).min(self.width);
                self.epilogue.store::<A>(panel, sums, &mut numbers[column..end]);
            }
        }
    }
}
