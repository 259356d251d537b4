//! Shard sets: a corpus too large for one database, as several that are built one by one and searched as one.
//!
//! A set is a folder. [`DatabaseBuilder::plan_shards`](crate::DatabaseBuilder::plan_shards) makes it with a plan, which
//! says which documents of the corpus go into which shard. [`ShardPlan::build`] builds one shard, an ordinary database,
//! anywhere and in any order. [`ShardPlan::finish`] checks the shards against each other and writes the set's manifest.
//! [`ShardSet::open`] opens the whole for searching.
//!
//! ```text
//! set/
//!   plan.json      the documents of each shard, counts and checksums; never changed
//!   settings/      an empty database with the settings of all shards
//!   shard-00000/   a database, which appears when it is whole
//!   ...
//!   manifest.json  counts, checksums, generations; written last, by `finish`
//! ```
//!
//! # Why a set answers as one database does
//!
//! The shards are consecutive parts of the corpus. So the order *score, then shard, then row* is that of one database
//! of the same documents, *score, then row*. The first k of all shards' first k hits are its first k.
//!
//! BM25 is searched in two rounds. The statistics of the query's terms are added up over all shards, then each shard is
//! searched with the sums. They are integers, so the sums are exact and the scores the same bits. A hybrid search fuses
//! once, the merged rankings.
//!
//! Approximate indexes are those of the shards, and each finds candidates with the same ef. So the recall of a set is
//! at least about that of one index.
//!
//! ```
//! use secateur::shards::{CorpusSource, ShardSet};
//! use secateur::{Database, Document, Error, SearchParams};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("garden");
//! let corpus = || ["Prune roses.", "Bread rises.", "Bees dance."].into_iter().enumerate().map(|(number, text)| {
//!     Ok::<_, Error>((Document::new(number.to_string(), text), None))
//! });
//! let plan = Database::builder(&path).plan_shards(2, 3, corpus(), CorpusSource::default())?;
//! for number in 0..plan.num_shards() {
//!     plan.build(number, None, corpus(), |_| {})?;
//! }
//! plan.finish()?;
//! let hits = ShardSet::open(&path)?.search("dancing bees", &SearchParams::default())?;
//! assert_eq!(hits[0].doc_id, "2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asking;
mod build;
mod encoder;
mod facts;
mod finish;
mod known;
mod manifest;
mod place;
mod plan;
mod record;
pub mod remote;
mod set;
mod shard;
mod status;
mod tuning;
mod unique;

pub use crate::shard_error::ShardError;
pub use build::Built;
pub use facts::ShardFacts;
pub use finish::SetReport;
pub use manifest::{GenerationRecord, ShardRecord};
pub use place::told_of_sets;
pub use plan::{CorpusSource, DocumentsChecksum, PlannedShard, ShardPlan};
pub use set::{SetOptions, ShardSet};
pub use shard::{FanOut, MissingShard, Shard};
pub use status::{ShardState, ShardStatus};
