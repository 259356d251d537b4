//! An inverted index of one metadata field: for each value the rows that have it.

use std::ops::Range;

use rayon::prelude::*;

use super::{Comparison, Field, Filter, Value, ValueKind};
use crate::bitmap::Bitmap;

/// Rows by the values of a field. Memory: the distinct values, and 4 bytes for each value of each row.
#[derive(Debug)]
pub(crate) struct Column {
    /// Distinct, ascending.
    values: Vec<Value>,
    /// Where the rows of each value begin in `rows`; the last number is where the last value's rows end.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl Column {
    /// The column of pairs of a value and a row that has it, in any order.
    pub fn new(mut pairs: Vec<(Value, u32)>) -> Column {
        pairs.par_sort_unstable();
        pairs.dedup();
        let mut column = Column { values: Vec::new(), starts: Vec::new(), rows: Vec::new() };
        for (value, row) in pairs {
            if column.values.last() != Some(&value) {
                column.values.push(value);
                column.starts.push(column.rows.len());
            }
            column.rows.push(row);
        }
        column.starts.push(column.rows.len());
        column
    }

    /// The rows that have a value for which the comparison is true. The rows of `!=` are all rows but those of `==`.
    fn compare(&self, comparison: Comparison, with: &Value, num_rows: u32) -> Bitmap {
        let first = self.values.partition_point(|value| value < with);
        let after = self.values.partition_point(|value| value <= with);
        // The range of the values of this kind.
        let start = self.values.partition_point(|value| value.kind() < with.kind());
        let end = self.values.partition_point(|value| value.kind() <= with.kind());
        let values = match comparison {
            Comparison::Equal | Comparison::NotEqual => first..after,
            Comparison::Less => start..first,
            Comparison::AtMost => start..after,
            Comparison::Greater => after..end,
            Comparison::AtLeast => first..end,
        };
        self.rows_of(values, num_rows)
    }

    fn rows_of(&self, values: Range<usize>, num_rows: u32) -> Bitmap {
        Bitmap::of_rows(&self.rows[self.starts[values.start]..self.starts[values.end]], num_rows)
    }

    /// The rows that have a string for which `is_so`, among the values of a range.
    fn strings(&self, among: Range<usize>, is_so: impl Fn(&Value) -> bool, num_rows: u32) -> Bitmap {
        let mut rows = Vec::new();
        for place in among.filter(|place| is_so(&self.values[*place])) {
            rows.extend_from_slice(&self.rows[self.starts[place]..self.starts[place + 1]]);
        }
        Bitmap::of_rows(&rows, num_rows)
    }

    /// The rows that have a string that begins so. Those strings lie together.
    fn starting(&self, start: &str, num_rows: u32) -> Bitmap {
        let with = Value::from(start);
        let first = self.values.partition_point(|value| *value < with);
        let len = self.values[first..].partition_point(|value| value.starts_with(start));
        self.rows_of(first..first + len, num_rows)
    }

    /// The kinds of the values.
    pub fn kinds(&self) -> impl Iterator<Item = ValueKind> + '_ {
        ValueKind::ALL.into_iter().filter(|kind| {
            let first = self.values.partition_point(|value| value.kind() < *kind);
            self.values.get(first).is_some_and(|value| value.kind() == *kind)
        })
    }
}

impl Filter {
    /// The rows below `num_rows` that match. `column` must have the columns of all fields of the filter.
    pub(crate) fn rows<C: AsRef<Column>>(&self, num_rows: u32, column: &impl Fn(&Field) -> C) -> Bitmap {
        match self {
            Filter::And(parts) => {
                let mut rows = Bitmap::full(num_rows);
                parts.iter().for_each(|part| rows.intersect(&part.rows(num_rows, column)));
                rows
            }
            Filter::Or(parts) => {
                let mut rows = Bitmap::default();
                parts.iter().for_each(|part| rows.unite(&part.rows(num_rows, column), 0));
                rows
            }
            Filter::Not(part) => part.rows(num_rows, column).complement(num_rows),
            Filter::Compare(field, comparison, with) => {
                let rows = column(field).as_ref().compare(*comparison, with, num_rows);
                if *comparison == Comparison::NotEqual { rows.complement(num_rows) } else { rows }
            }
            Filter::In(field, list) => {
                let (column, mut rows) = (column(field), Bitmap::default());
                list.iter().for_each(|value| {
                    rows.unite(&column.as_ref().compare(Comparison::Equal, value, num_rows), 0)
                });
                rows
            }
            Filter::All(field, list) => {
                let (column, mut rows) = (column(field), Bitmap::full(num_rows));
                list.iter().for_each(|value| {
                    rows.intersect(&column.as_ref().compare(Comparison::Equal, value, num_rows));
                });
                rows
            }
            Filter::Contains(field, part) => {
                let column = column(field);
                let column = column.as_ref();
                column.strings(0..column.values.len(), |value| value.contains(part), num_rows)
            }
            Filter::StartsWith(field, start) => column(field).as_ref().starting(start, num_rows),
            Filter::Missing(field) => {
                let column = column(field);
                let column = column.as_ref();
                column.rows_of(0..column.values.len(), num_rows).complement(num_rows)
            }
        }
    }
}
