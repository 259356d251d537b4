//! Searching vectors, whatever the index: one trait, and the rules that hold for all of its implementors.
//!
//! Hits are scored with the vectors themselves, bit for bit as [`FlatIndex`](crate::flat::FlatIndex) scores them, and
//! ranked by score, then row. Deleted rows and rows that the filter leaves out are never hits. There are always
//! min(k, matches) hits: if an approximate index finds fewer, the rest is searched exactly. An invalid query is an
//! error.

mod approximate;
mod by_document;
mod options;
mod passages;
mod recall;
mod vector_search;

pub use approximate::ApproximateIndex;
pub(crate) use by_document::ByDocument;
pub use options::SearchOptions;
pub(crate) use options::check_ef_search;
pub(crate) use passages::Passages;
pub use recall::{InvalidCurve, Recall, RecallCurve, tune_scores};
pub use vector_search::VectorSearch;
