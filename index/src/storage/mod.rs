//! The database directory: immutable segments and one atomically replaced manifest.
//!
//! ```text
//! db/
//!   LOCK                     held by the one writer
//!   MANIFEST                 what the database holds; replaced as a whole by each commit
//!   segments/0000000001/     the documents of one commit; never changed
//!     documents              id, title, text, metadata of each row
//!     vectors                f32 rows, searched where they lie
//!     codes                  8-bit codes of the rows, which exact search reads first
//!     graph                  neighbors and codes of the rows, in place of `codes`, if the database has an HNSW index
//!     hnsw-rs.hnsw.*         what hnsw_rs keeps of a graph of its own, if the database has such an index
//!     faiss                  what faiss keeps of an index of its own, if the database has such an index
//!     g7/                    vectors, and codes, graph, hnsw-rs.hnsw.* or faiss, of a generation that commit 7 added
//!     lengths                number of terms of each row
//!     bm25/                  postings, a tantivy index of one segment
//!   segments/0000000002.pack the same of a small commit, in one file
//! ```
//!
//! A commit writes a new segment, syncs it, and then replaces the manifest by renaming a synced sibling over it. So a
//! process killed at any moment leaves the old state or the new one. At worst it leaves a segment that no manifest
//! names, and the next writer removes that. Readers take no lock, because a file that a manifest names never changes.
//! If a compaction removes a file, readers that have it mapped read on.
//!
//! `index/FORMAT.md` gives every file byte by byte.

mod batch;
mod columns;
mod compact;
mod documents;
mod embeddings;
#[cfg(all(test, unix))]
pub(crate) mod faults;
mod fields;
mod filtering;
mod generation;
mod generation_writer;
mod indexes;
mod journal;
mod lock;
mod manifest;
mod merge;
mod metadata;
mod new_ids;
mod pack;
mod partial;
mod passages;
mod rewrite;
mod segment;
mod segment_files;
mod segment_writer;
mod settings;
mod snapshot;
mod store;
mod transaction;
mod undo;
mod unfinished;
mod vectors;

pub use compact::{CompactOptions, CompactReport};
pub use documents::{NewDocument, StoredDocument};
pub use fields::FieldCount;
pub use filtering::check_filter_of_fields;
pub use generation::Generation;
pub use generation_writer::GenerationWriter;
pub use journal::EmbeddingJournal;
pub use partial::{partial_folder, place_of_partial};
pub use settings::{EncoderIdentity, Settings, VectorSettings};
pub use snapshot::{Snapshot, VerifyReport};
pub use store::Store;
pub use transaction::Transaction;
pub use undo::Step;
pub use unfinished::Unfinished;

pub use crate::vector_index::{IndexFormat, VectorIndex};

/// The folder of the segments in the database folder.
const SEGMENTS: &str = "segments";

/// What is in a database folder before its manifest stands: a creation that was interrupted leaves no more.
const BEFORE_MANIFEST: [&str; 3] = [lock::FILE_NAME, "MANIFEST.tmp", SEGMENTS];
