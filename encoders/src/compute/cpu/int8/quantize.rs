//! Activations in 8 bits.

use std::ops::Range;

use bytemuck::Zeroable;

use super::super::isa::{Arithmetic, Kernel, PANEL};
use super::codes::{encode, factors};
use super::panels::Line;
use super::{GROUP, QUAD, Quad, STEP, Units, quads};
#[cfg(target_arch = "x86_64")]
use super::{amx, avx512_vnni};

/// The rows of a product, divided into tiles of nearly the same height, none above a given one.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub(super) count: usize,
    least: usize,
    /// How many are one row taller.
    taller: usize,
}

impl Tiles {
    pub(super) fn new(rows: usize, tallest: usize) -> Tiles {
        let count = rows.div_ceil(tallest);
        Tiles { count, least: rows / count.max(1), taller: rows % count.max(1) }
    }

    /// The first row of a tile and how many it has.
    pub(super) fn get(self, tile: usize) -> (usize, usize) {
        (tile * self.least + tile.min(self.taller), self.least + usize::from(tile < self.taller))
    }
}

/// Activations (M, K) as codes, tile by tile.
#[derive(Default)]
pub(crate) struct QuantizedRows {
    /// For each four k of a tile, those of each of its rows; for AMX, as [`amx::quantize`] writes them.
    codes: Vec<Line>,
    /// For each group of a tile, those of its rows.
    scales: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl QuantizedRows {
    /// M
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// K
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Becomes an array (`rows`, `depth`) for some units, of any codes and scales.
    fn reshape(&mut self, rows: usize, depth: usize, units: Units) -> Tiles {
        (self.rows, self.depth) = (rows, depth);
        let tiles = Tiles::new(rows, units.tile_rows());
        let codes = tiles.count.checked_sub(1).map_or(0, |last| units.codes_of_tile(tiles, last, depth).end);
        // What is multiplied will be written, or meets zeros; what is there need not be cleared.
        self.codes.resize(codes / STEP, Line::zeroed());
        self.scales.resize(rows * depth.div_ceil(GROUP), 0.0);
        tiles
    }

    /// Becomes an array (`rows`, `depth`) that others write: strips of `width` groups, of each tile by tile.
    pub(crate) fn strips(
        &mut self,
        (rows, depth): (usize, usize),
        units: Units,
        width: usize,
    ) -> Vec<Vec<TileStrip<'_>>> {
        let tiles = self.reshape(rows, depth, units);
        let mut strips: Vec<Vec<TileStrip<'_>>> =
            (0..depth.div_ceil(GROUP).div_ceil(width)).map(|_| Vec::with_capacity(tiles.count)).collect();
        let mut codes: &mut [Quad] = bytemuck::cast_slice_mut(&mut self.codes);
        let mut scales = &mut self.scales[..];
        for tile in 0..tiles.count {
            let (_, height) = tiles.get(tile);
            let stored = units.stored_rows(height);
            let of_tile = codes.split_off_mut(..units.codes_of_tile(tiles, tile, depth).len());
            let of_tile =
                of_tile.expect("there is room for every tile").chunks_mut(width * QUADS_OF_GROUP * stored);
            let scales_of_tile = scales.split_off_mut(..height * depth.div_ceil(GROUP));
            let scales_of_tile =
                scales_of_tile.expect("there is room for every tile").chunks_mut(width * height);
            for (strip, (codes, scales)) in strips.iter_mut().zip(of_tile.zip(scales_of_tile)) {
                strip.push(TileStrip { codes, scales, height });
            }
        }
        strips
    }

    /// Codes and scales of a tile for some units.
    pub(super) fn tile(&self, units: Units, tiles: Tiles, number: usize) -> (&[Quad], &[f32]) {
        let (first, height) = tiles.get(number);
        let groups = self.depth.div_ceil(GROUP);
        let codes = &bytemuck::cast_slice(&self.codes)[units.codes_of_tile(tiles, number, self.depth)];
        (codes, &self.scales[first * groups..][..height * groups])
    }
}

impl Units {
    /// Where the codes of a tile are.
    fn codes_of_tile(self, tiles: Tiles, number: usize, depth: usize) -> Range<usize> {
        let (first, height) = tiles.get(number);
        // Stored tiles are as tall as they are, or all alike.
        let stored = self.stored_rows(height);
        let before = if stored == height { first } else { number * stored };
        before * quads(depth)..(before + stored) * quads(depth)
    }

    /// Writes the codes of a group of the `row`th of `height` rows, whose codes begin at `codes`. Returns the scale.
    #[inline(always)]
    fn quantize<A: Arithmetic>(
        self,
        group: &[f32],
        codes: &mut [Quad],
        (row, height): (usize, usize),
    ) -> f32 {
        #[cfg(target_arch = "x86_64")]
        match self {
            Units::Avx512Vnni => return avx512_vnni::quantize(group, &mut codes[row..], height),
            Units::Amx => return amx::quantize(group, codes, row),
            _ => {}
        }
        let (inverse, scale) = factors::<A>(group);
        let mut slots = codes[row..].iter_mut().step_by(height);
        for values in group.chunks(PANEL) {
            let quads: [Quad; PANEL / QUAD] = bytemuck::cast(encode::<A>(values, inverse, self.offset()));
            for (quad, slot) in quads[..values.len().div_ceil(QUAD)].iter().zip(slots.by_ref()) {
                *slot = *quad;
            }
        }
        scale
    }
}

/// The codes of a group of a row.
const QUADS_OF_GROUP: usize = GROUP / QUAD;

/// Some groups of a tile, to be written.
pub(crate) struct TileStrip<'a> {
    codes: &'a mut [Quad],
    scales: &'a mut [f32],
    height: usize,
}

impl TileStrip<'_> {
    /// Writes a group of a row; the first group is that of the strip.
    #[inline(always)]
    pub(super) fn quantize<A: Arithmetic>(
        &mut self,
        units: Units,
        group: usize,
        row: usize,
        numbers: &[f32],
    ) {
        let height = self.height;
        let codes = &mut self.codes[group * QUADS_OF_GROUP * units.stored_rows(height)..];
        self.scales[group * height + row] = units.quantize::<A>(numbers, codes, (row, height));
    }
}

/// Quantizes activations.
pub(crate) struct Quantize<'a> {
    /// (M, K)
    pub(crate) a: &'a [f32],
    pub(crate) depth: usize,
    /// Who will multiply the codes.
    pub(crate) units: Units,
    pub(crate) out: &'a mut QuantizedRows,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Quantize { a, depth, units, out } = self;
        let rows = a.len() / depth.max(1);
        let mut a = a.chunks_exact(depth.max(1));
        for mut tile in out.strips((rows, depth), units, depth.div_ceil(GROUP).max(1)).into_iter().flatten() {
            for (row, values) in a.by_ref().take(tile.height).enumerate() {
                for (number, group) in values.chunks(GROUP).enumerate() {
                    tile.quantize::<A>(units, number, row, group);
                }
            }
        }
    }
}
