//! Exact search: every row is compared with the query.
//!
//! If the rows have 8-bit codes, a single query reads these first. Each gives a bound on its row's score, and rows
//! whose bound is too low are skipped (`quantized`). Batches have a first pass of their own (`batch`). Both give what
//! a scan of the vectors gives. On a GPU so does the first pass of [`DeviceIndex`].
//!
//! Rows are divided into tasks for the threads of the current rayon pool. Each task keeps its k best hits. Rankings
//! are total orders, so merging the hits gives the same answer however the rows were divided. One query and batches
//! get bit-identical scores, because the kernels fix the order of summation (see `kernel`).

mod batch;
mod device_codes;
mod kth_best;
mod on_device;
mod quantized;
mod shortlist;

use rayon::prelude::*;

use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::kernel::{Kernels, MAX_DIM, MAX_QUERIES, Operation, with_kernel};
use crate::metric::Metric;
use crate::quantization::{Int8Codes, Int8CodesBuf};
use crate::rows::Rows;
use crate::topk::{Hit, RowId, TopK};
use crate::vectors::{check_vector, check_vectors};
use quantized::QuantizedQuery;
use shortlist::Shortlist;

pub use device_codes::DeviceCodes;
pub use on_device::DeviceIndex;

/// The exact index over rows that lie in one or several slices (the segments of a database).
///
/// ```
/// use secateur_index::{Metric, flat::FlatIndex};
///
/// let rows = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
/// let index = FlatIndex::new(Metric::InnerProduct, 2, &rows)?;
/// let hits = index.search(&[1.0, 0.0], 2)?;
/// assert_eq!(hits.iter().map(|hit| (hit.row.0, hit.score)).collect::<Vec<_>>(), [(0, 1.0), (2, 0.6)]);
/// assert_eq!(index.search_batch(&[1.0, 0.0, 0.0, 1.0], 1)?.len(), 2);
/// # Ok::<(), secateur_index::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FlatIndex<'a> {
    metric: Metric,
    dim: usize,
    segments: Vec<SegmentView<'a>>,
    num_rows: u32,
}

#[derive(Debug, Clone)]
struct SegmentView<'a> {
    base: u32,
    rows: Rows<'a>,
    deleted: Option<&'a Bitmap>,
    codes: Option<Int8Codes<'a>>,
}

impl<'a> FlatIndex<'a> {
    /// An index over `rows`, (N, D) row-major.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::TooManyRows`].
    pub fn new(metric: Metric, dim: usize, rows: &'a [f32]) -> Result<FlatIndex<'a>> {
        check_vectors(rows, dim)?;
        if u32::try_from(rows.len() / dim).is_err() {
            return Err(Error::TooManyRows);
        }
        let mut index = FlatIndex::empty(metric, dim);
        index.push(rows, None, None);
        Ok(index)
    }

    /// An index over `rows` that reads their 8-bit codes first: a single query then takes about a quarter of the
    /// time. (Under [`Metric::L2`] codes make no difference.)
    ///
    /// ```
    /// use secateur_index::{Metric, flat::FlatIndex, quantization::Int8CodesBuf};
    ///
    /// let rows = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
    /// let codes = Int8CodesBuf::new(Metric::Cosine, 2, &rows)?;
    /// let index = FlatIndex::with_codes(&rows, &codes)?;
    /// assert_eq!(index.search(&[2.0, 1.0], 2)?, FlatIndex::new(Metric::Cosine, 2, &rows)?.search(&[2.0, 1.0], 2)?);
    /// # Ok::<(), secateur_index::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`FlatIndex::new`], and [`Error::RowsMismatch`] if the codes are of another number of rows.
    pub fn with_codes(rows: &'a [f32], codes: &'a Int8CodesBuf) -> Result<FlatIndex<'a>> {
        let codes = codes.borrow();
        let mut index = FlatIndex::new(codes.metric, codes.dim, rows)?;
        if codes.metas.len() != index.num_rows() {
            let (expected, got) = (codes.metas.len(), index.num_rows());
            return Err(Error::RowsMismatch { what: "8-bit codes", expected, got });
        }
        index.segments[0].codes = Some(codes);
        Ok(index)
    }

