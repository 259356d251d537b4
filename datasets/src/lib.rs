//! Readers and writers of the retrieval field's file formats: BEIR folders, TREC judgments and runs, training examples.
//!
//! Everything streams: a corpus larger than memory can be read, and files may be plain, `.gz` or `.zst`. Whatever is
//! wrong with a file is an [`Error`] that names the file and the line.
//!
//! ```
//! use secateur_datasets::{beir::BeirFolder, trec};
//!
//! # fn main() -> secateur_datasets::Result<()> {
//! # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
//! # let output = tempfile::tempdir().unwrap();
//! let folder = BeirFolder::open(mini)?;
//! let qrels = folder.qrels(&folder.default_split()?)?;
//! let queries = folder.judged_queries(&qrels)?;
//! assert_eq!(queries.len(), qrels.len());
//!
//! // The same judgments as trec_eval reads them.
//! let path = output.path().join("mini.qrels");
//! trec::write_qrels(&path, &qrels)?;
//! assert_eq!(trec::read_qrels(&path)?, qrels);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod beir;
mod checked;
mod corpus_files;
mod document;
mod entry;
mod error;
mod fault;
mod info;
mod judgment;
pub mod known_datasets;
pub mod layout;
mod reader;
mod record;
pub mod source;
mod texts;
pub mod trec;
pub mod triples;
mod verify;
mod writer;

pub use checked::CheckedDocuments;
pub use document::{Document, Passage, Qrels, Query, Run, ScoredDocument};
pub use error::{Error, Result};
pub use fault::{Fault, Severity};
pub use info::{Info, SplitInfo};
pub use reader::{Lines, open, read_text};
pub use texts::Texts;
pub use verify::{Finding, Verdict};
