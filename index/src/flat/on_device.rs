//! Many queries at once, whose first pass a GPU does.
//!
//! As `quantized` tells it, codes give a bound on each row's score, and rows whose bound is too low are ruled out:
//!
//! ```text
//! for each chunk of rows:
//!     sums = products of the codes of rows and queries                          the GPU, in integers: any order is exact
//!     promising = rows with score + reach * error >= limit                      the GPU
//!     limit = the k-th best of what scores are at least - slack                 the CPU
//! compare the promising rows, the most promising first                          the CPU, as a scan does
//! ```
//!
//! So the answers are those of [`FlatIndex::search`], bit for bit. A chunk is about as long as all before it together:
//! then about k of its rows reach the limit, and there are few chunks. If far more do, as with equal rows, the CPU
//! compares the whole chunk.

use rayon::prelude::*;
use secateur_gpu::search::{self, Bounds, Promising};

use super::device_codes::{DeviceCodes, Matching, Segment};
use super::quantized::QueryCode;
use super::shortlist::Shortlist;
use super::{FlatIndex, Scorer};
use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::kernel::MAX_QUERIES;
use crate::topk::{Hit, RowId, TopK};
use crate::vectors::check_vectors;

/// The exact index, whose first pass over the rows a GPU does. Hits and scores are those of [`FlatIndex`], sooner where
/// there are many rows and queries.
///
/// ```no_run
/// use secateur_gpu::Gpu;
/// use secateur_index::{Metric, flat::{DeviceCodes, DeviceIndex, FlatIndex}};
///
/// let rows = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let index = FlatIndex::new(Metric::InnerProduct, 2, &rows)?;
/// let codes = DeviceCodes::upload(&index, &Gpu::open(0)?)?;
/// let queries = [1.0, 0.0, 0.0, 1.0];
/// let hits = DeviceIndex::new(index.clone(), &codes)?.search_batch(&queries, 2, None)?;
/// assert_eq!(hits, index.search_batch(&queries, 2)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeviceIndex<'a> {
    flat: FlatIndex<'a>,
    codes: &'a DeviceCodes,
}

/// How much is done at once.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Rows of the first chunk, of which nothing is ruled out yet.
    pub first: usize,
    /// Promising rows of a query and a chunk that the GPU hands over; at least those of the first chunk.
    pub most: usize,
    /// Bytes of the products of a chunk.
    pub product_bytes: usize,
}

impl Sizes {
    fn of(k: usize, num_queries: usize) -> Sizes {
        /// Rows that are handed over for all queries together.
        const MOST: usize = 1 << 20;
        let all = MOST / num_queries.clamp(1, MAX_QUERIES);
        let first = k.saturating_mul(4).clamp(1024, all);
        Sizes { first, most: all.min(1 << 16).max(first), product_bytes: 256 << 20 }
    }
}

/// A query on its way.
struct Asked<'q> {
    vector: &'q [f32],
    scorer: Scorer,
    /// By segment.
    codes: Vec<QueryCode>,
    list: Shortlist,
}

/// A chunk of the rows of a segment.
#[derive(Clone, Copy)]
struct Chunk {
    segment: usize,
    len: usize,
    /// The number of its first row over all segments.
    first: u32,
}

