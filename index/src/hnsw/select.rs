//! Choosing neighbors: algorithm 4 of the paper.

use crate::quantization::int8::{Int8Codes, Int8Query};
use crate::quantization::kernel::int8::Int8Kernel;

/// A row and its similarity to the one whose neighbors are chosen.
pub(crate) type Candidate = (u32, f32);

/// The working memory of a choice, for use again.
#[derive(Default)]
pub(crate) struct Selection {
    pub chosen: Vec<Candidate>,
    rows: Vec<u32>,
    query: Int8Query,
    sums: Vec<i32>,
}

/// Chosen rows compared with a candidate at a time: the nearest ones rule out most candidates.
const BATCH: usize = 4;

/// Candidates whose codes are asked for before they are needed.
const AHEAD: usize = 4;

impl Selection {
    /// Algorithm 4, SELECT-NEIGHBORS-HEURISTIC, without its optional parts. Goes through candidates, best first, and
    /// takes each that is nearer to the row than to those taken before, until there are `max`.
    pub fn choose(
        &mut self,
        codes: &Int8Codes<'_>,
        kernel: Int8Kernel,
        candidates: &[Candidate],
        max: usize,
    ) {
        self.chosen.clear();
        self.rows.clear();
        candidates.iter().take(AHEAD).for_each(|(row, _)| codes.prefetch(*row));
        for (index, &(row, similarity)) in candidates.iter().enumerate() {
            if self.chosen.len() == max {
                break;
            }
            if let Some((row, _)) = candidates.get(index + AHEAD) {
                codes.prefetch(*row);
            }
            codes.row_as_query(row, &mut self.query);
            let is_ruled_out = self.rows.chunks(BATCH).any(|rows| {
                let mut nearest = f32::NEG_INFINITY;
                codes.compare(kernel, &self.query, rows, &mut self.sums, |_, value| {
                    nearest = nearest.max(value);
                });
                nearest >= similarity
            });
            if !is_ruled_out {
                self.chosen.push((row, similarity));
                self.rows.push(row);
            }
        }
    }
}
