//! Activations in 8 bits.

use super::super::isa::{Arithmetic, Kernel, PANEL};
#[cfg(target_arch = "x86_64")]
use super::avx512_vnni;
use super::codes::{encode, factors};
use super::{GROUP, QUAD, Quad, Units};

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
    /// For each four k of a tile, those of each of its rows.
    codes: Vec<Quad>,
    /// For each group of a tile, those of its rows.
    scales: Vec<f32>,
    rows: usize,
    depth: usize,
}

impl QuantizedRows {
    /// M
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// K
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Codes and scales of a tile.
    pub(super) fn tile(&self, first: usize, height: usize) -> (&[Quad], &[f32]) {
        let (quads, groups) = (self.depth.div_ceil(QUAD), self.depth.div_ceil(GROUP));
        (&self.codes[first * quads..][..height * quads], &self.scales[first * groups..][..height * groups])
    }
}

impl Units {
    /// Writes the codes of a group to every `stride`th of `slots` and returns the scale.
    #[inline(always)]
    fn quantize<A: Arithmetic>(self, group: &[f32], slots: &mut [Quad], stride: usize) -> f32 {
        #[cfg(target_arch = "x86_64")]
        if self == Units::Avx512Vnni {
            return avx512_vnni::quantize(group, slots, stride);
        }
        let (inverse, scale) = factors::<A>(group);
        let mut slots = slots.iter_mut().step_by(stride);
        for values in group.chunks(PANEL) {
            let quads: [Quad; PANEL / QUAD] = bytemuck::cast(encode::<A>(values, inverse, self.offset()));
            for (quad, slot) in quads[..values.len().div_ceil(QUAD)].iter().zip(slots.by_ref()) {
                *slot = *quad;
            }
        }
        scale
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
        let (quads, groups) = (depth.div_ceil(QUAD), depth.div_ceil(GROUP));
        let rows = a.len() / depth.max(1);
        (out.rows, out.depth) = (rows, depth);
        // Every element is written below; old ones need not be cleared.
        out.codes.resize(rows * quads, 0);
        out.scales.resize(rows * groups, 0.0);
        let tiles = Tiles::new(rows, units.tile_rows());
        for tile in 0..tiles.count {
            let (first, height) = tiles.get(tile);
            let codes = &mut out.codes[first * quads..][..height * quads];
            let scales = &mut out.scales[first * groups..][..height * groups];
            for row in 0..height {
                let values = &a[(first + row) * depth..][..depth];
                for (g, group) in values.chunks(GROUP).enumerate() {
                    let slots = &mut codes[g * (GROUP / QUAD) * height + row..];
                    scales[g * height + row] = units.quantize::<A>(group, slots, height);
                }
            }
        }
    }
}
