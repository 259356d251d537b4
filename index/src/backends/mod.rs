//! Indexes of other libraries, for comparison and for those who trust them.
//!
//! They find candidates and nothing else: scores, ranking, filters and the number of hits are those of
//! [`search`](crate::search), and what a library does not find is searched exactly.

mod faiss;
mod hnsw_rs;
mod space;

pub use faiss::{FaissIndex, FaissKind};
pub use hnsw_rs::HnswRsGraph;

use crate::error::Result;
use crate::search::Matches;
use crate::topk::RowId;

/// The least length of a walk, in rows that may be found: a shorter list is compared as a whole, which takes no longer.
/// Our own walks are given up for comparisons at the same point (`hnsw::plan`).
const ROWS_PER_KEPT: u64 = 8;

/// Rows that hold about the k best of those that may be found; `None` if their vectors are to be compared, all of them.
///
/// `search` finds so many of all rows. Where only some may be found it is asked for more of them.
fn candidates(
    k: usize,
    ef_search: usize,
    matches: &Matches<'_>,
    mut search: impl FnMut(usize) -> Result<Vec<u32>>,
) -> Result<Option<Vec<RowId>>> {
    let num_matches = u64::from(matches.len());
    let wanted = k.min(num_matches as usize);
    if wanted == 0 {
        return Ok(Some(Vec::new()));
    }
    let mut ef = ef_search.max(k) as u64;
    loop {
        let kept = ef.saturating_mul(u64::from(matches.num_rows)) / num_matches;
        if num_matches <= kept.saturating_mul(ROWS_PER_KEPT) {
            return Ok(None);
        }
        let found = search(kept as usize)?;
        let rows = found.into_iter().filter(|row| matches.contains(*row));
        let rows: Vec<RowId> = rows.map(|row| matches.id(row)).collect();
        if rows.len() >= wanted {
            return Ok(Some(rows));
        }
        // The rows that match are not where the query is.
        ef = ef.saturating_mul(4);
    }
}

#[cfg(test)]
mod tests;
