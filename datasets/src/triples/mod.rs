//! Training examples: a query, the passages that answer it, and passages that do not.
//!
//! Two formats are read, one JSON object a line, plain or compressed:
//!
//! ```text
//! FlagEmbedding  {"query": "...", "pos": ["..."], "neg": ["..."], "pos_scores": [1.5], "neg_scores": [0.1],
//!                 "prompt": "...", "type": "normal"}
//! Tevatron       {"query_id": "...", "query": "...",
//!                 "positive_passages": [{"docid": "...", "title": "...", "text": "...", "score": 1.5}],
//!                 "negative_passages": [...]}
//! ```
//!
//! The first format is written. `query_id`, `pos_ids`, `neg_ids` and `known_pos_ids` stand beside its fields, so that
//! nothing of either format is lost.
//!
//! [`Examples`] reads a file as it is asked for. [`BeirExamples`] makes examples from a BEIR folder,
//! [`ClozeExamples`] from plain texts. [`shuffled`] mixes any stream within a window. [`Batches`] draws batches from
//! several files for training.

mod batches;
mod cloze;
mod example;
mod fields;
mod flag_embedding;
mod from_beir;
mod group;
mod read;
mod shuffle;
mod tevatron;
mod write;

pub use batches::{Batch, BatchOptions, Batches};
pub use cloze::{ClozeExamples, ClozeOptions};
pub use example::TrainingExample;
pub use from_beir::{BeirExamples, BeirOptions};
pub use group::Group;
pub use read::{Examples, Format};
pub use shuffle::{Shuffled, shuffled};
pub use write::{write_examples, write_examples_alone};
