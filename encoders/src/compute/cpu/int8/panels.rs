//! Weights in 8 bits, in the order in which products read them, and row by row, as a file has them.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::super::isa::{Arithmetic, Isa, Kernel, PANEL};
use super::codes::{encode, factors};
use super::{GROUP, QUAD, Units, WIDE, quads};

/// A cache line: a vector of codes, scales or corrections.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [i8; 4 * PANEL]);

impl Line {
    pub(super) fn floats(&self) -> &[f32; PANEL] {
        bytemuck::cast_ref(&self.0)
    }
}

/// A matrix (N, K) of codes with their scales, [`WIDE`] panels at a time; the last may be one alone. Of each group
/// there are, each for the one panel and then for the other:
///
/// - the scales of the rows;
/// - the corrections: -128 times the sum of each row's codes, which undoes the offset of A's codes;
/// - for each four k the codes of row 0, of row 1, and so on. Of [`STEP`](super::STEP) times four k each this is the
///   tile that AMX multiplies with.
pub(crate) struct Int8Panels {
    lines: Vec<Line>,
    rows: usize,
    depth: usize,
    units: Units,
}

/// Lines of a panel.
fn lines_of_panel(depth: usize) -> usize {
    2 * depth.div_ceil(GROUP) + quads(depth)
}

impl Int8Panels {
    /// Packs a matrix (`rows`, `depth`) in parallel on the current rayon pool. `row` gives its rows; those that it
    /// gives none for are zeros.
    pub(crate) fn pack<'a>(
        rows: usize,
        depth: usize,
        units: Units,
        row: impl Fn(usize) -> Option<Row<'a>> + Sync,
    ) -> Int8Panels {
        let panel = lines_of_panel(depth);
        let isa = Isa::detect();
        let mut lines = vec![Line([0; 4 * PANEL]); rows.div_ceil(PANEL) * panel];
        lines.par_chunks_mut((WIDE * panel).max(1)).enumerate().for_each(|(wide, lines)| {
            let panels = lines.len() / panel;
            for lane in 0..panels * PANEL {
                let number = wide * WIDE * PANEL + lane;
                if let Some(row) = (number < rows).then(|| row(number)).flatten() {
                    isa.dispatch(PackRow { row, lane, panels, lines });
                }
            }
        });
        Int8Panels { lines, rows, depth, units }
    }

    /// N, the columns of a product with this matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// K.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Who multiplies it.
    pub(crate) fn units(&self) -> Units {
        self.units
    }

    /// The lines of the panels that are multiplied together with panel `first`, and how many panels these are.
    pub(super) fn lines(&self, first: usize) -> (&[Line], usize) {
        let panel = lines_of_panel(self.depth);
        let end = (first + WIDE).min(self.rows.div_ceil(PANEL));
        (&self.lines[first * panel..end * panel], end - first)
    }
}

/// A row of weights.
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    /// Numbers, which are quantized.
    Numbers(&'a [f32]),
    /// Codes, and the scale of each group.
    Codes(&'a [i8], &'a [f32]),
}

impl Row<'_> {
    fn len(self) -> usize {
        match self {
            Row::Numbers(values) => values.len(),
            Row::Codes(codes, _) => codes.len(),
        }
    }

    /// Writes the codes of a group, and zeros up to a whole quad, and returns the scale.
    #[inline(always)]
    fn group<A: Arithmetic>(self, number: usize, codes: &mut [i8; GROUP]) -> f32 {
        let range = number * GROUP..(number * GROUP + GROUP).min(self.len());
        match self {
            Row::Numbers(values) => {
                let values = &values[range];
                let (inverse, scale) = factors::<A>(values);
                for (values, codes) in values.chunks(PANEL).zip(codes.chunks_exact_mut(PANEL)) {
                    for (slot, code) in codes.iter_mut().zip(encode::<A>(values, inverse, 0)) {
                        *slot = code.cast_signed();
                    }
                }
                scale
            }
            Row::Codes(stored, scales) => {
                let stored = &stored[range];
                codes[..stored.len()].copy_from_slice(stored);
                codes[stored.len()..].fill(0);
                scales[number]
            }
        }
    }
}

/// Codes and scales of a matrix with rows of `columns` numbers, row by row, as [`Int8Panels::pack`] makes them of the
/// same numbers. In parallel on the current rayon pool.
pub(crate) fn quantize_rows(values: &[f32], columns: usize) -> (Vec<i8>, Vec<f32>) {
    let rows = values.len() / columns;
    let groups = columns.div_ceil(GROUP);
    let (mut codes, mut scales) = (vec![0; rows * columns], vec![0.0; rows * groups]);
    let isa = Isa::detect();
    let outputs = codes.par_chunks_mut(columns).zip(scales.par_chunks_mut(groups));
    values.par_chunks(columns).zip(outputs).for_each(|(row, (codes, scales))| {
        isa.dispatch(QuantizeRow { row: Row::Numbers(row), codes, scales });
    });
    (codes, scales)
}

/// Quantizes a row.
struct QuantizeRow<'a> {
    row: Row<'a>,
    codes: &'a mut [i8],
    scales: &'a mut [f32],
}

impl Kernel for QuantizeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let mut codes = [0; GROUP];
        for (number, (out, scale)) in self.codes.chunks_mut(GROUP).zip(self.scales).enumerate() {
            *scale = self.row.group::<A>(number, &mut codes);
            out.copy_from_slice(&codes[..out.len()]);
        }
    }
}

/// Packs a row.
struct PackRow<'a> {
    row: Row<'a>,
    /// Place of the row in its panels.
    lane: usize,
    /// Panels that lie together.
    panels: usize,
    lines: &'a mut [Line],
}

impl Kernel for PackRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let PackRow { row, lane, panels, lines } = self;
        let (panel, lane) = (lane / PANEL, lane % PANEL);
        let (mut rest, mut codes) = (lines, [0; GROUP]);
        for number in 0..row.len().div_ceil(GROUP) {
            let numbers = (row.len() - number * GROUP).min(GROUP);
            let (head, body) = rest.split_at_mut(2 * panels);
            let (body, after) = body.split_at_mut(panels * quads(numbers));
            rest = after;
            let scale = row.group::<A>(number, &mut codes);
            let codes = &codes[..numbers.next_multiple_of(QUAD)];
            for (quad, line) in
                codes.as_chunks::<QUAD>().0.iter().zip(body.iter_mut().skip(panel).step_by(panels))
            {
                line.0[QUAD * lane..][..QUAD].copy_from_slice(quad);
            }
            let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
            bytemuck::cast_mut::<_, [f32; PANEL]>(&mut head[panel].0)[lane] = scale;
            bytemuck::cast_mut::<_, [i32; PANEL]>(&mut head[panels + panel].0)[lane] = -128 * sum;
        }
    }
}
