//! Searching vectors, whatever the index: one trait, and the rules that hold for all of its implementors.
//!
//! Hits are scored with the vectors themselves, bit for bit as [`FlatIndex`] scores them, and ranked by score, then row. Rows
//! that are deleted or that the filter leaves out are never among them, and there are always min(k, matches): what an
//! approximate index does not find is searched exactly. A query that cannot be searched with is an error.

mod approximate;
mod matches;
mod recall;

pub use approximate::ApproximateIndex;
pub(crate) use approximate::Source;
pub(crate) use matches::Matches;
pub use recall::{InvalidCurve, Recall, RecallCurve};

use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::flat::FlatIndex;
use crate::topk::Hit;

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
    /// The exact index over the same rows.
    fn flat(&self) -> &FlatIndex<'_>;

    /// The best `k` rows that are found for a query of D components, best first.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`], [`Error::InvalidParameter`] for an ef
    /// of 0, [`Error::Corrupt`] if a graph leads out of its rows.
    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>>;

    /// [`VectorSearch::search`] for Q queries at once, (Q, D) row-major, in parallel: the same answers, in the order of the
    /// queries.
    ///
    /// # Errors
    /// As [`VectorSearch::search`], and [`Error::RaggedVectors`].
    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>>;

    /// The recall at `k` of searches for queries, (Q, D) row-major, with each ef.
    ///
    /// # Errors
    /// As [`VectorSearch::search_batch`]; [`Error::InvalidParameter`] without queries or with k 0.
    fn recall(&self, queries: &[f32], k: usize, efs: &[usize]) -> Result<Vec<Recall>> {
        recall::recall(self, queries, k, efs)
    }

    /// Searches with a doubling ef from `k` on until the mean recall at `k` reaches `target`, or every row is compared; then
    /// halves the last step until it is an eighth of the ef.
    ///
    /// # Errors
    /// As [`VectorSearch::recall`]; [`Error::InvalidParameter`] for a target outside 0 to 1.
    fn tune(&self, queries: &[f32], k: usize, target: f64) -> Result<RecallCurve> {
        recall::tune(self, queries, k, target)
    }
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

/// How to search.
///
/// ```
/// use secateur_index::search::SearchOptions;
/// assert_eq!(SearchOptions::default(), SearchOptions::new(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchOptions<'f> {
    /// ef of the HNSW paper: rows that a walk keeps. More find more of the true hits and take longer. At least 1; below the
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

    fn check(&self) -> Result<()> {
        if self.ef_search == 0 {
            return Err(Error::InvalidParameter { name: "ef_search", got: 0.0, allowed: "at least 1" });
        }
        Ok(())
    }
}

impl Default for SearchOptions<'_> {
    /// ef 100.
    fn default() -> Self {
        SearchOptions::new(Self::DEFAULT_EF)
    }
}
