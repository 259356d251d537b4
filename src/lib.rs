//! An embedded retrieval database whose text encoder can be pruned.
//!
//! ```text
//! datasets ──texts──► encoders ──embeddings──► index ──hits──► search / fusion ──run──► eval ──► report
//! ```
//!
//! # Overview of types
//!
//! In the order in which a program meets them:
//!
//! - A [`Document`] is an id, a title, a text and metadata.
//! - An [`Encoder`] turns texts into vectors. It is a model directory loaded with [`LoadOptions`], or
//!   [`encode::default_encoder`], which is in the box.
//! - A [`DatabaseBuilder`] makes a database: empty, or of a whole corpus in one go that survives interruption.
//! - A [`Database`] is a folder of documents, their vectors and a BM25 index. It is opened by any number of processes
//!   and changed by one at a time.
//! - [`SearchParams`] say what is asked for: a [`SearchMode`] (by meaning, by words, or both), a number of hits, a
//!   [`Filter`] on metadata.
//! - A [`Hit`] is an answer: the id of a document and a score, higher is better.
//! - A [`Metric`] compares vectors, and a [`VectorIndex`] searches them.
//!   [`VectorOptions`](database::VectorOptions) hold these, and how vectors are made and stored.
//! - An [`EncoderRecord`](database::EncoderRecord) is what a database remembers of its encoder.
//!   [`Database::open_with`] loads it again.
//! - A generation is all documents under one more encoder: [`Database::add_generation`], [`Database::generation`].
//! - An [`Error`] says what is wrong and what to do. Its [`ErrorKind`] says who can do it: the system, the caller,
//!   whoever made the input, or whoever keeps the database.
//!
//! These names are at the root, because a first program needs them. The rest is in modules by task. [`mod@database`]
//! has what goes into its methods and what comes out, and [`mod@error`] what to print of an error. The others
//! [`encode`] texts, [`search`] and [`fusion`], [`train`] and [`prune`] encoders, [`eval`]uate rankings as trec_eval
//! does, [`compare`] and [`report`] them. [`shards`] divide a corpus over several databases. [`mod@bench`] measures
//! encoders side by side, and [`swap`] puts another one in the place of the one that serves. [`datasets`],
//! [`encoders`] and [`index`] are the three crates below, for programs that need one of them alone.
//!
//! ```
//! use secateur::datasets::beir::BeirFolder;
//! use secateur::{Database, SearchMode, SearchParams};
//! use secateur::eval::{Measure, RuleSet, evaluate};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("db");
//!
//! // A BEIR folder goes in. With an `encoder` every document gets a vector too.
//! let dataset = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
//! let database = Database::builder(&path).build_from(dataset.corpus()?, |_| {})?;
//!
//! // Queries are answered.
//! let qrels = dataset.qrels("test")?;
//! let queries = dataset.judged_queries(&qrels)?;
//! let params = SearchParams { k: 100, ..SearchParams::new(SearchMode::Bm25) };
//! let run = database.run(&queries, &params)?;
//!
//! // nDCG@10 comes out.
//! let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false))?;
//! assert!(evaluation.means[0] > 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod bench;
pub mod compare;
pub mod database;
pub mod effir;
pub mod encode;
pub mod error;
pub mod eval;
pub mod fusion;
pub mod measure;
mod npy;
mod number;
mod options;
pub mod progress;
pub mod prune;
pub mod report;
pub mod search;
mod shard_error;
pub mod shards;
pub mod statistics;
pub mod swap;
mod table;
pub mod train;
mod training_error;

pub use secateur_datasets as datasets;
pub use secateur_encoders as encoders;
pub use secateur_index as index;

pub use database::{Database, DatabaseBuilder};
pub use error::{Error, Result};
pub use search::{Hit, SearchMode, SearchParams};
pub use secateur_datasets::Document;
pub use secateur_encoders::{Encoder, LoadOptions};
pub use secateur_files::ErrorKind;
pub use secateur_index::Metric;
pub use secateur_index::filter::Filter;
pub use secateur_index::storage::VectorIndex;

/// The programs of the documents, compiled and run as tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/GUIDE.md")]
    mod guide {}
}
