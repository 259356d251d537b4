//! One query, in two passes: 8-bit codes first, then the vectors of the rows that the codes cannot rule out.
//!
//! The plain algorithm, for the k best of N rows:
//!
//! ```text
//! for each row v:
//!     score = q·v
//!     if score > worst of best: best.push(v, score)
//! ```
//!
//! A scan waits for memory, and a code has a quarter of the bytes of a vector. So:
//!
//! ```text
//! for each row v, with its code c:
//!     score = approximately q·v, from c
//!     slack = how far that may be off
//!     if score + slack < the k-th best of (score - slack): continue        the row is not among the best
//!     candidates.push(v)
//! for each candidate, the most promising first: the plain algorithm
//! ```
//!
//! The result is exact, bit for bit: a row that is ruled out is proven not to be among the k best. The deviations:
//!
//! - The slack is derived. A row v is s c + m + e: its code c with the scale s, the mean m of the rows, the rounding
//!   error e. Under cosine v / ‖v‖ and q / ‖q‖ take the places of v and of the query q. So q·v = s q·c + q·m + q·e, and
//!   |q·e| <= ‖q‖ ‖e‖ (Cauchy & Schwarz). An upper bound of ‖e‖ is stored with each code.
//! - The roundings of f32 add to the slack: those of the scan whose scores are predicted, and those of these lines.
//! - Several streams of rows are read at once, which reaches the bandwidth of the memory ([`STREAMS`]).
//! - A chunk of rows is first tested as a whole, without branches; few chunks have a row that passes.

use super::shortlist::Shortlist;
use super::{FlatIndex, Scorer, Task};
use crate::kernel::{UNIT, rounding_error, underflow};
use crate::metric::Metric;
use crate::quantization::int8::{Int8Codes, Meta, SHORT, encode, stride};
use crate::quantization::kernel::int8::{Int8Kernel, STREAMS, max_component};
use crate::topk::RowId;

/// The most that 256 times a signed byte and another one make: a GPU multiplies the two apart.
const TWO_BYTES: f32 = 32_639.0;

/// A query's code, and what its products with the codes of a segment say of scores.
///
/// The approximate score of a row is the product of the 8-bit codes * scale * the row's scale + term. It differs from
/// the score of a scan by at most reach * the row's error + slack.
pub(super) struct QueryCode {
    /// (S)
    pub code: Vec<i16>,
    pub scale: f32,
    pub term: f32,
    pub reach: f32,
    pub slack: f64,
}

impl QueryCode {
    /// The code of a query for rows of this mean, (D), none longer than `max_length`. `None` if there is no bound on
    /// the errors of its scores.
    pub fn new(
        metric: Metric,
        mean: &[f32],
        max_length: f32,
        scorer: &Scorer,
        query: &[f32],
    ) -> Option<QueryCode> {
        let max_length = f64::from(max_length);
        let length = norm(query);
        if metric == Metric::L2 || metric == Metric::Cosine && length < SHORT {
            return None;
        }
        let dim = mean.len();
        let mut code = vec![0; stride(dim)];
        // Not moved: what is subtracted from rows alone changes a product by q·m.
        let (most, unmoved) = (max_component(dim).min(TWO_BYTES), vec![0.0; dim]);
        let [scale, _, _, error] = encode(metric, query, &unmoved, most, &mut code);
        let factor = if metric == Metric::Cosine { 1.0 / length } else { 1.0 };
        let term: f64 = query.iter().zip(mean).map(|(q, mean)| f64::from(*q) * f64::from(*mean)).sum();
        let rounding = rounding_error(dim, scorer.lanes());
        // A scan's sum is off by its rounding. Under cosine so are the two lengths that it divides by.
        let scan = match metric {
            Metric::Cosine => 3.0 * rounding + 16.0 * UNIT,
            Metric::InnerProduct | Metric::L2 => rounding,
        };
        let (length, error) = (length * factor, f64::from(error));
        // Neither the length of a code nor that of a rounding error exceeds twice this. Rounding a component moves it
        // by no more than its own size.
        let moved = max_length + norm(mean);
        let slack = scan * (1.0 + rounding).powi(2) * length * max_length
            + error * 2.0 * moved
            // The lines of `scores`, fused or not, and the sum of an approximate score and an error.
            + 16.0 * UNIT * length * 3.0 * moved
            // Scales and products of tiny vectors, under cosine divided by lengths beyond 2⁻⁶⁰.
            + 2f64.powi(-110)
            + underflow(dim) * if metric == Metric::Cosine { 2f64.powi(120) } else { 1.0 };
        Some(QueryCode {
            code,
            scale,
            term: (term * factor) as f32,
            reach: ((length * (1.0 + 1e-6)) as f32).next_up(),
            slack: slack * (1.0 + 1e-6),
        })
    }

