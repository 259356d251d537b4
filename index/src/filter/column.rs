//! An inverted index of one metadata field: for each value the rows that have it, as bytes that are searched where they
//! lie.
//!
//! The layout is that of a column in FORMAT.md: V distinct values in ascending order, and R pairs of a value and a row.
//! All numbers are little-endian.
//!
//! ```text
//! V u64, R u64 | V + 1 u64: where values begin | V + 1 u64: where the rows of a value begin | R u32: rows | the values
//! ```

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::value::ValueRef;
use super::{Comparison, Field, Filter, Value, ValueKind};
use crate::bitmap::Bitmap;

/// Bytes that are shared, such as a map.
pub(crate) type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Rows by the values of a field.
pub(crate) struct Column {
    bytes: SharedBytes,
    num_values: usize,
    value_starts: Range<usize>,
    row_starts: Range<usize>,
    rows: Range<usize>,
    values: Range<usize>,
}

/// The bytes of the column of pairs of a value and a row that has it, in any order.
pub(crate) fn encode(mut pairs: Vec<(Value, u32)>) -> Vec<u8> {
    pairs.par_sort_unstable();
    pairs.dedup();
    let (mut values, mut value_starts, mut row_starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut previous = None;
    for (number, (value, _)) in pairs.iter().enumerate() {
        if previous != Some(value) {
            value_starts.push(values.len() as u64);
            row_starts.push(number as u64);
            value.as_ref().write(&mut values);
            previous = Some(value);
        }
    }
    let num_values = value_starts.len() as u64;
    value_starts.push(values.len() as u64);
    row_starts.push(pairs.len() as u64);
    let mut bytes = Vec::with_capacity(16 * value_starts.len() + 16 + 4 * pairs.len() + values.len());
    for number in [num_values, pairs.len() as u64].iter().chain(&value_starts).chain(&row_starts) {
        bytes.extend(number.to_le_bytes());
    }
    pairs.iter().for_each(|(_, row)| bytes.extend(row.to_le_bytes()));
    bytes.extend(values);
    bytes
}

impl Column {
    /// A column of a field that no row has.
    pub fn empty() -> Column {
        let bytes: SharedBytes = Arc::new([0u8; 32]);
        let at = 0..0;
        Column {
            bytes,
            num_values: 0,
            value_starts: 16..24,
            row_starts: 24..32,
            rows: at.clone(),
            values: at,
        }
    }

    /// The column in a part of some bytes; `None` if it does not fit in there.
    pub fn open(bytes: SharedBytes, at: Range<usize>) -> Option<Column> {
        let all = (*bytes).as_ref();
        let number = |start: usize| Some(u64::from_le_bytes(*all.get(start..at.end)?.first_chunk()?));
        let [num_values, num_rows] = [number(at.start)?, number(at.start.checked_add(8)?)?];
        let end = |start: usize, count: u64, size: usize| {
            usize::try_from(count).ok()?.checked_mul(size)?.checked_add(start)
        };
        let value_starts = at.start + 16..end(at.start + 16, num_values.checked_add(1)?, 8)?;
        let row_starts = value_starts.end..end(value_starts.end, num_values + 1, 8)?;
        let rows = row_starts.end..end(row_starts.end, num_rows, 4)?;
        let values = rows.end..at.end;
        if values.start > values.end {
            return None;
        }
        Some(Column { bytes, num_values: num_values as usize, value_starts, row_starts, rows, values })
    }

    /// Checks what holds for every column that was written for so many rows.
    pub fn is_sound(&self, num_rows: u32) -> bool {
        let values = (0..self.num_values).map(|place| self.value(place));
        let is_ascending = |table: &Range<usize>| {
            let mut starts = (0..=self.num_values).map(|place| self.start(table, place));
            starts.next() == Some(0) && starts.is_sorted_by(|a, b| a < b)
        };
        let mut rows = (0..self.num_values).map(|place| self.rows_of(place..place + 1));
        self.num_values > 0
            && is_ascending(&self.value_starts)
            && is_ascending(&self.row_starts)
            && self.start(&self.value_starts, self.num_values) == self.values.len()
            && self.start(&self.row_starts, self.num_values) == self.rows.len() / 4
            && values.clone().all(|value| value.is_some())
            && values.is_sorted_by(|a, b| a < b)
            && rows.all(|rows| rows.is_sorted_by(|a, b| a < b))
            && self.rows_of(0..self.num_values).all(|row| row < num_rows)
    }

    fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Entry `place` of a table of starts; 0 beyond its end.
    fn start(&self, table: &Range<usize>, place: usize) -> usize {
        let entry = self.bytes().get(table.clone()).and_then(|table| table.get(8 * place..)?.first_chunk());
        entry.map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize)
    }

    /// Value number `place`. A column that is damaged in spite of its checksum may have none there.
    fn value(&self, place: usize) -> Option<ValueRef<'_>> {
        let [start, end] = [place, place + 1].map(|place| self.start(&self.value_starts, place));
        ValueRef::read(self.bytes().get(self.values.clone())?.get(start..end)?)
    }

    /// The number of the first value for which `is_before` does not hold: it holds for those before.
    fn partition_point(&self, is_before: impl Fn(ValueRef<'_>) -> bool) -> usize {
        let (mut low, mut high) = (0, self.num_values);
        while low < high {
            let middle = low.midpoint(high);
            if self.value(middle).is_some_and(&is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The range of the values of a kind.
    fn of_kind(&self, kind: ValueKind) -> Range<usize> {
        self.partition_point(|value| value.kind() < kind)..self.partition_point(|value| value.kind() <= kind)
    }

    /// The rows that have a value for which the comparison is true. The rows of `!=` are all rows but those of `==`.
    fn compare(&self, comparison: Comparison, with: &Value, num_rows: u32) -> Bitmap {
        let with = with.as_ref();
        let first = self.partition_point(|value| value < with);
        let after = self.partition_point(|value| value <= with);
        let Range { start, end } = self.of_kind(with.kind());
        let values = match comparison {
            Comparison::Equal | Comparison::NotEqual => first..after,
            Comparison::Less => start..first,
            Comparison::AtMost => start..after,
            Comparison::Greater => after..end,
            Comparison::AtLeast => first..end,
        };
        self.set_of(values, num_rows)
    }

    /// The rows of a range of values.
    fn rows_of(&self, values: Range<usize>) -> impl Iterator<Item = u32> + '_ {
        let [start, end] = [values.start, values.end].map(|place| 4 * self.start(&self.row_starts, place));
        let rows = self.bytes().get(self.rows.clone()).and_then(|rows| rows.get(start..end));
        let (rows, _) = rows.unwrap_or_default().as_chunks::<4>();
        rows.iter().map(|row| u32::from_le_bytes(*row))
    }

    fn set_of(&self, values: Range<usize>, num_rows: u32) -> Bitmap {
        Bitmap::of_rows(self.rows_of(values), num_rows)
    }

    /// The rows that have a value of a kind.
    pub fn rows_with(&self, kind: ValueKind, num_rows: u32) -> Bitmap {
        self.set_of(self.of_kind(kind), num_rows)
    }

    /// The rows that have a string that contains this one.
    fn containing(&self, part: &str, num_rows: u32) -> Bitmap {
        let places = self.of_kind(ValueKind::String);
        let matches = places.filter(|place| self.value(*place).is_some_and(|value| value.contains(part)));
        Bitmap::of_rows(matches.flat_map(|place| self.rows_of(place..place + 1)), num_rows)
    }

    /// The rows that have a string that begins so. Those strings lie together.
    fn starting(&self, start: &str, num_rows: u32) -> Bitmap {
        let first = self.partition_point(|value| value < ValueRef::String(start));
        let after = self.partition_point(|value| value < ValueRef::String(start) || value.starts_with(start));
        self.set_of(first..after, num_rows)
    }

    /// The kinds of the values.
    pub fn kinds(&self) -> impl Iterator<Item = ValueKind> + '_ {
        ValueKind::ALL.into_iter().filter(|kind| !self.of_kind(*kind).is_empty())
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
            Filter::Contains(field, part) => column(field).as_ref().containing(part, num_rows),
            Filter::StartsWith(field, start) => column(field).as_ref().starting(start, num_rows),
            Filter::Missing(field) => {
                let column = column(field);
                let column = column.as_ref();
                column.set_of(0..column.num_values, num_rows).complement(num_rows)
            }
        }
    }
}
