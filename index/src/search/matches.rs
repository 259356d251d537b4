//! The rows of a part that a search may find.

use crate::bitmap::Bitmap;
use crate::topk::RowId;

/// Rows of a part, by their numbers in it, less those that are deleted or that the filter leaves out.
#[derive(Clone, Copy)]
pub(crate) struct Matches<'m> {
    /// The number of the part's first row in the index.
    pub base: u32,
    pub num_rows: u32,
    /// By the numbers in the part.
    pub deleted: Option<&'m Bitmap>,
    /// By the numbers in the index.
    pub filter: Option<&'m Bitmap>,
}

impl Matches<'_> {
    /// How many there are.
    pub fn len(&self) -> u32 {
        let range = self.base..self.base + self.num_rows;
        match (self.filter, self.deleted) {
            (None, deleted) => self.num_rows - deleted.map_or(0, Bitmap::len),
            (Some(filter), None) => filter.len_within(range),
            (Some(filter), Some(deleted)) => filter.len_within_except(range, deleted),
        }
    }

    /// Whether a row, one of the part's, is among them.
    pub fn contains(&self, row: u32) -> bool {
        !self.deleted.is_some_and(|deleted| deleted.contains(row))
            && self.filter.is_none_or(|filter| filter.contains(self.base + row))
    }

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

    /// The number of a row of the part in the index.
    pub fn id(&self, row: u32) -> RowId {
        RowId(self.base + row)
    }
}
