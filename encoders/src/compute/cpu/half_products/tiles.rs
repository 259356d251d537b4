//! What is multiplied, rounded to bf16 into tiles.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::ops::Range;

use super::super::amx::{ROW_BYTES, TILE_ROWS};
use super::super::half_tiles::{STEP, Tile, ZEROS, round_row, turn, write_pairs, write_rows};
use super::super::isa::PANEL;
use super::super::packed_matrix::PackedMatrix;
use super::super::rounded_matrix::RoundedPanel;

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

    /// Bytes of a row.
    pub(super) fn row_bytes(&self) -> usize {
        self.depth.div_ceil(STEP).max(1) * ROW_BYTES
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
    /// Rows of so many numbers, which lie so far apart.
    Rows { values: &'a [f32], stride: usize, depth: usize },
    /// So many columns of rows that lie so far apart.
    Columns { values: &'a [f32], stride: usize, columns: usize },
}

impl Panels<'_> {
    /// The tiles of a panel: those that were kept of it, or else made in `scratch`.
    pub(super) fn panel<'s>(
        self,
        panel: usize,
        depth: usize,
        kept: &'s [RoundedPanel],
        scratch: &'s mut Vec<Tile>,
    ) -> &'s [Tile] {
        match kept.get(panel) {
            Some(kept) => kept.get_or_init(|| {
                let mut tiles = Vec::new();
                self.write(panel, depth, &mut tiles);
                tiles
            }),
            None => {
                self.write(panel, depth, scratch);
                scratch
            }
        }
    }

    /// Makes `tiles` those of a panel, in the order of k.
    fn write(self, panel: usize, depth: usize, tiles: &mut Vec<Tile>) {
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
                    Panels::Rows { values, stride, depth } => {
                        let row = |row: usize| {
                            let from = (panel * PANEL + row) * stride;
                            let half = |k: usize| values.get(from + k.min(depth)..from + depth);
                            [half(first), half(first + PANEL)].map(Option::unwrap_or_default)
                        };
                        write_rows(tile, row);
                        turn(tile);
                    }
                    Panels::Columns { values, stride, columns } => {
                        let of_panel = panel * PANEL..((panel + 1) * PANEL).min(columns);
                        let line =
                            |k: usize| values.get(k * stride + of_panel.start..k * stride + of_panel.end);
                        write_pairs(tile, |k| line(first + k).unwrap_or_default());
                    }
                    Panels::Transposed(matrix) => {
                        // Two of its panels are 32 numbers along K.
                        let half = |q: usize| match q < matrix.num_panels() {
                            true => matrix.panel(q).get(panel * PANEL * PANEL..).unwrap_or_default(),
                            false => &[],
                        };
                        let halves = [half(2 * step), half(2 * step + 1)];
                        let row = |column| halves.map(|half| half.get(column * PANEL..).unwrap_or_default());
                        write_rows(tile, row);
                        turn(tile);
                    }
                }
            }
        }
    }
}
