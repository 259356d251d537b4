//! Indexes of other libraries, for comparison and for those who trust them.
//!
//! They find candidates and nothing else: scores, ranking, filters and the number of hits are those of
//! [`search`](crate::search), and what a library does not find is searched exactly.

mod faiss;
mod hnsw_rs;
mod library;
mod space;

pub use faiss::{FaissIndex, FaissKind};
pub use hnsw_rs::{HnswRsGraph, HnswRsParams};

#[cfg(test)]
mod tests;
