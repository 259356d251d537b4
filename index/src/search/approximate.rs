//! Searching the rows of segments with what finds candidates among them.

use rayon::prelude::*;

use super::options::SearchOptions;
use super::vector_search::VectorSearch;
use crate::bitmap::Bitmap;
use crate::candidates::{Candidates, Matches};
use crate::error::{Error, Result};
use crate::flat::{FlatIndex, Scorer};
use crate::metric::Metric;
use crate::quantization::Int8Codes;
use crate::rows::Rows;
use crate::topk::{Hit, TopK};
use crate::vectors::{check_vector, check_vectors};

/// An index over rows that lie in one or several slices (the segments of a database). A slice has an index that finds
/// candidates, or none. Slices without one are searched exactly.
///
/// Hits are approximate: some of the true ones may be missing. Scores equal those of [`FlatIndex`] bit for bit, and
/// there are as many hits as [`FlatIndex`] finds.
#[derive(Clone)]
pub struct ApproximateIndex<'a> {
    /// Over the same rows: for the segments without candidates, and where all vectors are compared.
    flat: FlatIndex<'a>,
    segments: Vec<SegmentView<'a>>,
}

#[derive(Clone)]
struct SegmentView<'a> {
    base: u32,
    num_rows: u32,
    deleted: Option<&'a Bitmap>,
    candidates: Option<&'a dyn Candidates>,
}

impl<'a> ApproximateIndex<'a> {
    /// An index over the rows, (N, D) row-major, that `candidates` was built from: a [`Graph`](crate::hnsw::Graph),
    /// an index of another library, or one of your own.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`]; [`Error::RowsMismatch`] if
    /// `candidates` is of another number of rows.
    pub fn new(rows: &'a [f32], candidates: &'a dyn Candidates) -> Result<ApproximateIndex<'a>> {
        let (dim, expected) = (candidates.dim(), candidates.num_rows());
        check_vectors(rows, dim)?;
        let got = rows.len() / dim;
        if got != expected {
            return Err(Error::RowsMismatch { what: "an index", expected, got });
        }
        let mut index = ApproximateIndex::empty(candidates.metric(), dim);
        index.push(rows, None, candidates.int8_codes(), Some(candidates));
        Ok(index)
    }

    pub(crate) fn empty(metric: Metric, dim: usize) -> ApproximateIndex<'a> {
        ApproximateIndex { flat: FlatIndex::empty(metric, dim), segments: Vec::new() }
    }

    /// Adds the rows of a segment; codes and candidates must be of as many.
    pub(crate) fn push(
        &mut self,
        rows: impl Into<Rows<'a>>,
        deleted: Option<&'a Bitmap>,
        codes: Option<Int8Codes<'a>>,
        candidates: Option<&'a dyn Candidates>,
    ) {
        let (rows, deleted) = (rows.into(), deleted.filter(|set| !set.is_empty()));
        let (base, num_rows) = (self.flat.num_rows() as u32, (rows.len() / self.flat.dim()) as u32);
        self.flat.push(rows, deleted, codes);
        self.segments.push(SegmentView { base, num_rows, deleted, candidates });
    }

    fn search_checked(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        let scorer = Scorer::new(self.flat.metric(), query, self.flat.dim());
        let mut best = TopK::new(k);
        for (index, segment) in self.segments.iter().enumerate() {
            let SegmentView { base, num_rows, deleted, candidates } = *segment;
            let matches = Matches { base, num_rows, deleted, filter: options.filter };
            let found = match candidates {
                Some(candidates) => candidates.find(query, k, options.ef_search, &matches)?,
                None => None,
            };
            match found {
                Some(rows) => self.flat.collect(&scorer, query, &rows, &mut best),
                None => self.flat.collect_segment(&scorer, query, index, options.filter, &mut best),
            }
        }
        Ok(best.into_sorted())
    }
}

impl VectorSearch for ApproximateIndex<'_> {
    fn flat(&self) -> &FlatIndex<'_> {
        &self.flat
    }

    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        check_vector(query, self.flat.dim())?;
        options.check()?;
        self.search_checked(query, k, options)
    }

    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.flat.dim())?;
        options.check()?;
        queries
            .par_chunks_exact(self.flat.dim())
            .map(|query| self.search_checked(query, k, options))
            .collect()
    }
}
