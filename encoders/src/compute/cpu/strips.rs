//! Vertical strips of an array, which threads write side by side.

use std::ops::Range;

use rayon::prelude::*;

use super::{Activations, Cpu, Memory};

impl Cpu {
    /// Calls `compute` for strips of the `columns` of `out`, in parallel if operations are spread over the pool.
    /// `compute` gets the panels that yield a strip, `width` columns each, and the strip's slice of each row. A strip
    /// begins with a multiple of `together` panels.
    pub(super) fn for_strips(
        &self,
        out: &mut Activations,
        columns: Range<usize>,
        (width, together): (usize, usize),
        compute: impl Fn(Range<usize>, &mut [&mut [f32]], &mut Memory) + Sync,
    ) {
        let num_panels = columns.len().div_ceil(width);
        let tasks = if self.parallel { rayon::current_num_threads().min(num_panels) } else { 1 };
        let panels_each = num_panels.div_ceil(tasks.max(1)).next_multiple_of(together).max(together);
        let strips = split_columns(out, columns, panels_each * width);
        let run = |memory: &mut Memory, (task, mut rows): (usize, Vec<&mut [f32]>)| {
            let first = task * panels_each;
            compute(first..(first + panels_each).min(num_panels), &mut rows, memory);
        };
        if strips.len() > 1 {
            strips.into_par_iter().enumerate().for_each_init(Memory::default, run);
        } else {
            let memory = &mut self.memory.borrow_mut();
            strips.into_iter().enumerate().for_each(|strip| run(memory, strip));
        }
    }
}

/// The columns that a window of `panels` yields, `width` a panel. `rows` have the columns of all of them.
pub(super) fn columns_of<'r>(
    rows: &'r mut [&mut [f32]],
    panels: &Range<usize>,
    window: &Range<usize>,
    width: usize,
) -> Vec<&'r mut [f32]> {
    let cut = |row: &'r mut &mut [f32]| {
        // The last panel may be cut.
        let column = |panel: usize| ((panel - panels.start) * width).min(row.len());
        let columns = column(window.start)..column(window.end);
        &mut row[columns]
    };
    rows.iter_mut().map(cut).collect()
}

/// Vertical strips of some columns, each `width` wide (the last may be narrower), as one slice a row.
pub(super) fn split_columns(
    rows: &mut Activations,
    columns: Range<usize>,
    width: usize,
) -> Vec<Vec<&mut [f32]>> {
    let num_rows = rows.num_rows();
    let mut strips: Vec<Vec<&mut [f32]>> =
        (0..columns.len().div_ceil(width)).map(|_| Vec::with_capacity(num_rows)).collect();
    for row in rows.values.chunks_exact_mut(rows.columns) {
        for (strip, piece) in strips.iter_mut().zip(row[columns.clone()].chunks_mut(width)) {
            strip.push(piece);
        }
    }
    strips
}
