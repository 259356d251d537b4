//! Searching rows with what finds candidates among them.

use std::path::Path;

use rayon::prelude::*;

use super::{Matches, SearchOptions, VectorSearch};
use crate::backends::{FaissIndex, HnswRsGraph};
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::flat::{FlatIndex, Scorer};
use crate::hnsw::Graph;
use crate::hnsw::parts::View;
use crate::metric::Metric;
use crate::quantization::int8::Codes;
use crate::rows::Rows;
use crate::topk::{Hit, RowId, TopK};
use crate::vectors::{check_vector, check_vectors};

/// An index over rows that lie in one or several slices (the segments of a database), each with a graph or without
/// one. Slices without a graph are searched exactly.
///
/// Hits are approximate: some of the true ones may be missing. Their scores are those of [`FlatIndex`], bit for bit, and no
/// fewer hits are found than that finds.
#[derive(Clone)]
pub struct ApproximateIndex<'a> {
    /// Over the same rows, for the parts without a graph and for what the walks leave over.
    flat: FlatIndex<'a>,
    parts: Vec<Part<'a>>,
}

#[derive(Clone)]
struct Part<'a> {
    base: u32,
    num_rows: u32,
    deleted: Option<&'a Bitmap>,
    source: Option<Source<'a>>,
}

/// What finds rows of a part that are near a query.
#[derive(Clone)]
pub(crate) enum Source<'a> {
    /// Our own graph, and where it lies, for messages.
    Graph(View<'a>, &'a Path),
    HnswRs(&'a HnswRsGraph),
    Faiss(&'a FaissIndex),
}

impl Source<'_> {
    /// Rows that hold about the k best of those that may be found; `None` if their vectors are to be compared, all of them.
    fn candidates(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>> {
        match self {
            Source::Graph(view, file) => view
                .candidates(query, k, ef_search, matches)
                .map_err(|damage| Error::Corrupt { file: file.to_path_buf(), damage }),
            Source::HnswRs(graph) => graph.candidates(query, k, ef_search, matches),
            Source::Faiss(index) => index.candidates(query, k, ef_search, matches),
        }
    }
}

impl<'a> ApproximateIndex<'a> {
    /// An index over the rows that `graph` was built from.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`]; [`Error::RowsMismatch`] if the graph is
    /// of another number of rows.
    pub fn new(rows: &'a [f32], graph: &'a Graph) -> Result<ApproximateIndex<'a>> {
        let view = graph.view();
        let (metric, dim) = view.copies.space();
        let mut index = ApproximateIndex::checked(metric, dim, rows, graph.num_rows())?;
        index.push_part(
            rows,
            None,
            view.copies.int8(),
            Some(Source::Graph(view, Path::new("a graph in memory"))),
        );
        Ok(index)
    }

    /// [`ApproximateIndex::new`] with a graph of hnsw_rs.
    ///
    /// # Errors
    /// As [`ApproximateIndex::new`].
    pub fn with_hnsw_rs(rows: &'a [f32], graph: &'a HnswRsGraph) -> Result<ApproximateIndex<'a>> {
        let mut index = ApproximateIndex::checked(graph.metric(), graph.dim(), rows, graph.num_rows())?;
        index.push_part(rows, None, None, Some(Source::HnswRs(graph)));
        Ok(index)
    }

    /// [`ApproximateIndex::new`] with an index of faiss.
    ///
    /// # Errors
    /// As [`ApproximateIndex::new`].
    pub fn with_faiss(rows: &'a [f32], index: &'a FaissIndex) -> Result<ApproximateIndex<'a>> {
        let mut approximate = ApproximateIndex::checked(index.metric(), index.dim(), rows, index.num_rows())?;
        approximate.push_part(rows, None, None, Some(Source::Faiss(index)));
        Ok(approximate)
    }

    fn checked(metric: Metric, dim: usize, rows: &[f32], expected: usize) -> Result<ApproximateIndex<'a>> {
        check_vectors(rows, dim)?;
        let got = rows.len() / dim;
        if got != expected {
            return Err(Error::RowsMismatch { what: "a graph", expected, got });
        }
        Ok(ApproximateIndex::empty(metric, dim))
    }

    pub(crate) fn empty(metric: Metric, dim: usize) -> ApproximateIndex<'a> {
        ApproximateIndex { flat: FlatIndex::empty(metric, dim), parts: Vec::new() }
    }

    /// Adds rows; codes and what finds candidates must be of as many.
    pub(crate) fn push_part(
        &mut self,
        rows: impl Into<Rows<'a>>,
        deleted: Option<&'a Bitmap>,
        codes: Option<Int8Codes<'a>>,
        source: Option<Source<'a>>,
    ) {
        let (rows, deleted) = (rows.into(), deleted.filter(|set| !set.is_empty()));
        let (base, num_rows) = (self.flat.num_rows() as u32, (rows.len() / self.flat.dim()) as u32);
        self.flat.push_part(rows, deleted, codes);
        self.parts.push(Part { base, num_rows, deleted, source });
    }

    fn search_checked(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        let scorer = Scorer::new(self.flat.metric(), query, self.flat.dim());
        let mut best = TopK::new(k);
        for (number, part) in self.parts.iter().enumerate() {
            let Part { base, num_rows, deleted, ref source } = *part;
            let matches = Matches { base, num_rows, deleted, filter: options.filter };
            let found = match source {
                Some(source) => source.candidates(query, k, options.ef_search, &matches)?,
                None => None,
            };
            match found {
                Some(rows) => self.flat.collect(&scorer, query, &rows, &mut best),
                None => self.flat.collect_part(&scorer, query, number, options.filter, &mut best),
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
