//! Weights in 8 bits, in the order in which products read them.

use rayon::prelude::*;

use super::super::isa::{Arithmetic, Isa, Kernel, PANEL};
use super::codes::{encode, factors};
use super::{GROUP, QUAD, Units, WIDE};

/// A cache line: a vector of codes, scales or corrections.
#[derive(Clone, Copy)]
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
/// - for each four k the codes of row 0, of row 1, and so on.
pub(crate) struct Int8Panels {
    lines: Vec<Line>,
    rows: usize,
    depth: usize,
    units: Units,
}

/// Lines of a panel.
fn lines_of_panel(depth: usize) -> usize {
    2 * depth.div_ceil(GROUP) + depth.div_ceil(QUAD)
}

impl Int8Panels {
    /// Quantizes a matrix (`rows`, `depth`) in parallel on the current rayon pool. `row` gives its rows; those that it
    /// gives none for are zeros.
    pub(crate) fn pack<'a>(
        rows: usize,
        depth: usize,
        units: Units,
        row: impl Fn(usize) -> Option<&'a [f32]> + Sync,
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

/// Quantizes a row.
struct PackRow<'a> {
    row: &'a [f32],
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
        let mut rest = lines;
        for group in row.chunks(GROUP) {
            let (head, body) = rest.split_at_mut(2 * panels);
            let (body, after) = body.split_at_mut(panels * group.len().div_ceil(QUAD));
            rest = after;
            let (inverse, scale) = factors::<A>(group);
            let mut sum = 0i32;
            let mut body = body.iter_mut().skip(panel).step_by(panels);
            for values in group.chunks(PANEL) {
                let codes = encode::<A>(values, inverse, 0);
                sum += codes.iter().map(|code| i32::from(code.cast_signed())).sum::<i32>();
                for (quad, line) in
                    codes.chunks_exact(QUAD).zip(body.by_ref().take(values.len().div_ceil(QUAD)))
                {
                    for (slot, code) in line.0[QUAD * lane..].iter_mut().zip(quad) {
                        *slot = code.cast_signed();
                    }
                }
            }
            bytemuck::cast_mut::<_, [f32; PANEL]>(&mut head[panel].0)[lane] = scale;
            bytemuck::cast_mut::<_, [i32; PANEL]>(&mut head[panels + panel].0)[lane] = -128 * sum;
        }
    }
}
