//! What a search with a graph compares, by how many rows may be found.

use std::cell::RefCell;

use super::traversal::{GraphView, Scratch};
use crate::candidates::Matches;
use crate::error::Damage;
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
    /// Compare their codes.
    Codes,
    /// Search the graph of those that may be found, keeping ef.
    SearchAmong(usize),
    /// Search the whole graph, keeping this many.
    Search(usize),
}

/// Costs, in comparisons of 8-bit codes that lie one after the other. A vector is 4 times as long as its code. A
/// graph search meets many rows, in disorder, for each row that it keeps. It meets more if it also reads the lists of
/// rows that do not match. Measured on 30,000 and 100,000 rows of 384 dimensions (`ann_search`, the command `filter`).
/// A factor of 2 either way costs little, and 1-bit codes would hardly change the numbers.
const VECTOR: u64 = 4;
const KEPT: u64 = 32;
const KEPT_AMONG: u64 = 96;

/// Rows beside the first of their nodes whose vectors are compared, as a multiple of the nodes.
const COPIES: usize = 4;

impl Plan {
    /// The fastest plan to find the best of `num_matches` rows, given an ef that is enough for a search of all
    /// `num_rows`.
    fn new(num_matches: u32, num_rows: u32, ef: usize) -> Plan {
        let (matches, wide_ef) = (u64::from(num_matches), ef as u64);
        // A search of the whole graph also keeps rows that do not match, so it needs a larger ef.
        let longer = wide_ef.saturating_mul(u64::from(num_rows)) / matches.max(1);
        if matches.saturating_mul(VECTOR) <= wide_ef.saturating_mul(KEPT) {
            return Plan::Vectors;
        }
        let whole =
            (longer.saturating_mul(KEPT), Plan::Search(usize::try_from(longer).unwrap_or(usize::MAX)));
        if num_matches == num_rows {
            return whole.1;
        }
        // 1.5 × ef: with ef alone, recall was below that of an unfiltered search when a third of 100,000 rows matched.
        let among = (wide_ef.saturating_mul(KEPT_AMONG), Plan::SearchAmong(ef.saturating_add(ef / 2)));
        let plans = [(matches, Plan::Codes), among, whole];
        plans.into_iter().min_by_key(|(cost, _)| *cost).map_or(Plan::Vectors, |(_, plan)| plan)
    }
}

impl GraphView<'_> {
    /// Candidates: rows that contain about the k best matches. `None` if all matches are to be compared instead.
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
        let num_compared = self.codes.num_compared(k, ef_search);
        let mut ef = ef_search.max(k);
        loop {
            let plan = Plan::new(num_matches, matches.num_rows, ef);
            let rows = SCRATCH.with_borrow_mut(|scratch| -> Result<Option<Vec<RowId>>, Damage> {
                self.codes.query(query, &mut scratch.query);
                match plan {
                    Plan::Vectors => return Ok(None),
                    Plan::Codes => self.compare_all(num_compared, matches.iter(), scratch),
                    Plan::SearchAmong(ef) => self.search_among(ef, matches, scratch)?,
                    Plan::Search(ef) => self.search(ef, scratch)?,
                }
                match plan {
                    Plan::Codes => {
                        let rows = scratch.pool.iter().map(|(row, _)| matches.row_id(row));
                        Ok(Some(rows.take(num_compared).collect()))
                    }
                    _ => self.rows_of_nodes(scratch, k, num_compared, matches).map(Some),
                }
            })?;
            if rows.as_ref().is_none_or(|rows| rows.len() >= wanted) {
                return Ok(rows);
            }
            // The rows that match are not where the query is.
            ef = ef.saturating_mul(4);
        }
    }

    /// The rows that match of the best nodes in the pool, `max` nodes with any. All rows of a node are equally good, so
    /// it gives at most its first `k`. Of all nodes together at most [`COPIES`] times as many are not the first.
    fn rows_of_nodes(
        &self,
        scratch: &Scratch,
        k: usize,
        max: usize,
        matches: &Matches<'_>,
    ) -> Result<Vec<RowId>, Damage> {
        let mut rows = Vec::with_capacity(max.min(matches.len() as usize));
        let (mut nodes, mut room) = (0, max.saturating_mul(COPIES));
        for (node, _) in scratch.pool.iter() {
            if nodes == max {
                break;
            }
            let before = rows.len();
            for row in self.links.copies(node) {
                let row = row?;
                if matches.contains(row) {
                    rows.push(matches.row_id(row));
                    let found = rows.len() - before;
                    if found == k || found > room {
                        break;
                    }
                }
            }
            nodes += usize::from(rows.len() > before);
            room -= room.min((rows.len() - before).saturating_sub(1));
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few rows are compared, among many the graph is searched, and a huge ef ends in a comparison.
    #[test]
    fn plans_follow_numbers() {
        let million = 1_000_000;
        for (num_matches, num_rows, ef, expected) in [
            (0, 10, 10, Plan::Vectors),
            (800, million, 100, Plan::Vectors),
            (801, million, 100, Plan::Codes),
            (9_600, million, 100, Plan::Codes),
            (10_000, million, 100, Plan::SearchAmong(150)),
            (300_000, million, 100, Plan::SearchAmong(150)),
            (500_000, million, 100, Plan::Search(200)),
            (million, million, 100, Plan::Search(100)),
            (million, million, 124_999, Plan::Search(124_999)),
            (million, million, 125_000, Plan::Vectors),
            (2000, 2000, 100, Plan::Search(100)),
            (1999, 2000, 100, Plan::Codes),
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
