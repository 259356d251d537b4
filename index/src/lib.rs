//! Vectors and tokens in, hits out: the exact and the approximate vector index, the BM25 index and the database
//! directory of secateur.
//!
//! # Overview of types
//!
//! [`Store`](storage::Store) is a database opened for writing, and a [`Transaction`](storage::Transaction) of it adds
//! and deletes documents. [`Snapshot`](storage::Snapshot) is the database as one commit left it, for reading.
//! [`Settings`](storage::Settings) say what is fixed at creation: the [`Metric`], the [`ComponentType`] that vectors
//! are stored with, and the [`VectorIndex`](storage::VectorIndex). A [`Generation`](storage::Generation) is a set of
//! vectors of all documents under one encoder.
//!
//! [`VectorSearch`](search::VectorSearch) is the trait through which all vectors are searched; its answers are
//! [`Hit`]s, each a [`RowId`] with a score. [`FlatIndex`](flat::FlatIndex) compares every vector.
//! [`DeviceIndex`](flat::DeviceIndex) does so with the help of a GPU.
//! [`ApproximateIndex`](search::ApproximateIndex) compares the vectors of [`Candidates`], which a
//! [`Graph`](hnsw::Graph) or an index of another library ([`backends`]) finds. All of them read quantized vectors first
//! ([`quantization`]). [`Bm25Index`](bm25::Bm25Index) ranks texts. A [`Filter`](filter::Filter) on metadata gives a
//! [`Bitmap`] of the rows that either search may find.
//!
//! # Storeys
//!
//! A module names those above it in this table, and none below it (`scripts/laws` checks it).
//!
//! ```text
//! ground        error, names, metric, bitmap, metadata (what can be read), strings, pages, rows (components of 32 or 16 bits), vectors (what is accepted), topk
//! kernel        products and distances of vectors, by instruction set
//! file_format   what database files are made of: header, sections, checksums, maps
//! quantization  codes of 8 bits or of one a component, their kernels and their file
//! flat          exact search
//! candidates    the trait that finds candidates, and which rows may be found
//! search        the trait of all vector indexes; approximate search; recall
//! format        the trait that builds an index and opens its files
//! hnsw          our own graphs
//! backends      indexes of other libraries, for comparison
//! vector_index  the list of all kinds of index, and their settings
//! bm25          lexical search with Lucene's BM25 over tantivy's postings
//! filter        conditions on the metadata of documents
//! storage       the database directory: immutable segments, one atomically replaced manifest
//! ```
//!
//! Letters used throughout the crate: N rows, D dimensions, Q queries, k hits asked for. A higher score is better.
//! Every ranking is the total order *score descending, then row ascending*, so results do not depend on the number of
//! threads. Work runs on the caller's current rayon pool; nothing here starts threads.
//!
//! This crate knows no tokenizer of a model and no tensor: slices of `f32` and strings cross its border.

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
pub mod metadata;
pub mod quantization;
pub mod search;
pub mod storage;

mod bitmap;
mod candidates;
mod damage;
mod error;
mod file_format;
mod format;
mod kernel;
mod metadata_fault;
mod metric;
mod pages;
mod rows;
mod strings;
#[cfg(test)]
mod testing;
mod topk;
mod vector_index;
mod vectors;

pub use bitmap::Bitmap;
pub use candidates::{Candidates, Matches};
pub use error::{Damage, Error, Result};
pub use metric::Metric;
pub use rows::ComponentType;
pub use topk::{Hit, RowId};
