//! Many queries at once, in two passes.
//!
//! 1. Compare all rows with all queries, approximately, in integers (`kernel::Product`).
//! 2. A row whose approximate score falls short of the k best by more than rounding can explain is not among them.
//!    Compare the other rows, few more than k, as a single search compares them.
//!
//! So the answers are those of single searches, bit for bit.

use rayon::prelude::*;

use super::shortlist::Shortlist;
use super::{FlatIndex, Scorer, Task};
use crate::kernel::{
    Kernel, PackedQueries, Product, ROW_PANEL, UNIT, max_error, rounding_error, scale, underflow, with_kernel,
};
use crate::metric::Metric;
use crate::rows::Rows;
use crate::topk::{Hit, RowId, TopK};

/// The answers to queries, (Q, D) row-major with Q at most [`crate::kernel::MAX_QUERIES`].
pub(super) fn search(index: &FlatIndex<'_>, queries: &[f32], k: usize) -> Vec<Vec<Hit>> {
    let batch = Batch::new(index, queries);
    let num_queries = queries.len() / index.dim;
    let none = || vec![Shortlist::new(k); num_queries];
    let shortlists = with_kernel!(batch.scorer.kernels, |kernel| {
        let packed = PackedQueries::new(&kernel, queries, index.dim, &batch.lengths);
        let first_pass = |task| {
            let mut shortlists = none();
            batch.first_pass(&kernel, &packed, &task, &mut shortlists);
            shortlists
        };
        index.tasks(ROW_PANEL, num_queries).into_par_iter().map(first_pass).reduce(none, |first, second| {
            first.into_iter().zip(second).map(|(first, second)| first.merge(second)).collect()
        })
    });
    let settled = |(query, mut list): (usize, Shortlist)| {
        list.settle(|rows, best| batch.compare(query, rows, best));
        list.into_sorted()
    };
    shortlists.into_par_iter().enumerate().map(settled).collect()
}

/// A batch of queries.
///
/// The approximate score of a pair is value * query_scale * row_scale + query_term + row_term, of the product's value.
struct Batch<'b, 'a> {
    index: &'b FlatIndex<'a>,
    queries: &'b [f32],
    scorer: Scorer,
    lengths: Vec<f32>,
    scales: Vec<f32>,
    /// Under L2, -‖q‖².
    terms: Vec<f64>,
    /// G of [`max_error`].
    max_error: f64,
    rounding_error: f64,
}

/// What the first pass needs to know of a panel of rows.
#[derive(Default)]
struct RowPanel {
    scales: Vec<f32>,
    /// Under L2, -‖v‖².
    terms: Vec<f32>,
    max_length: f32,
}

impl<'b, 'a> Batch<'b, 'a> {
    fn new(index: &'b FlatIndex<'a>, queries: &'b [f32]) -> Batch<'b, 'a> {
        let scorer = Scorer::new(index.metric, queries, index.dim);
        let lengths = scorer.lengths(Rows::F32(queries));
        let lanes = scorer.lanes();
        let scales = lengths.iter().map(|length| match index.metric {
            Metric::InnerProduct => scale(*length),
            Metric::Cosine => scale(*length) / length,
            // -‖q - v‖² = 2 q·v - ‖q‖² - ‖v‖²
            Metric::L2 => 2.0 * scale(*length),
        });
        let terms = lengths.iter().map(|length| match index.metric {
            Metric::InnerProduct | Metric::Cosine => 0.0,
            Metric::L2 => -f64::from(*length).powi(2),
        });
        Batch {
            index,
            queries,
            scales: scales.collect(),
            terms: terms.collect(),
            lengths,
            max_error: max_error(index.dim, lanes),
            rounding_error: rounding_error(index.dim, lanes),
            scorer,
        }
    }