    pub(crate) fn empty(metric: Metric, dim: usize) -> FlatIndex<'a> {
        FlatIndex { metric, dim, segments: Vec::new(), num_rows: 0 }
    }

    /// Adds rows; codes must be of as many.
    pub(crate) fn push(
        &mut self,
        rows: impl Into<Rows<'a>>,
        deleted: Option<&'a Bitmap>,
        codes: Option<Int8Codes<'a>>,
    ) {
        let rows = rows.into();
        let deleted = deleted.filter(|set| !set.is_empty());
        self.segments.push(SegmentView { base: self.num_rows, rows, deleted, codes });
        self.num_rows += (rows.len() / self.dim) as u32;
    }

    /// D of the rows.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How rows are compared with a query.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.num_rows as usize
    }

    /// Compares some rows and adds their scores to the selection. Deleted rows must not be among them.
    pub(crate) fn collect(&self, scorer: &Scorer, query: &[f32], rows: &[RowId], best: &mut TopK) {
        self.collect_for(scorer, 0, query, rows, best);
    }

    /// [`FlatIndex::collect`] for one of the queries that a scorer was made for.
    fn collect_for(&self, scorer: &Scorer, number: usize, query: &[f32], rows: &[RowId], best: &mut TopK) {
        let vectors: Vec<Rows<'_>> = rows.iter().map(|row| self.row(*row)).collect();
        let mut values = vec![0.0; rows.len()];
        scorer.kernels.compare(query, &vectors, &mut values);
        for ((row, vector), value) in rows.iter().zip(vectors).zip(values) {
            let score = scorer.score(number, value, vector);
            best.push(Hit { row: *row, score });
        }
    }

    /// Compares the rows of a segment, all or those of a set, and takes their scores into account.
    pub(crate) fn collect_segment(
        &self,
        scorer: &Scorer,
        query: &[f32],
        segment: usize,
        among: Option<&Bitmap>,
        best: &mut TopK,
    ) {
        let segment = &self.segments[segment];
        let Some(among) = among else {
            let task = Task { segment, first: 0, rows: segment.rows };
            let k = best.k();
            let found = self.scan(scorer, query, k, &task);
            *best = std::mem::replace(best, TopK::new(k)).merge(found);
            return;
        };
        let range = segment.base..segment.base + (segment.rows.len() / self.dim) as u32;
        self.collect_matches(scorer, query, segment, among.iter_within(range), best);
    }

    /// The `k` best rows for a query of D components, best first; all of them if there are fewer.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`].
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        check_vector(query, self.dim)?;
        let scorer = Scorer::new(self.metric, query, self.dim);
        let shortlist = |task: Task<'_, 'a>| {
            let quantized = task.segment.codes.and_then(|codes| QuantizedQuery::new(codes, &scorer, query));
            match quantized {
                Some(quantized) => quantized.shortlist(self, &scorer, query, k, &task),
                None => Shortlist::known(self.scan(&scorer, query, k, &task)),
            }
        };
        let tasks = self.tasks(SCAN_BLOCK, 1).into_par_iter();
        let mut list = tasks.map(shortlist).reduce(|| Shortlist::new(k), Shortlist::merge);
        list.settle(|rows, best| self.collect(&scorer, query, rows, best));
        Ok(list.into_sorted())
    }

    /// [`FlatIndex::search`] among the rows of a set only.
    ///
    /// # Errors
    /// As [`FlatIndex::search`].
    pub fn search_among(&self, query: &[f32], k: usize, rows: &Bitmap) -> Result<Vec<Hit>> {
        check_vector(query, self.dim)?;
        let scorer = Scorer::new(self.metric, query, self.dim);
        let best = self
            .tasks(SCAN_BLOCK, 1)
            .into_par_iter()
            .map(|task| {
                let mut best = TopK::new(k);
                let first = task.segment.base + task.first;
                let range = first..first + (task.rows.len() / self.dim) as u32;
                self.collect_matches(&scorer, query, task.segment, rows.iter_within(range), &mut best);
                best
            })
            .reduce(|| TopK::new(k), TopK::merge);
        Ok(best.into_sorted())
    }

    /// The scores of some rows for a query of D components, best first: those of [`FlatIndex::search`]. No deleted row
    /// may be among them.
    ///
    /// # Errors
    /// As [`FlatIndex::search`].
    pub(crate) fn score(&self, query: &[f32], rows: &[RowId]) -> Result<Vec<Hit>> {
        check_vector(query, self.dim)?;
        let mut best = TopK::new(rows.len());
        self.collect(&Scorer::new(self.metric, query, self.dim), query, rows, &mut best);
        Ok(best.into_sorted())
    }

    /// [`FlatIndex::search_among`] for Q queries at once, (Q, D) row-major, in parallel: the same answers, in the
    /// order of the queries.
    ///
    /// # Errors
    /// As [`FlatIndex::search_batch`].
    pub fn search_batch_among(&self, queries: &[f32], k: usize, rows: &Bitmap) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.dim)?;
        queries.par_chunks_exact(self.dim).map(|query| self.search_among(query, k, rows)).collect()
    }

    /// Compares rows of a segment, given by their ids, except deleted ones.
    fn collect_matches(
        &self,
        scorer: &Scorer,
        query: &[f32],
        segment: &SegmentView<'_>,
        rows: impl Iterator<Item = u32>,
        best: &mut TopK,
    ) {
        let is_alive =
            |row: &u32| !segment.deleted.is_some_and(|deleted| deleted.contains(row - segment.base));
        let mut rows = rows.filter(is_alive).map(RowId);
        loop {
            let block: Vec<RowId> = rows.by_ref().take(SCAN_BLOCK).collect();
            if block.is_empty() {
                return;
            }
            self.collect(scorer, query, &block, best);
        }
    }

    /// [`FlatIndex::search`] for Q queries at once, (Q, D) row-major. The answers are in the order of the queries and
    /// equal those of single searches, scores included.
    ///
    /// # Errors
    /// As [`FlatIndex::search`], and [`Error::RaggedVectors`].
    pub fn search_batch(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.dim)?;
        if queries.len() / self.dim < self.min_batch() || self.dim > MAX_DIM {
            return queries.chunks_exact(self.dim).map(|query| self.search(query, k)).collect();
        }
        Ok(queries
            .chunks(MAX_QUERIES * self.dim)
            .flat_map(|queries| batch::search(self, queries, k))
            .collect())
    }

    fn scan(&self, scorer: &Scorer, query: &[f32], k: usize, task: &Task<'_, 'a>) -> TopK {
        let mut best = TopK::new(k);
        let mut block = Block::new(SCAN_BLOCK);
        let mut values = vec![0.0; SCAN_BLOCK];
        for (first, rows) in task.panels(SCAN_BLOCK, self.dim) {
            let values = &mut values[..rows.len() / self.dim];
            scorer.kernels.scan(query, rows, values);
            scorer.prepare(rows, &mut block);
            task.collect(first, block.scores(scorer, 0, values), &mut best);
        }
        best
    }

    /// Fewer queries are faster one by one: a batch computes products of 8 or more queries at a time, of vectors and
    /// not of codes. Measured on 3,633 x 4,096 and 100,000 x 384.
    fn min_batch(&self) -> usize {
        let has_codes =
            self.metric != Metric::L2 && self.segments.iter().all(|segment| segment.codes.is_some());
        if has_codes { 10 } else { 4 }
    }

    fn row(&self, row: RowId) -> Rows<'a> {
        let segment = &self.segments[self.segments.partition_point(|segment| segment.base <= row.0) - 1];
        segment.rows.row((row.0 - segment.base) as usize, self.dim)
    }

    /// Divides the rows, which are compared with this many queries, into contiguous pieces of whole blocks of `block`
    /// rows. There are a few for each thread, so that threads that finish early find more to do.
    fn tasks(&self, block: usize, num_queries: usize) -> Vec<Task<'_, 'a>> {
        let threads = rayon::current_num_threads();
        let most = if threads == 1 { 1 } else { 4 * threads };
        let worth = self.num_rows as usize * self.dim * num_queries / TASK_COMPONENTS;
        let rows_per_task = (self.num_rows as usize).div_ceil(worth.clamp(1, most)).next_multiple_of(block);
        let task = |segment, number, rows| Task { segment, first: (number * rows_per_task) as u32, rows };
        self.segments
            .iter()
            .flat_map(|segment| {
                let pieces = segment.rows.chunks((rows_per_task * self.dim).max(1)).enumerate();
                pieces.map(move |(number, rows)| task(segment, number, rows))
            })
            .collect()
    }
}

