//! Which vectors are those of each row, where a row may have several.

use std::ops::Range;

/// The vectors of a segment's rows, which follow one another: the first vector of each row, and at the end the number
/// of all. Rows and vectors are counted within the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passages<'a>(&'a [u32]);

impl<'a> Passages<'a> {
    /// Takes numbers that ascend from 0, at least one.
    pub fn new(starts: &'a [u32]) -> Passages<'a> {
        Passages(starts)
    }

    pub fn num_rows(self) -> u32 {
        self.0.len().saturating_sub(1) as u32
    }

    pub fn num_vectors(self) -> u32 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The vectors of a row.
    pub fn of_row(self, row: u32) -> Range<u32> {
        self.0[row as usize]..self.0[row as usize + 1]
    }

    /// The vectors of some rows.
    pub fn of_rows(self, rows: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
        rows.flat_map(move |row| self.of_row(row))
    }

    /// The row that a vector belongs to.
    pub fn row_of(self, vector: u32) -> u32 {
        self.0.partition_point(|start| *start <= vector) as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_vectors_by_hand() {
        let passages = Passages::new(&[0, 1, 4, 6]);
        assert_eq!((passages.num_rows(), passages.num_vectors()), (3, 6));
        assert_eq!((passages.of_row(0), passages.of_row(1), passages.of_row(2)), (0..1, 1..4, 4..6));
        assert_eq!(passages.of_rows([0, 2].into_iter()).collect::<Vec<_>>(), [0, 4, 5]);
        assert_eq!((0..6).map(|vector| passages.row_of(vector)).collect::<Vec<_>>(), [0, 1, 1, 1, 2, 2]);
        assert_eq!((Passages::new(&[0]).num_rows(), Passages::new(&[0]).num_vectors()), (0, 0));
    }
}