    fn first_pass<const L: usize>(
        &self,
        kernel: &Kernel<L>,
        packed: &PackedQueries<L>,
        task: &Task<'_, 'a>,
        shortlists: &mut [Shortlist],
    ) {
        let mut product = Product::new(packed);
        let mut panel = RowPanel::default();
        let padded = shortlists.len().next_multiple_of(2 * L);
        let mut scales = self.scales.clone();
        scales.resize(padded, 0.0);
        // Beyond the last query nothing is high enough.
        let mut limits = vec![f32::INFINITY; padded];
        for (first, rows) in task.panels(ROW_PANEL, self.index.dim) {
            product.compute(kernel, packed, rows);
            self.describe(product.lengths(), &mut panel);
            for (query, list) in shortlists.iter().enumerate() {
                limits[query] = list.limit(self.slack(query, &panel), self.terms[query]);
            }
            product.for_each(packed, |row, first_query, values| {
                let (row_scale, row_term) = (panel.scales[row], panel.terms[row]);
                let range = first_query..first_query + 2 * L;
                let limits_of_panel = &limits[range.clone()];
                if !any_reaches(values, &scales[range.clone()], row_scale, row_term, limits_of_panel) {
                    return;
                }
                let row = first + row as u32;
                if task.segment.deleted.is_some_and(|deleted| deleted.contains(row)) {
                    return;
                }
                for (query, value) in (first_query..shortlists.len()).zip(values.as_flattened()) {
                    let score = approximate_score(*value, scales[query], row_scale, row_term);
                    if falls_short(score, limits[query]) {
                        continue;
                    }
                    let (list, slack) = (&mut shortlists[query], self.slack(query, &panel));
                    list.push(RowId(task.segment.base + row), f64::from(score) + self.terms[query], slack);
                    list.tidy(|rows, best| self.compare(query, rows, best));
                    limits[query] = list.limit(slack, self.terms[query]);
                }
            });
        }
    }

    fn describe(&self, lengths: &[f32], panel: &mut RowPanel) {
        let metric = self.index.metric;
        panel.max_length = lengths.iter().copied().fold(0.0, f32::max);
        panel.scales.clear();
        panel.scales.extend(lengths.iter().map(|length| match metric {
            Metric::InnerProduct | Metric::L2 => scale(*length),
            Metric::Cosine => scale(*length) / length,
        }));
        panel.terms.clear();
        panel.terms.extend(lengths.iter().map(|length| match metric {
            Metric::InnerProduct | Metric::Cosine => 0.0,
            Metric::L2 => -(length * length),
        }));
    }

    /// By how much an approximate score may be off, at most, from the score of a single search.
    fn slack(&self, query: usize, panel: &RowPanel) -> f64 {
        let (error, rounding) = (self.max_error, self.rounding_error);
        let (query_length, row_length) = (f64::from(self.lengths[query]), f64::from(panel.max_length));
        let sum = query_length + row_length;
        let slack = match self.index.metric {
            Metric::InnerProduct => error * query_length * row_length,
            // Twice a product; the product of two lengths is at most a quarter of the square of their sum. Both
            // squares and the single search's sum of squares have the rounding error of a sum. The terms are added in
            // f32.
            Metric::L2 => (error / 2.0 + 2.0 * rounding + 8.0 * UNIT) * sum * sum,
            // The single search multiplies two lengths and divides; the scales are divided by the lengths.
            Metric::Cosine => error + 8.0 * UNIT,
        };
        // The lengths have errors, too, below the error of a sum. The last factor covers the rounding of these lines.
        // If two vectors are long enough to be scaled, the product of their lengths is beyond 2⁻¹²⁰.
        let underflow = match self.index.metric {
            Metric::InnerProduct | Metric::L2 => 4.0 * underflow(self.index.dim),
            Metric::Cosine => underflow(self.index.dim) * 2f64.powi(120),
        };
        slack * (1.0 + rounding).powi(2) * (1.0 + 1e-9) + underflow
    }

    /// Compares rows with a query as a single search does.
    fn compare(&self, query: usize, rows: &[RowId], best: &mut TopK) {
        let dim = self.index.dim;
        self.index.collect_for(&self.scorer, query, &self.queries[query * dim..][..dim], rows, best);
    }
}

/// Without the term of the query, which is part of the limit.
#[inline(always)]
fn approximate_score(value: i32, query_scale: f32, row_scale: f32, row_term: f32) -> f32 {
    value as f32 * query_scale * row_scale + row_term
}

/// A approximate score that is not a number says nothing about the row: one of the vectors is too short to be scaled.
#[inline(always)]
fn falls_short(score: f32, limit: f32) -> bool {
    score < limit
}

/// Whether a row may be among the best of any query of a panel. Few rows are, so the loop has no branches.
#[inline(always)]
fn any_reaches<const L: usize>(
    values: &[[i32; L]; 2],
    query_scales: &[f32],
    row_scale: f32,
    row_term: f32,
    limits: &[f32],
) -> bool {
    let pairs = values.as_flattened().iter().zip(query_scales).zip(limits);
    pairs.fold(false, |any, ((value, scale), limit)| {
        any | !falls_short(approximate_score(*value, *scale, row_scale, row_term), *limit)
    })
}