/// The fewest components that a task multiplies, if there are as many. Waking a thread takes as long as reading a
/// few MiB of codes. Two threads find the 10 best of 5,183 x 384 in twice the time of one.
const TASK_COMPONENTS: usize = 2 << 20;

/// How many rows are compared with one query before the k best are updated: 8 streams of 32 rows.
const SCAN_BLOCK: usize = 256;

/// A contiguous piece of a segment.
struct Task<'t, 'a> {
    segment: &'t SegmentView<'a>,
    /// The position of its first row in the segment.
    first: u32,
    rows: Rows<'a>,
}

impl<'a> Task<'_, 'a> {
    /// Blocks of up to `len` rows, each with the position of its first row in the segment.
    fn panels(&self, len: usize, dim: usize) -> impl Iterator<Item = (u32, Rows<'a>)> {
        let first = self.first;
        self.rows
            .chunks(len * dim)
            .enumerate()
            .map(move |(number, rows)| (first + (number * len) as u32, rows))
    }

    /// Takes the scores of consecutive rows of the segment into account.
    fn collect(&self, first: u32, scores: &[f32], best: &mut TopK) {
        // Few rows enter the selection. Counting the rows that might enter compiles to vector code without a branch
        // for each row.
        const LEN: usize = 16;
        for (chunk, scores) in scores.chunks(LEN).enumerate() {
            let threshold = best.threshold();
            if scores.iter().filter(|score| **score >= threshold).count() == 0 {
                continue;
            }
            for (row, &score) in (first + (chunk * LEN) as u32..).zip(scores) {
                if score >= best.threshold()
                    && !self.segment.deleted.is_some_and(|deleted| deleted.contains(row))
                {
                    best.push(Hit { row: RowId(self.segment.base + row), score });
                }
            }
        }
    }
}

