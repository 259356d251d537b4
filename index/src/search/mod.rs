//! Searching vectors, whatever the index: one trait, and the rules that hold for all of its implementors.
//!
//! Hits are scored with the vectors themselves, bit for bit as [`FlatIndex`] scores them, and ranked by score, then row. Rows
//! that are deleted or that the filter leaves out are never among them, and there are always min(k, matches): what an
//! approximate index does not find is searched exactly. A query that cannot be searched with is an error.

mod approximate;
mod options;
mod recall;
mod vector_search;

pub use approximate::ApproximateIndex;
pub use options::SearchOptions;
pub(crate) use options::check_ef_search;
pub use recall::{InvalidCurve, Recall, RecallCurve};
pub use vector_search::VectorSearch;
