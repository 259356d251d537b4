//! Searching rows of f32 with their graph.

use std::path::Path;

use rayon::prelude::*;

use super::Graph;
use super::part::Part;
use super::walk::View;
use crate::bitmap::Bitmap;
use crate::codes::Codes;
use crate::error::{Error, Result};
use crate::flat::{FlatIndex, Scorer};
use crate::metric::Metric;
use crate::topk::{Hit, TopK};
use crate::vectors::{check_vector, check_vectors};

/// How to search a graph.
///
/// ```
/// use secateur_index::hnsw::SearchOptions;
/// assert_eq!(SearchOptions::default(), SearchOptions::new(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchOptions<'f> {
    /// ef of the paper: rows that the walk keeps. More find more of the true hits and take longer. At least 1; below the
    /// number of hits asked for it is taken for that.
    pub ef_search: usize,
    /// The rows that may be found, over all parts; `None` for all.
    pub filter: Option<&'f Bitmap>,
}

impl SearchOptions<'_> {
    /// The ef where none is named: 100.
    pub const DEFAULT_EF: usize = 100;

    /// Options with this ef and without a filter.
    pub fn new(ef_search: usize) -> Self {
        SearchOptions { ef_search, filter: None }
    }
}

impl Default for SearchOptions<'_> {
    /// ef 100.
    fn default() -> Self {
        SearchOptions::new(Self::DEFAULT_EF)
    }
}

/// An index over rows of f32 that lie in one or several slices (the segments of a database), each with a graph or without
/// one. Slices without a graph are searched exactly.
///
/// Hits are approximate: some of the true ones may be missing. Their scores are those of [`FlatIndex`], bit for bit, and no
/// fewer hits are found than that finds.
#[derive(Clone)]
pub struct HnswIndex<'a> {
    /// Over the same rows, for the parts without a graph and for what the walks leave over.
    flat: FlatIndex<'a>,
    parts: Vec<Part<'a>>,
}

impl<'a> HnswIndex<'a> {
    /// An index over the rows that `graph` was built from.
    ///
    /// # Errors
    /// [`Error::RaggedVectors`], [`Error::NotFinite`], [`Error::VectorTooLong`]; [`Error::RowsMismatch`] if the graph is
    /// of another number of rows.
    pub fn new(rows: &'a [f32], graph: &'a Graph) -> Result<HnswIndex<'a>> {
        let view = graph.view();
        check_vectors(rows, view.codes.dim)?;
        let got = rows.len() / view.codes.dim;
        if got != graph.num_rows() {
            return Err(Error::RowsMismatch { what: "a graph", expected: graph.num_rows(), got });
        }
        let mut index = HnswIndex::empty(view.codes.metric, view.codes.dim);
        index.push_part(rows, None, Some(view.codes), Some(view), Path::new("a graph in memory"));
        Ok(index)
    }

    pub(crate) fn empty(metric: Metric, dim: usize) -> HnswIndex<'a> {
        HnswIndex { flat: FlatIndex::empty(metric, dim), parts: Vec::new() }
    }

    /// Adds rows; codes and a graph must be of as many.
    pub(crate) fn push_part(
        &mut self,
        rows: &'a [f32],
        deleted: Option<&'a Bitmap>,
        codes: Option<Codes<'a>>,
        graph: Option<View<'a>>,
        file: &'a Path,
    ) {
        let deleted = deleted.filter(|set| !set.is_empty());
        let (base, num_rows) = (self.flat.num_rows() as u32, (rows.len() / self.flat.dim()) as u32);
        self.flat.push_part(rows, deleted, codes);
        self.parts.push(Part { base, num_rows, deleted, graph, file });
    }

    /// The exact index over the same rows.
    pub fn flat(&self) -> &FlatIndex<'a> {
        &self.flat
    }

    /// About the `k` best rows for a query of D components, best first; all of them if there are fewer.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::InvalidParameter`] for an ef
    /// of 0, [`Error::Corrupt`] if a graph leads out of its rows.
    pub fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        check_vector(query, self.flat.dim())?;
        check_options(options)?;
        self.search_checked(query, k, options)
    }

    /// [`HnswIndex::search`] for Q queries at once, (Q, D) row-major, in parallel: the same answers, in the order of the
    /// queries.
    ///
    /// # Errors
    /// As [`HnswIndex::search`], and [`Error::RaggedVectors`].
    pub fn search_batch(
        &self,
        queries: &[f32],
        k: usize,
        options: &SearchOptions<'_>,
    ) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.flat.dim())?;
        check_options(options)?;
        queries
            .par_chunks_exact(self.flat.dim())
            .map(|query| self.search_checked(query, k, options))
            .collect()
    }

    fn search_checked(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        let scorer = Scorer::new(self.flat.metric(), query, self.flat.dim());
        let mut best = TopK::new(k);
        for (number, part) in self.parts.iter().enumerate() {
            let found = part
                .search(query, k, options)
                .map_err(|damage| Error::Corrupt { file: part.file.to_owned(), damage })?;
            match found {
                Some(rows) => self.flat.collect(&scorer, query, &rows, &mut best),
                None => self.flat.collect_part(&scorer, query, number, options.filter, &mut best),
            }
        }
        Ok(best.into_sorted())
    }
}

fn check_options(options: &SearchOptions<'_>) -> Result<()> {
    if options.ef_search == 0 {
        return Err(Error::InvalidParameter { name: "ef_search", got: 0.0, allowed: "at least 1" });
    }
    Ok(())
}