/// Turns what the kernels compute into scores.
pub(crate) struct Scorer {
    metric: Metric,
    dim: usize,
    kernels: Kernels,
    /// Under cosine the length of each query.
    query_lengths: Vec<f32>,
}

impl Scorer {
    pub(crate) fn new(metric: Metric, queries: &[f32], dim: usize) -> Scorer {
        let operation = match metric {
            Metric::InnerProduct | Metric::Cosine => Operation::Dot,
            Metric::L2 => Operation::SquaredDistance,
        };
        let mut scorer =
            Scorer { metric, dim, kernels: Kernels::detect(operation), query_lengths: Vec::new() };
        if metric == Metric::Cosine {
            scorer.query_lengths = scorer.lengths(Rows::F32(queries));
        }
        scorer
    }

    /// L of the kernels.
    fn lanes(&self) -> usize {
        with_kernel!(self.kernels, |kernel| kernel.lanes())
    }

    fn lengths(&self, vectors: Rows<'_>) -> Vec<f32> {
        let mut lengths = vec![0.0; vectors.len() / self.dim];
        self.kernels.lengths(vectors, self.dim, &mut lengths);
        lengths
    }

    /// Turns the value of a query and a row into a score.
    fn score(&self, query: usize, value: f32, row: Rows<'_>) -> f32 {
        match self.metric {
            Metric::InnerProduct => value,
            Metric::L2 => -value,
            Metric::Cosine => cosine(value, self.query_lengths[query], self.lengths(row)[0]),
        }
    }

    /// Computes what is needed of the rows alone.
    fn prepare(&self, rows: Rows<'_>, block: &mut Block) {
        if self.metric == Metric::Cosine {
            block.row_lengths.resize(rows.len() / self.dim, 0.0);
            self.kernels.lengths(rows, self.dim, &mut block.row_lengths);
        }
    }
}

/// A block of rows: their lengths under cosine, and the scores of one query.
struct Block {
    row_lengths: Vec<f32>,
    scores: Vec<f32>,
}

impl Block {
    fn new(len: usize) -> Block {
        Block { row_lengths: Vec::with_capacity(len), scores: Vec::with_capacity(len) }
    }

    /// Turns the values of a query into scores.
    fn scores<'s>(&'s mut self, scorer: &Scorer, query: usize, values: &'s [f32]) -> &'s [f32] {
        self.scores.clear();
        match scorer.metric {
            Metric::InnerProduct => return values,
            Metric::L2 => self.scores.extend(values.iter().map(|value| -value)),
            Metric::Cosine => {
                let query_length = scorer.query_lengths[query];
                self.scores.extend(
                    values
                        .iter()
                        .zip(&self.row_lengths)
                        .map(|(value, row_length)| cosine(*value, query_length, *row_length)),
                );
            }
        }
        &self.scores
    }
}

/// A vector of length 0 is like nothing.
fn cosine(value: f32, query_length: f32, row_length: f32) -> f32 {
    let product = query_length * row_length;
    if product > 0.0 { value / product } else { 0.0 }
}

#[cfg(test)]
mod tests;
