//! Exact search: every row is compared with the query.

use rayon::prelude::*;

use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::kernel;
use crate::metric::Metric;
use crate::topk::{Hit, RowId, TopK};
use crate::vectors::{check_vector, check_vectors};

/// The exact index over rows of f32 that lie in one or several slices (the segments of a database).
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
    parts: Vec<Part<'a>>,
    num_rows: u32,
}

#[derive(Debug, Clone)]
struct Part<'a> {
    base: u32,
    rows: &'a [f32],
    deleted: Option<&'a Bitmap>,
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
        index.push_part(rows, None);
        Ok(index)
    }

    pub(crate) fn empty(metric: Metric, dim: usize) -> FlatIndex<'a> {
        FlatIndex { metric, dim, parts: Vec::new(), num_rows: 0 }
    }

    pub(crate) fn push_part(&mut self, rows: &'a [f32], deleted: Option<&'a Bitmap>) {
        self.parts.push(Part { base: self.num_rows, rows, deleted: deleted.filter(|set| !set.is_empty()) });
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

    /// The `k` best rows for a query of D components, best first; all of them if there are fewer.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`].
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        check_vector(query, self.dim)?;
        let mut top = TopK::new(k);
        for part in &self.parts {
            for (row, v) in part.rows.chunks_exact(self.dim).enumerate() {
                let row = row as u32;
                if part.deleted.is_some_and(|set| set.contains(row)) {
                    continue;
                }
                let score = match self.metric {
                    Metric::InnerProduct => kernel::dot(query, v),
                    Metric::Cosine => {
                        let norms = kernel::dot(query, query).sqrt() * kernel::dot(v, v).sqrt();
                        if norms > 0.0 { kernel::dot(query, v) / norms } else { 0.0 }
                    }
                    Metric::L2 => -kernel::l2(query, v),
                };
                top.push(Hit { row: RowId(part.base + row), score });
            }
        }
        Ok(top.into_sorted())
    }

    /// [`FlatIndex::search`] for Q queries at once, (Q, D) row-major; the answers are in the order of the queries and
    /// equal those of single searches, scores included.
    ///
    /// # Errors
    /// As [`FlatIndex::search`], and [`Error::RaggedVectors`].
    pub fn search_batch(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        check_vectors(queries, self.dim)?;
        queries.par_chunks_exact(self.dim).map(|query| self.search(query, k)).collect()
    }
}
