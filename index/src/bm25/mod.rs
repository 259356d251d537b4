//! Lexical search: Lucene's BM25 over postings kept by tantivy.
//!
//! tantivy encodes, stores, merges and decodes the postings, which are collected here. The scores are ours, because
//! tantivy fixes k1 and b when a segment is written. Here both are arguments of each search ([`Bm25Params`]).
//!
//! For a query with terms t, each occurring qₜ times in it (Robertson & Zaragoza 2009, "The Probabilistic Relevance
//! Framework: BM25 and Beyond", eq. 3.15, as Lucene 8 and later computes it, without the constant factor k1 + 1):
//!
//! ```text
//! score(d) = Σₜ qₜ · idf(t) · tf / (tf + k1 · (1 - b + b · dl / avgdl))
//! idf(t)   = ln(1 + (N - n + 0.5) / (n + 0.5))
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | tf | occurrences of t in d |
//! | n | documents that contain t |
//! | N | documents with at least one term |
//! | dl | number of terms of d, rounded as Lucene stores it in one byte |
//! | avgdl | mean number of terms (not rounded) over the N documents |
//!
//! All statistics are those of the documents that are alive, summed over all segments. So deleting a document gives the
//! scores of a database that never held it.
//!
//! The statistics are integers ([`Bm25Statistics`]). So those of several indexes add up to those of one index of all
//! documents. Searched with the sums, each index gives its documents the scores that they have in that one.

mod analysis;
mod folder;
mod index;
pub(crate) mod lengths;
mod mapped;
mod one_name;
mod postings;
mod schema;
mod segment;
mod statistics;
mod terms;
#[cfg(test)]
mod tests;
mod writer;

pub use analysis::Analyzer;
pub use index::{Bm25Index, Bm25Options, Bm25Params};
pub(crate) use mapped::MappedFiles;
pub(crate) use segment::Bm25Segment;
pub use statistics::Bm25Statistics;
pub(crate) use writer::Bm25Writer;
