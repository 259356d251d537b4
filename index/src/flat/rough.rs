//! One query, in two passes.
//!
//! The first compares it with 8-bit copies of the rows, a quarter of the bytes, and memory is what a scan waits for. How far
//! such a score may be off is known for each row, so rows that fall short of the k best by more are not among them; the
//! others, few more than k, are compared again with their vectors. So the answers are those of a scan of the vectors, bit for
//! bit.
//!
//! A row v (under cosine v / ‖v‖, and the query q / ‖q‖) is s c + m + e: its code c with the scale s, the mean m of the rows,
//! and what rounding took away. So q·v = s q·c + q·m + q·e, and |q·e| <= ‖q‖ ‖e‖ (Cauchy & Schwarz).

use super::shortlist::Shortlist;
use super::{FlatIndex, SCAN_BLOCK, Scorer, Task};
use crate::codes::{Codes, Meta, SHORT, encode, stride};
use crate::kernel::{CodeKernel, UNIT, max_component, rounding_error, underflow};
use crate::metric::Metric;
use crate::topk::RowId;

/// A query for the first pass over the rows of a part.
///
/// The rough score of a row is the sum of the products of both codes * scale * the row's scale + term; it differs from the
/// score of a scan by at most reach * the row's error + slack.
pub(super) struct Rough<'a> {
    codes: Codes<'a>,
    kernel: CodeKernel,
    /// (S)
    code: Vec<i16>,
    scale: f32,
    term: f32,
    reach: f32,
    slack: f64,
}

impl<'a> Rough<'a> {
    /// A query of D components; `None` if there is no bound on the errors of its scores.
    pub fn new(codes: Codes<'a>, scorer: &Scorer, query: &[f32]) -> Option<Rough<'a>> {
        let max_length = f64::from(codes.max_length?);
        let length = norm(query);
        if codes.metric == Metric::L2 || codes.metric == Metric::Cosine && length < SHORT {
            return None;
        }
        let dim = codes.dim;
        let mut code = vec![0; stride(dim)];
        // Not moved: what is subtracted from rows alone changes a product by q·m.
        let [scale, _, _, error] =
            encode(codes.metric, query, &vec![0.0; dim], max_component(dim), &mut code);
        let factor = if codes.metric == Metric::Cosine { 1.0 / length } else { 1.0 };
        let term: f64 = query.iter().zip(codes.mean).map(|(q, mean)| f64::from(*q) * f64::from(*mean)).sum();
        let rounding = rounding_error(dim, scorer.lanes());
        // A scan's sum is off by its rounding. Under cosine so are the two lengths that it divides by.
        let scan = match codes.metric {
            Metric::Cosine => 3.0 * rounding + 16.0 * UNIT,
            Metric::InnerProduct | Metric::L2 => rounding,
        };
        let (length, error) = (length * factor, f64::from(error));
        // Neither a code's length nor that of what rounding took away exceeds this twice: rounding a component moves it by no
        // more than its own size.
        let moved = max_length + norm(codes.mean);
        let slack = scan * (1.0 + rounding).powi(2) * length * max_length
            + error * 2.0 * moved
            // The lines of `scores`, and the sum of a rough score and an error.
            + 16.0 * UNIT * length * 3.0 * moved
            // Scales and products of tiny vectors, under cosine divided by lengths beyond 2⁻⁶⁰.
            + 2f64.powi(-110)
            + underflow(dim) * if codes.metric == Metric::Cosine { 2f64.powi(120) } else { 1.0 };
        Some(Rough {
            codes,
            kernel: CodeKernel::detect(),
            code,
            scale,
            term: (term * factor) as f32,
            reach: ((length * (1.0 + 1e-6)) as f32).next_up(),
            slack: slack * (1.0 + 1e-6),
        })
    }

    /// The rows of a task that may be among the k best.
    pub fn shortlist(
        &self,
        index: &FlatIndex<'_>,
        scorer: &Scorer,
        query: &[f32],
        k: usize,
        task: &Task<'_, '_>,
    ) -> Shortlist {
        let mut list = Shortlist::new(k);
        let mut block = Block::default();
        let mut limit = list.limit(self.slack, 0.0);
        for (first, rows) in task.panels(SCAN_BLOCK, index.dim) {
            self.compare(first, (rows.len() / index.dim) as u32, &mut block);
            let metas = &self.codes.metas[first as usize..][..block.sums.len()];
            for (chunk, (sums, metas)) in block.sums.chunks(CHUNK).zip(metas.chunks(CHUNK)).enumerate() {
                // Few rows enter. Counting those that might compiles to vector code without a branch for each row.
                let upper = |(sum, meta)| self.score(sum, meta) + self.reach * meta[3];
                let scored = sums.iter().zip(metas);
                if scored.clone().filter(|(sum, meta)| upper((**sum, *meta)) >= limit).count() == 0 {
                    continue;
                }
                for (row, (sum, meta)) in (first + (chunk * CHUNK) as u32..).zip(scored) {
                    if upper((*sum, meta)) < limit
                        || task.part.deleted.is_some_and(|deleted| deleted.contains(row))
                    {
                        continue;
                    }
                    let slack = f64::from(self.reach * meta[3]) * (1.0 + 1e-6) + self.slack;
                    list.push(RowId(task.part.base + row), f64::from(self.score(*sum, meta)), slack);
                    list.tidy(|rows, best| index.collect(scorer, query, rows, best));
                    limit = list.limit(self.slack, 0.0);
                }
            }
        }
        list
    }

    /// The sums of consecutive rows of the part.
    fn compare(&self, first: u32, num_rows: u32, block: &mut Block) {
        // Rows that lie apart take turns, as in `kernel::Kernels::scan`: several streams reach the bandwidth of the memory.
        let per_stream = num_rows / STREAMS;
        block.rows.clear();
        block.rows.extend(
            (0..per_stream)
                .flat_map(|place| (0..STREAMS).map(move |stream| first + stream * per_stream + place)),
        );
        block.rows.extend(first + STREAMS * per_stream..first + num_rows);
        block.taken.resize(num_rows as usize, 0);
        self.kernel.dots(&self.code, self.codes.codes, &block.rows, &mut block.taken);
        block.sums.resize(num_rows as usize, 0);
        for (row, sum) in block.rows.iter().zip(&block.taken) {
            block.sums[(row - first) as usize] = *sum;
        }
    }

    #[inline(always)]
    fn score(&self, sum: i32, meta: &Meta) -> f32 {
        sum as f32 * (self.scale * meta[0]) + self.term
    }
}

/// Rows whose upper bounds are looked at together.
const CHUNK: usize = 16;

/// Rows that are read at the same time.
const STREAMS: u32 = 8;

/// The sums of consecutive rows; its room is used again for each block.
#[derive(Default)]
struct Block {
    /// In the order in which they are compared.
    rows: Vec<u32>,
    /// In that order.
    taken: Vec<i32>,
    /// In the order of the rows.
    sums: Vec<i32>,
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}
