//! Finding candidates: what an approximate index does, and all that it does.
//!
//! Candidates are rows that are probably near a query. Scores, ranking and the number of hits are the part of
//! [`search`](crate::search), which compares the vectors of the candidates.

use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::metric::Metric;
use crate::quantization::Int8Codes;
use crate::topk::RowId;

/// An index that finds candidates among the rows of one matrix.
pub trait Candidates: Send + Sync {
    /// The metric that it was built for.
    fn metric(&self) -> Metric;

    /// D of the rows.
    fn dim(&self) -> usize;

    /// The number of rows.
    fn num_rows(&self) -> usize;

    /// Rows that hold about the `k` best of `matches` for a query of D components, in any order. `None` if all vectors
    /// of `matches` are to be compared, because that is no slower. At least min(k, number of matches) rows are given.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the index names rows that do not exist;
    /// [`Error::Backend`](crate::Error::Backend) if another library refuses.
    fn find(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>>;

    /// The 8-bit codes of the rows, if the index has them: exact searches of the same rows use these, too.
    fn int8_codes(&self) -> Option<Int8Codes<'_>> {
        None
    }
}

/// The rows of a segment that a search may find: those that are not deleted and that match the filter.
#[derive(Debug, Clone, Copy)]
pub struct Matches<'m> {
    /// The id of the segment's first row.
    pub(crate) base: u32,
    pub(crate) num_rows: u32,
    /// By position in the segment.
    pub(crate) deleted: Option<&'m Bitmap>,
    /// By row id.
    pub(crate) filter: Option<&'m Bitmap>,
}

impl Matches<'_> {
    /// The number of rows of the segment, whether they match or not.
    pub fn num_rows(&self) -> u32 {
        self.num_rows
    }

    /// The number of rows that match.
    pub fn len(&self) -> u32 {
        let range = self.base..self.base + self.num_rows;
        match (self.filter, self.deleted) {
            (None, deleted) => self.num_rows - deleted.map_or(0, Bitmap::len),
            (Some(filter), None) => filter.len_within(range),
            (Some(filter), Some(deleted)) => filter.len_within_except(range, deleted),
        }
    }

    /// Whether no row matches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row of the segment, given by its position there, matches.
    #[inline]
    pub fn contains(&self, position: u32) -> bool {
        !self.deleted.is_some_and(|deleted| deleted.contains(position))
            && self.filter.is_none_or(|filter| filter.contains(self.base + position))
    }

    /// The positions of the rows that match, ascending.
    pub fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        let is_alive = |row: &u32| !self.deleted.is_some_and(|deleted| deleted.contains(*row));
        match self.filter {
            None => Box::new((0..self.num_rows).filter(is_alive)),
            Some(filter) => {
                let rows = filter.iter_within(self.base..self.base + self.num_rows);
                Box::new(rows.map(|row| row - self.base).filter(is_alive))
            }
        }
    }

    /// The id of a row of the segment, given by its position there.
    pub fn row_id(&self, position: u32) -> RowId {
        RowId(self.base + position)
    }
}