    /// By how much the approximate score of a row with this error may be off.
    pub fn slack_of(&self, error: f32) -> f64 {
        f64::from(self.reach * error) * (1.0 + 1e-6) + self.slack
    }

    #[inline(always)]
    fn score(&self, sum: i32, meta: &Meta) -> f32 {
        sum as f32 * (self.scale * meta[0]) + self.term
    }
}

/// A query for the first pass over the rows of a segment.
pub(super) struct QuantizedQuery<'a> {
    codes: Int8Codes<'a>,
    kernel: Int8Kernel,
    query: QueryCode,
}

impl<'a> QuantizedQuery<'a> {
    /// A query of D components; `None` if there is no bound on the errors of its scores.
    pub fn new(codes: Int8Codes<'a>, scorer: &Scorer, query: &[f32]) -> Option<QuantizedQuery<'a>> {
        let query = QueryCode::new(codes.metric, codes.mean, codes.max_length?, scorer, query)?;
        Some(QuantizedQuery { codes, kernel: Int8Kernel::detect(), query })
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
        let mut limit = list.limit(self.query.slack, 0.0);
        let mut look = |first: u32, sums: &[i32]| {
            let metas = &self.codes.metas[first as usize..][..sums.len()];
            for (chunk, (sums, metas)) in sums.chunks(CHUNK).zip(metas.chunks(CHUNK)).enumerate() {
                // Few rows enter the selection. Counting the rows that might enter compiles to vector code without a
                // branch for each row.
                let upper = |(sum, meta)| self.query.score(sum, meta) + self.query.reach * meta[3];
                let scored = sums.iter().zip(metas);
                if scored.clone().filter(|(sum, meta)| upper((**sum, *meta)) >= limit).count() == 0 {
                    continue;
                }
                for (row, (sum, meta)) in (first + (chunk * CHUNK) as u32..).zip(scored) {
                    if upper((*sum, meta)) < limit
                        || task.segment.deleted.is_some_and(|deleted| deleted.contains(row))
                    {
                        continue;
                    }
                    let score = f64::from(self.query.score(*sum, meta));
                    list.push(RowId(task.segment.base + row), score, self.query.slack_of(meta[3]));
                    list.tidy(|rows, best| index.collect(scorer, query, rows, best));
                    limit = list.limit(self.query.slack, 0.0);
                }
            }
        };
        // Long streams, each of consecutive rows: together they reach the bandwidth of the memory.
        let num_rows = (task.rows.len() / index.dim) as u32;
        let per_stream = num_rows / STREAMS as u32;
        let mut sums = [[0; PLACES]; STREAMS];
        for place in (0..per_stream).step_by(PLACES) {
            let len = PLACES.min((per_stream - place) as usize);
            let first = |stream: usize| task.first + stream as u32 * per_stream + place;
            let codes = std::array::from_fn(|stream| self.codes_of(first(stream), len));
            self.kernel.scan(&self.query.code, codes, sums.each_mut().map(|sums| &mut sums[..len]));
            sums.iter().enumerate().for_each(|(stream, sums)| look(first(stream), &sums[..len]));
        }
        let rest: Vec<u32> = (task.first + per_stream * STREAMS as u32..task.first + num_rows).collect();
        if let Some(first) = rest.first() {
            let sums = &mut sums[0][..rest.len()];
            self.kernel.dots(&self.query.code, self.codes.codes, &rest, sums);
            look(*first, sums);
        }
        list
    }

    /// The codes of consecutive rows of the segment, (`len`, S).
    fn codes_of(&self, first: u32, len: usize) -> &'a [i8] {
        let stride = self.query.code.len();
        &self.codes.codes[first as usize * stride..][..len * stride]
    }
}

/// Rows whose upper bounds are looked at together.
const CHUNK: usize = 16;

/// Rows of a stream that are compared before they are looked at.
const PLACES: usize = 64;

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}