impl<'a> DeviceIndex<'a> {
    /// The index whose codes were uploaded.
    ///
    /// # Errors
    /// [`Error::RowsMismatch`](crate::Error::RowsMismatch) if the codes are of other rows.
    pub fn new(flat: FlatIndex<'a>, codes: &'a DeviceCodes) -> Result<DeviceIndex<'a>> {
        codes.check(&flat)?;
        Ok(DeviceIndex { flat, codes })
    }

    /// The index as the CPU searches it.
    pub fn flat(&self) -> &FlatIndex<'a> {
        &self.flat
    }

    /// The `k` best rows for each of Q queries, (Q, D) row-major, in their order: of all rows, or of those of a set.
    ///
    /// # Errors
    /// As [`FlatIndex::search_batch`], and [`Error::Device`](crate::Error::Device) if the GPU fails.
    pub fn search_batch(&self, queries: &[f32], k: usize, among: Option<&Bitmap>) -> Result<Vec<Vec<Hit>>> {
        let sizes = Sizes::of(k, queries.len() / self.flat.dim);
        self.search_in(queries, k, among, sizes)
    }

    pub(super) fn search_in(
        &self,
        queries: &[f32],
        k: usize,
        among: Option<&Bitmap>,
        sizes: Sizes,
    ) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.flat.dim)?;
        let matching = self.codes.matches(among)?;
        let mut answers = Vec::with_capacity(queries.len() / self.flat.dim);
        for queries in queries.chunks(MAX_QUERIES * self.flat.dim) {
            answers.extend(self.search_some(queries, k, among, &matching, sizes)?);
        }
        Ok(answers)
    }

    fn search_some(
        &self,
        queries: &[f32],
        k: usize,
        among: Option<&Bitmap>,
        matching: &Matching<'_>,
        sizes: Sizes,
    ) -> Result<Vec<Vec<Hit>>> {
        let vectors = || queries.par_chunks_exact(self.flat.dim);
        let mut asked: Vec<Option<Asked<'_>>> = vectors().map(|vector| self.ask(vector, k)).collect();
        let mut bounded: Vec<&mut Asked<'_>> = asked.iter_mut().flatten().collect();
        self.first_pass(&mut bounded, k, matching, sizes)?;
        let answer = |(asked, vector): (Option<Asked<'_>>, &[f32])| match (asked, among) {
            (Some(Asked { scorer, mut list, .. }), _) => {
                list.settle(|rows, best| self.flat.collect(&scorer, vector, rows, best));
                Ok(list.into_sorted())
            }
            (None, Some(among)) => self.flat.search_among(vector, k, among),
            (None, None) => self.flat.search(vector, k),
        };
        asked.into_par_iter().zip(vectors()).map(answer).collect()
    }

    /// A query; `None` if there is no bound on the errors of its scores.
    fn ask<'q>(&self, vector: &'q [f32], k: usize) -> Option<Asked<'q>> {
        let metric = self.flat.metric;
        let scorer = Scorer::new(metric, vector, self.flat.dim);
        let code = |of: &Segment| QueryCode::new(metric, &of.mean, of.max_length, &scorer, vector);
        let codes = self.codes.segments.iter().map(code).collect::<Option<_>>()?;
        Some(Asked { vector, scorer, codes, list: Shortlist::new(k) })
    }

    /// Puts the rows that may be among the k best on the lists of the queries.
    fn first_pass(
        &self,
        asked: &mut [&mut Asked<'_>],
        k: usize,
        matching: &Matching<'_>,
        sizes: Sizes,
    ) -> Result<()> {
        // The code of a query is the same for all segments.
        let codes = asked.iter().filter_map(|asked| asked.codes.first());
        let codes: Vec<i16> = codes.flat_map(|query| &query.code).copied().collect();
        if codes.is_empty() {
            return Ok(());
        }
        let queries = search::Queries::upload(&self.codes.gpu, &codes, codes.len() / asked.len())?;
        let mut longest = sizes.product_bytes / search::bytes_of_row(asked.len());
        let mut seen = 0;
        for (number, segment) in self.codes.segments.iter().enumerate() {
            let mut start = 0;
            while start < segment.rows.len() {
                let len = seen.max(sizes.first).min(longest).next_multiple_of(16);
                let len = len.min(segment.rows.len() - start);
                let chunk = Chunk { segment: number, len, first: segment.base + start as u32 };
                let bounds: Vec<Bounds> = asked.iter().map(|asked| asked.bounds(number)).collect();
                let rows = start..start + len;
                let (queries, there) = ((&queries, &bounds[..]), matching.there());
                match search::promising(&segment.rows, rows, chunk.first, queries, there, sizes.most) {
                    // Another program may have taken the memory meanwhile.
                    Err(error) if error.is_out_of_memory() && len > 16 => longest = len / 2,
                    result => {
                        self.take(asked, chunk, result?, matching.here(), (k, sizes.most));
                        (start, seen) = (start + len, seen + len);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the promising rows of a chunk into account, at most `most` of a query. Of a query with more, all rows that
    /// match are compared here.
    fn take(
        &self,
        asked: &mut [&mut Asked<'_>],
        chunk: Chunk,
        (counts, promising): (Vec<u32>, Vec<Promising>),
        here: &Bitmap,
        (k, most): (usize, usize),
    ) {
        let mut by_query: Vec<Vec<Promising>> = counts.iter().map(|_| Vec::new()).collect();
        promising.into_iter().for_each(|row| by_query[row.query as usize].push(row));
        let flat = &self.flat;
        asked.par_iter_mut().zip(by_query).zip(counts).for_each(|((asked, promising), count)| {
            let Asked { vector, scorer, codes, list } = &mut **asked;
            if count as usize > most {
                let mut best = TopK::new(k);
                let rows = here.iter_within(chunk.first..chunk.first + chunk.len as u32);
                flat.collect_matches(scorer, vector, &flat.segments[chunk.segment], rows, &mut best);
                let empty = Shortlist::new(k);
                *list = std::mem::replace(list, empty).merge(Shortlist::known(best));
                return;
            }
            for Promising { row, score, error, .. } in promising {
                list.push(RowId(row), f64::from(score), codes[chunk.segment].slack_of(error));
                list.tidy(|rows, best| flat.collect(scorer, vector, rows, best));
            }
        });
    }
}

impl Asked<'_> {
    fn bounds(&self, segment: usize) -> Bounds {
        let QueryCode { scale, term, reach, slack, .. } = self.codes[segment];
        Bounds { scale, term, reach, limit: self.list.limit(slack, 0.0) }
    }
}
