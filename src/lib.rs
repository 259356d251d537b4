//! An embedded retrieval database whose text encoder can be pruned.
//!
//! ```text
//! datasets ──texts──► encoders ──embeddings──► index ──hits──► search / fusion ──run──► eval ──► report
//! ```
//!
//! A [`Database`] is a folder of documents that are found by meaning (an [`Encoder`] makes vectors), by words (BM25) or by
//! both. [`eval`] measures rankings as trec_eval does.
//!
//! ```
//! use secateur::{CreateOptions, Database, SearchMode, SearchParams, beir::BeirFolder, index_corpus};
//! use secateur::eval::{Measure, RuleSet, evaluate};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("db");
//! # let journal = folder.path().join("journal");
//!
//! // A BEIR folder goes in. With an encoder in place of `None` every document gets a vector too.
//! let dataset = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
//! let mut database = Database::create(&path, None, &CreateOptions::default())?;
//! index_corpus(&mut database, dataset.corpus()?, &journal, Default::default(), |_| {})?;
//!
//! // Queries are answered.
//! let qrels = dataset.qrels("test")?;
//! let queries = dataset.judged_queries(&qrels)?;
//! let params = SearchParams { k: 100, ..SearchParams::new(SearchMode::Sparse) };
//! let run = database.run(&queries, &params)?;
//!
//! // nDCG@10 comes out.
//! let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false))?;
//! assert!(evaluation.means[0] > 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod corpus;
mod database;
mod default_encoder;
pub mod effir;
mod error;
pub mod eval;
pub mod fusion;
mod generation;
mod maintenance;
pub mod measure;
mod npy;
mod options;
pub mod progress;
pub mod prune;
pub mod report;
mod rerank;
mod search;
pub mod train;

pub use corpus::{IndexOptions, encode_to_npy, index_corpus};
pub use database::{CreateOptions, Database};
pub use default_encoder::{DEFAULT_ENCODER, default_encoder, default_encoder_version, write_default_encoder};
pub use error::{Error, Result};
pub use generation::add_generation;
pub use rerank::rerank;
pub use search::{Hit, SearchMode, SearchParams};
pub use secateur_datasets::{
    Document, Error as DatasetError, Passage, Qrels, Query, Run, ScoredDocument, Texts, atomic_write, beir,
    catalog, sync_name, trec, triples, with_suffix,
};
pub use secateur_encoders::{
    CrossEncoder, Device, Encoder, Error as EncoderError, Fingerprint, LoadOptions, NewModelOptions, Pooling,
    Precision, Quantization, Settings, Similarity, TextKind, UnknownName, architecture, catalog as backbones,
    create_model, golden, inspect, model, write_merged, write_quantized,
};
pub use secateur_index::backends::FaissKind;
pub use secateur_index::bm25::Bm25Params;
pub use secateur_index::filter;
pub use secateur_index::hnsw::{HnswParams, WalkCodes};
pub use secateur_index::search::{Recall, RecallCurve};
pub use secateur_index::storage::{CompactOptions, CompactReport, Generation, VectorIndex};
pub use secateur_index::{ComponentType, Error as IndexError, Metric};
