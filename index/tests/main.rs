//! Tests of the index crate through its public API.

/// Databases whose graphs are left to another library.
mod backends;
/// BM25 rankings of public collections against published figures.
mod bm25_ndcg;
/// Compaction.
mod churn;
mod columns;
/// Vectors of 16 bits.
mod components;
/// A writer killed at random moments.
mod crash;
/// Databases with damaged, missing and newer files.
mod damage;
/// Documents that are stored and refused.
mod documents;
/// Writing to a full disk.
mod full_disk;
/// Generations, and older formats.
mod generations;
/// The journal of embeddings.
mod journal;
/// Writers, readers and locks.
mod locking;
/// Analyzers against Lucene.
mod lucene;
/// The store against a map.
mod model;
/// Where files of segments lie.
#[path = "../../tests/support/segment.rs"]
mod segment;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use secateur_index::storage::{NewDocument, Snapshot};

/// A document with text only.
fn document<'a>(id: &'a str, text: &'a str) -> NewDocument<'a> {
    NewDocument { id, title: "", text, metadata: None }
}

/// Opens a database again and again in another thread and looks at it, until all is written; how many times.
fn while_reading(path: &Path, mut look: impl FnMut(Snapshot) + Send, write: impl FnOnce()) -> usize {
    /// Tells the reader to stop, also when writing fails.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !is_done.load(Ordering::Relaxed) {
                look(Snapshot::open(path).unwrap());
                looks += 1;
            }
            looks
        });
        {
            let _done = Done(&is_done);
            write();
        }
        reader.join().unwrap()
    })
}

/// A small generator of repeatable random numbers (Knuth's MMIX constants; the upper bits are returned).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
