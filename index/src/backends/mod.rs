//! Indexes of other libraries, for comparison and for those who trust them.
//!
//! They find candidates and nothing else: scores, ranking, filters and the number of hits are those of
//! [`search`](crate::search), and what a library does not find is searched exactly.

mod hnsw_rs;

pub use hnsw_rs::HnswRsGraph;

/// The least length of a walk, in rows that may be found: a shorter list is compared as a whole, which takes no longer.
/// Our own walks are given up for comparisons at the same point (`hnsw::plan`).
const ROWS_PER_KEPT: u64 = 8;

#[cfg(test)]
mod tests;
