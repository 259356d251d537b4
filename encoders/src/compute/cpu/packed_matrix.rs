//! Matrices in the order in which products read them.

use std::ops::Range;

use rayon::prelude::*;

use super::isa::PANEL;
use crate::weights::mapped::MappedFloats;

/// A matrix (N, K) as panels: panel p holds rows 16 p .. 16 p + 16, k-major, zero rows at the end. All of its panels,
/// or a window of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedMatrix {
    panels: Vec<f32>,
    /// The panels in place of these, in a file that was written before.
    mapped: Option<MappedFloats>,
    /// The first panel there is.
    first: usize,
    rows: usize,
    depth: usize,
}

impl PackedMatrix {
    /// An empty matrix that reuses this memory.
    pub(crate) fn in_memory(panels: Vec<f32>) -> PackedMatrix {
        PackedMatrix { panels, ..PackedMatrix::default() }
    }

    /// Its memory, for another use.
    pub(crate) fn into_memory(self) -> Vec<f32> {
        self.panels
    }

    /// A matrix (`rows`, `depth`) whose panels, [`len_of`](PackedMatrix::len_of) numbers, were written before.
    pub(super) fn mapped(panels: MappedFloats, rows: usize, depth: usize) -> PackedMatrix {
        PackedMatrix { mapped: Some(panels), rows, depth, ..PackedMatrix::default() }
    }

    /// How many numbers the panels of a matrix (`rows`, `depth`) have.
    pub(super) fn len_of(rows: usize, depth: usize) -> usize {
        rows.div_ceil(PANEL) * PANEL * depth
    }

    /// The panels that are there, one after the other.
    pub(super) fn all_panels(&self) -> &[f32] {
        self.mapped.as_deref().unwrap_or(&self.panels)
    }

    /// Packs a row-major matrix (N, `depth`), in parallel on the current rayon pool.
    pub(crate) fn of_rows(matrix: &[f32], depth: usize) -> PackedMatrix {
        let panel_len = (PANEL * depth).max(1);
        let rows = matrix.len() / depth.max(1);
        // Not written here: the system clears the pages as the tasks meet them.
        let mut panels = vec![0.0; PackedMatrix::len_of(rows, depth)];
        panels
            .par_chunks_exact_mut(panel_len)
            .zip(matrix.par_chunks(panel_len))
            .for_each(|(panel, rows)| write_panel(panel, || rows.chunks_exact(depth)));
        PackedMatrix { rows, depth, ..PackedMatrix::in_memory(panels) }
    }

    /// Packs other rows of `depth` numbers, reusing the memory, in parallel on the current rayon pool.
    pub(super) fn refill_rows(&mut self, rows: &[&[f32]], depth: usize) {
        let panels = self.refill_window(rows.len(), depth, 0..rows.len().div_ceil(PANEL));
        let panels = panels.par_chunks_exact_mut((PANEL * depth).max(1));
        panels.zip(rows.par_chunks(PANEL)).for_each(|(panel, rows)| {
            if rows.len() < PANEL {
                panel.fill(0.0);
            }
            write_panel(panel, || rows.iter().copied());
        });
    }

    /// The same with each number replaced.
    pub(super) fn map(&self, number: impl Fn(f32) -> f32) -> PackedMatrix {
        let panels = self.all_panels().iter().map(|x| number(*x)).collect();
        PackedMatrix { panels, mapped: None, ..*self }
    }

    /// Packs anew, reusing the memory; `value(row, k)` gives the elements.
    #[inline]
    pub(crate) fn refill(&mut self, rows: usize, depth: usize, value: impl Fn(usize, usize) -> f32) {
        let panels = self.refill_window(rows, depth, 0..rows.div_ceil(PANEL));
        for (p, panel) in panels.chunks_exact_mut((PANEL * depth).max(1)).enumerate() {
            for (k, line) in panel.chunks_exact_mut(PANEL).enumerate() {
                for (lane, slot) in line.iter_mut().enumerate() {
                    let row = p * PANEL + lane;
                    *slot = if row < rows { value(row, k) } else { 0.0 };
                }
            }
        }
    }

