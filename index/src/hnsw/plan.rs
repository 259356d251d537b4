//! What a search with a graph compares, by how many rows may be found.

use std::cell::RefCell;

use super::walk::{Scratch, View};
use crate::error::Damage;
use crate::search::Matches;
use crate::topk::RowId;

thread_local! {
    /// Kept from search to search: it grows to one bit a row.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// How to search rows of which some may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Compare the vectors of those that may be found: exact.
    Vectors,
    /// Compare their copies.
    Codes,
    /// Walk from one that may be found to the next, keeping ef.
    WalkAmong(usize),
    /// Walk all, keeping this many.
    Walk(usize),
}

/// What searches cost, in comparisons of 8-bit copies one after the other: a vector is 4 times as long, and a walk meets many
/// rows, in disorder, for each that it keeps; more if it reads the lists of those that do not match, too. Measured on 30,000 and
/// 100,000 rows of 384 dimensions (`ann_search`, the command `filter`); a factor of 2 either way costs little, and what 1-bit copies
/// would need is hardly more.
const VECTOR: u64 = 4;
const KEPT: u64 = 32;
const KEPT_AMONG: u64 = 96;

impl Plan {
    /// The fastest plan to find the best of `num_matches` rows, with an ef that does for all `num_rows`.
    fn new(num_matches: u32, num_rows: u32, ef: usize) -> Plan {
        let (matches, wide_ef) = (u64::from(num_matches), ef as u64);
        // Walks meet all rows: to keep as many that match they have to be longer.
        let longer = wide_ef.saturating_mul(u64::from(num_rows)) / matches.max(1);
        if matches.saturating_mul(VECTOR) <= wide_ef.saturating_mul(KEPT) {
            return Plan::Vectors;
        }
        let walk = (longer.saturating_mul(KEPT), Plan::Walk(usize::try_from(longer).unwrap_or(usize::MAX)));
        if num_matches == num_rows {
            return walk.1;
        }
        // Half as many more: with as many, where a third of 100,000 rows match, it finds less than a walk that all match.
        let among = (wide_ef.saturating_mul(KEPT_AMONG), Plan::WalkAmong(ef.saturating_add(ef / 2)));
        let plans = [(matches, Plan::Copies), among, walk];
        plans.into_iter().min_by_key(|(cost, _)| *cost).map_or(Plan::Vectors, |(_, plan)| plan)
    }
}

impl View<'_> {
    /// Rows that hold about the k best of those that may be found; `None` if their vectors are to be compared, all of them.
    pub fn candidates(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>, Damage> {
        let num_matches = matches.len();
        let wanted = k.min(num_matches as usize);
        if wanted == 0 {
            return Ok(Some(Vec::new()));
        }
        let is_match = |row: u32| matches.contains(row);
        let num_compared = self.copies.num_compared(k, ef_search);
        let mut ef = ef_search.max(k);
        loop {
            let plan = Plan::new(num_matches, matches.num_rows, ef);
            let rows = SCRATCH.with_borrow_mut(|scratch| -> Result<Option<Vec<RowId>>, Damage> {
                self.copies.query(query, &mut scratch.query);
                match plan {
                    Plan::Vectors => return Ok(None),
                    Plan::Copies => self.compare_all(num_compared, matches.iter(), scratch),
                    Plan::WalkAmong(ef) => self.search_among(ef, is_match, scratch)?,
                    Plan::Walk(ef) => self.search(ef, scratch)?,
                }
                let rows = scratch.pool.iter().map(|(row, _)| row).filter(|row| is_match(*row));
                Ok(Some(rows.take(num_compared).map(|row| matches.id(row)).collect()))
            })?;
            if rows.as_ref().is_none_or(|rows| rows.len() >= wanted) {
                return Ok(rows);
            }
            // The rows that match are not where the query is.
            ef = ef.saturating_mul(4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few rows are compared, many are walked, and however many are wanted the end is a comparison.
    #[test]
    fn plans_follow_numbers() {
        let million = 1_000_000;
        for (num_matches, num_rows, ef, expected) in [
            (0, 10, 10, Plan::Vectors),
            (800, million, 100, Plan::Vectors),
            (801, million, 100, Plan::Copies),
            (9_600, million, 100, Plan::Copies),
            (10_000, million, 100, Plan::WalkAmong(150)),
            (300_000, million, 100, Plan::WalkAmong(150)),
            (500_000, million, 100, Plan::Walk(200)),
            (million, million, 100, Plan::Walk(100)),
            (million, million, 124_999, Plan::Walk(124_999)),
            (million, million, 125_000, Plan::Vectors),
            (2000, 2000, 100, Plan::Walk(100)),
            (1999, 2000, 100, Plan::Copies),
            (u32::MAX, u32::MAX, usize::MAX, Plan::Vectors),
            (1, u32::MAX, 1, Plan::Vectors),
        ] {
            assert_eq!(
                Plan::new(num_matches, num_rows, ef),
                expected,
                "{num_matches} of {num_rows}, ef {ef}"
            );
        }
    }
}
