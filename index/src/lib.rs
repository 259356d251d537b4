//! Vectors and tokens in, hits out: the exact and the approximate vector index, the BM25 index and the database directory of secateur.
//!
//! ```text
//! storage   the database directory: immutable segments, one atomically replaced manifest
//! flat      exact search over rows of f32, f16 or bf16: inner product, cosine, L2
//! hnsw      approximate search of the same rows by walking a graph
//! backends  the same with indexes of other libraries, for comparison
//! search    the trait that all of them are searched through
//! bm25      lexical search with Lucene's BM25 over tantivy's postings
//! filter    conditions on the metadata of documents, which every search can be given
//! ```
//!
//! Letters used throughout the crate: N rows, D dimensions, Q queries, k hits asked for. Every score is "higher is
//! better" and every ranking is the total order *score descending, then row ascending*, so results are the same
//! whatever the number of threads. Work runs on the caller's current rayon pool; nothing here starts threads.
//!
//! This crate knows no tokenizer of a model and no tensor: slices of `f32` and strings cross its border.

#![warn(unnameable_types)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(target_endian = "big")]
compile_error!(
    "the database files hold little-endian numbers that are searched where they lie; big-endian hosts are not supported"
);

pub mod backends;
pub mod bm25;
pub mod filter;
pub mod flat;
pub mod hnsw;
pub mod quantization;
pub mod search;
pub mod storage;

mod bitmap;
mod error;
mod file_format;
mod kernel;
mod metric;
mod pages;
mod random;
mod rows;
#[cfg(test)]
mod testing;
mod topk;
mod vectors;

pub use bitmap::Bitmap;
pub use error::{Damage, Error, Result};
pub use metric::{Metric, UnknownMetric};
pub use rows::{ComponentType, UnknownComponentType};
pub use topk::{Hit, RowId};