    /// Packs the first `depth` numbers of rows that lie `stride` apart, reusing the memory.
    pub(super) fn refill_strided(&mut self, values: &[f32], stride: usize, depth: usize) {
        let rows = values.len().div_ceil(stride);
        let panels = self.refill_window(rows, depth, 0..rows.div_ceil(PANEL));
        let panels = panels.chunks_exact_mut((PANEL * depth).max(1));
        for (panel, rows) in panels.zip(values.chunks(PANEL * stride)) {
            if rows.len() <= (PANEL - 1) * stride {
                panel.fill(0.0);
            }
            write_panel(panel, || rows.chunks(stride).map(|row| &row[..depth]));
        }
    }

    /// Packs the transpose of the first `rows` columns of an array anew, whose rows lie `stride` apart, reusing the
    /// memory.
    pub(super) fn refill_columns(&mut self, values: &[f32], stride: usize, rows: usize) {
        let depth = values.len().div_ceil(stride);
        let panels = self.refill_window(rows, depth, 0..rows.div_ceil(PANEL));
        for (k, values) in values.chunks(stride).enumerate() {
            for (p, values) in values[..rows].chunks(PANEL).enumerate() {
                let line = &mut panels[(p * depth + k) * PANEL..][..PANEL];
                match <&[f32; PANEL]>::try_from(values) {
                    Ok(values) => line.copy_from_slice(values),
                    Err(_) => {
                        line[..values.len()].copy_from_slice(values);
                        line[values.len()..].fill(0.0);
                    }
                }
            }
        }
    }

    /// Becomes some panels of a matrix (`rows`, `depth`), reusing the memory. The caller writes the elements, PANEL *
    /// `depth` a panel.
    pub(crate) fn refill_window(&mut self, rows: usize, depth: usize, panels: Range<usize>) -> &mut [f32] {
        (self.rows, self.depth, self.first) = (rows, depth, panels.start);
        self.mapped = None;
        self.panels.resize(panels.len() * PANEL * depth, 0.0);
        &mut self.panels
    }

    /// Becomes some panels of the transpose of `matrix`, of which all panels are there, reusing the memory.
    pub(crate) fn refill_transposed(&mut self, matrix: &PackedMatrix, panels: Range<usize>) {
        let (rows, depth) = (matrix.depth, matrix.rows);
        let window = self.refill_window(rows, depth, panels.clone());
        for (p, panel) in panels.zip(window.chunks_exact_mut((PANEL * depth).max(1))) {
            let width = PANEL.min(rows - p * PANEL);
            // Both are blocks of PANEL x PANEL that lie in one piece.
            for (q, block) in panel.chunks_mut(PANEL * PANEL).enumerate() {
                let source = &matrix.panel(q)[p * PANEL * PANEL..][..width * PANEL];
                for (k, line) in block.chunks_exact_mut(PANEL).enumerate() {
                    for (lane, slot) in line.iter_mut().enumerate() {
                        *slot = if lane < width { source[lane * PANEL + k] } else { 0.0 };
                    }
                }
            }
        }
    }

    /// N, the columns of a product with this matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// K.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// How many panels there are.
    pub(crate) fn num_panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    pub(super) fn panel(&self, p: usize) -> &[f32] {
        let p = p - self.first;
        &self.all_panels()[p * PANEL * self.depth..(p + 1) * PANEL * self.depth]
    }
}

/// Writes at most [`PANEL`] rows to a panel.
fn write_panel<'a, R: Iterator<Item = &'a [f32]>>(panel: &mut [f32], rows: impl Fn() -> R) {
    // A few lines of a panel at a time, which stay in the first-level cache while all rows are written to them.
    const LINES: usize = 32;
    for (block, lines) in panel.chunks_mut(PANEL * LINES).enumerate() {
        for (lane, row) in rows().enumerate() {
            let values = &row[block * LINES..];
            for (line, value) in lines.chunks_exact_mut(PANEL).zip(values) {
                line[lane] = *value;
            }
        }
    }
}
