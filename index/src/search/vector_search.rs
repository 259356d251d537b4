//! The trait of all vector indexes.

use super::options::SearchOptions;
use super::recall::{self, Recall, RecallCurve};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::flat::{DeviceIndex, FlatIndex};
use crate::topk::{Hit, RowId};
use crate::vectors::check_vector;

/// An index of vectors.
///
/// ```
/// use secateur_index::{Metric, flat::FlatIndex};
/// use secateur_index::search::{ApproximateIndex, SearchOptions, VectorSearch};
/// use secateur_index::hnsw::{Graph, HnswParams};
///
/// let rows: Vec<f32> = (0..2000).map(|i| (i as f32).sin()).collect();
/// let graph = Graph::build(Metric::Cosine, 4, &rows, &HnswParams::default())?;
/// let indexes: [Box<dyn VectorSearch>; 2] = [
///     Box::new(FlatIndex::new(Metric::Cosine, 4, &rows)?),
///     Box::new(ApproximateIndex::new(&rows, &graph)?),
/// ];
/// for index in indexes {
///     assert_eq!(index.search(&rows[400..404], 3, &SearchOptions::default())?[0].row.0, 100);
/// }
/// # Ok::<(), secateur_index::Error>(())
/// ```
pub trait VectorSearch: Send + Sync {
    /// The exact index over the same vectors.
    fn flat(&self) -> &FlatIndex<'_>;

    /// The true hits of queries, (Q, D) row-major: those that comparing every vector finds.
    ///
    /// # Errors
    /// As [`VectorSearch::search_batch`].
    fn search_exactly(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.flat().search_batch(queries, k)
    }

    /// The best `k` rows that are found for a query of D components, best first.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::InvalidParameter`] for
    /// an ef of 0, [`Error::Corrupt`] if a graph leads out of its rows.
    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>>;

    /// [`VectorSearch::search`] for Q queries at once, (Q, D) row-major, in parallel: the same answers, in the order
    /// of the queries.
    ///
    /// # Errors
    /// As [`VectorSearch::search`], and [`Error::RaggedVectors`].
    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>>;

    /// The scores of some rows for a query of D components, best first: those that a search gives them. No deleted row
    /// may be among them.
    ///
    /// # Errors
    /// As [`VectorSearch::search`].
    fn score(&self, query: &[f32], rows: &[RowId]) -> Result<Vec<Hit>> {
        self.flat().score(query, rows)
    }

    /// The recall at `k` of searches for queries, (Q, D) row-major, with each ef.
    ///
    /// # Errors
    /// As [`VectorSearch::search_batch`]; [`Error::InvalidParameter`] without queries or with k 0.
    fn recall(&self, queries: &[f32], k: usize, efs: &[usize]) -> Result<Vec<Recall>> {
        recall::check(queries.len(), k)?;
        let truth = scores(self.search_exactly(queries, k)?);
        let found = |ef: usize| self.search_batch(queries, k, &SearchOptions::new(ef)).map(scores);
        efs.iter().map(|ef| recall::measure(*ef, || found(*ef), &truth)).collect()
    }

    /// Doubles ef from `k` on until the mean recall at `k` reaches `target` or every row is compared. Then it bisects
    /// the last interval, down to an eighth of ef.
    ///
    /// # Errors
    /// As [`VectorSearch::recall`]; [`Error::InvalidParameter`] for a target outside 0 to 1.
    fn tune(&self, queries: &[f32], k: usize, target: f64) -> Result<RecallCurve> {
        recall::check(queries.len(), k)?;
        let truth = scores(self.search_exactly(queries, k)?);
        let found = |ef: usize| self.search_batch(queries, k, &SearchOptions::new(ef)).map(scores);
        recall::tune_scores(found, &truth, k, target, self.flat().num_rows())
    }
}

fn scores(hits: Vec<Vec<Hit>>) -> Vec<Vec<f32>> {
    hits.iter().map(|hits| hits.iter().map(|hit| hit.score).collect()).collect()
}

/// The exact index, for which an ef makes no difference.
impl VectorSearch for FlatIndex<'_> {
    fn flat(&self) -> &FlatIndex<'_> {
        self
    }

    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        options.check()?;
        match options.filter {
            Some(filter) => self.search_among(query, k, filter),
            None => self.search(query, k),
        }
    }

    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>> {
        options.check()?;
        match options.filter {
            Some(filter) => self.search_batch_among(queries, k, filter),
            None => self.search_batch(queries, k),
        }
    }
}

/// The exact index whose first pass a GPU does, for which an ef makes no difference either.
impl VectorSearch for DeviceIndex<'_> {
    fn flat(&self) -> &FlatIndex<'_> {
        DeviceIndex::flat(self)
    }

    fn search_exactly(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.search_batch(queries, k, None)
    }

    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        check_vector(query, DeviceIndex::flat(self).dim())?;
        options.check()?;
        Ok(self.search_batch(query, k, options.filter)?.pop().unwrap_or_default())
    }

    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>> {
        options.check()?;
        self.search_batch(queries, k, options.filter)
    }
}
