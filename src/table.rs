//! Plain text in aligned columns.

use std::fmt;

/// Where the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// At the left: words.
    Left,
    /// At the right: numbers.
    Right,
}

/// A table of text. A column is as wide as its widest cell, in characters. Columns are two spaces apart, and no line
/// has trailing spaces.
///
/// ```
/// use secateur::report::{Align, Table};
///
/// let mut table = Table::new([("split", Align::Left), ("queries", Align::Right)]);
/// table.row(["train", "809"]);
/// table.row(["test", "300"]);
/// assert_eq!(table.to_string(), "split  queries\ntrain      809\ntest       300\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    alignment: Vec<Align>,
    /// The names of the columns, then the rows.
    lines: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align)>) -> Self {
        let (names, alignment) = columns.into_iter().map(|(name, align)| (name.into(), align)).unzip();
        Table { alignment, lines: vec![names] }
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// If the row has not one cell for each column.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.alignment.len(), "a row has one cell for each column");
        self.lines.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.alignment.len()).map(width).collect();
        for line in &self.lines {
            let cells: Vec<String> = line
                .iter()
                .zip(self.alignment.iter().zip(&widths))
                .map(|(cell, (align, width))| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_characters_and_lines_end_with_text() {
        let mut table = Table::new([("id", Align::Left), ("n", Align::Right), ("note", Align::Left)]);
        table.row(["é", "10", "x"]);
        table.row(["query", "9", ""]);
        assert_eq!(table.to_string(), "id      n  note\né      10  x\nquery   9\n");
    }
}
