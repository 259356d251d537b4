//! Indexes of other libraries, for comparison and for those who trust them.
//!
//! A library only finds candidates. Scores, ranking, filters and the number of hits come from
//! [`search`](crate::search), and rows that a library does not find are searched exactly.

mod faiss;
mod hnsw_rs;
mod library;
mod space;

pub use faiss::{FaissIndex, FaissKind};
pub use hnsw_rs::{HnswRsGraph, HnswRsParams};

#[cfg(test)]
mod tests;
