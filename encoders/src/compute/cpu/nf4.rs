//! Quantized matrices as panels, unpacked a few at a time while they are multiplied.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::isa::{Arithmetic, Isa, Kernel, PANEL};
use crate::compute::Nf4Rows;
use crate::weights::quantized::nf4::{BLOCK, Scales, VALUES};

/// Codes of a line of a panel: two a byte.
const LINE: usize = PANEL / 2;

/// A matrix (N, K) of codes in the order of [`PackedMatrix`](super::packed_matrix::PackedMatrix): panel by panel, each
/// k-major. A byte holds the codes of lane l, in its lower half, and l + 8.
pub(crate) struct Nf4Panels {
    codes: Vec<u8>,
    /// The blocks of each lane of each panel.
    lanes: Vec<Option<Lane>>,
    scales: Vec<Arc<Scales>>,
    rows: usize,
    depth: usize,
}

/// Where a row lies in the matrix that was quantized: there its blocks begin.
#[derive(Clone, Copy)]
struct Lane {
    /// Place in `Nf4Panels::scales`.
    part: usize,
    row: usize,
}

impl Nf4Panels {
    /// Packs `rows` rows; row `origin(i)` of the stacked `parts` becomes row i, and zeros where there is none.
    pub(crate) fn pack(
        parts: &[&Nf4Rows],
        rows: usize,
        origin: impl Fn(usize) -> Option<usize>,
    ) -> Nf4Panels {
        let depth = parts[0].matrix.columns();
        let lane = |row: usize| {
            let mut row = origin(row)?;
            for (part, rows) in parts.iter().map(|part| &part.rows).enumerate() {
                if row < rows.len() {
                    return Some(Lane { part, row: rows.start + row });
                }
                row -= rows.len();
            }
            None
        };
        let lanes: Vec<Option<Lane>> = (0..rows.next_multiple_of(PANEL)).map(lane).collect();
        let mut codes = vec![0u8; lanes.len() / 2 * depth];
        let code = |lane: Option<Lane>, k| lane.map_or(0, |lane| parts[lane.part].matrix.code(lane.row, k));
        codes.par_chunks_mut(LINE * depth).zip(lanes.par_chunks(PANEL)).for_each(|(codes, lanes)| {
            for (k, line) in codes.chunks_exact_mut(LINE).enumerate() {
                for (l, byte) in line.iter_mut().enumerate() {
                    *byte = code(lanes[l], k) | code(lanes[l + LINE], k) << 4;
                }
            }
        });
        let scales = parts.iter().map(|part| Arc::clone(part.matrix.scales())).collect();
        Nf4Panels { codes, lanes, scales, rows, depth }
    }

    /// N, the columns of a product with this matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// K.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Writes some panels in f32.
    pub(super) fn unpack(&self, isa: Isa, panels: Range<usize>, out: &mut [f32]) {
        for (panel, out) in panels.zip(out.chunks_exact_mut(PANEL * self.depth)) {
            isa.dispatch(Unpack { from: self, panel, out });
        }
    }
}

/// Writes a panel in f32.
struct Unpack<'a> {
    from: &'a Nf4Panels,
    panel: usize,
    out: &'a mut [f32],
}

impl Kernel for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Nf4Panels { codes, lanes, scales, depth, .. } = self.from;
        let depth = *depth;
        let lanes = &lanes[self.panel * PANEL..(self.panel + 1) * PANEL];
        let codes = &codes[self.panel * LINE * depth..(self.panel + 1) * LINE * depth];
        let mut start = 0;
        while start < depth {
            // As far as no lane enters another block. If rows are whole blocks, that is all of them at once.
            let mut end = depth;
            let mut factors = [0.0f32; PANEL];
            for (factor, lane) in factors.iter_mut().zip(lanes) {
                if let Some(Lane { part, row }) = *lane {
                    let place = row * depth + start;
                    *factor = scales[part].of_block(place / BLOCK);
                    end = end.min(start + BLOCK - place % BLOCK);
                }
            }
            let (lines, _) = codes[LINE * start..LINE * end].as_chunks::<LINE>();
            let (out, _) = self.out[PANEL * start..PANEL * end].as_chunks_mut::<PANEL>();
            for (out, line) in out.iter_mut().zip(lines) {
                for l in 0..LINE {
                    out[l] = VALUES[usize::from(line[l] & 15)] * factors[l];
                    out[LINE + l] = VALUES[usize::from(line[l] >> 4)] * factors[LINE + l];
                }
            }
            start = end;
        }
    }
}
