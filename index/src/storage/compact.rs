//! Compaction: segments become fewer, and deleted rows leave them.
//!
//! Only small segments are merged unasked (`merge.rs`), so that a commit costs little more than what it adds. The
//! caller chooses the time of a compaction.

use std::ops::Range;

use super::embeddings::{GenerationFiles, live_size_of};
use super::rewrite::Rewriting;
use super::segment_writer::BM25_BUDGET;
use super::settings::VectorSettings;
use super::snapshot::SegmentView;
use super::store::Store;
use crate::error::Result;
use crate::format::MAX_ROWS;
use crate::quantization::int8::Meta;

/// What a compaction may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactOptions {
    /// Memory in bytes, besides the mapped files. It bounds the rows of a written segment, because a graph is built
    /// in memory. With less memory more segments remain.
    pub memory_budget: u64,
}

impl Default for CompactOptions {
    /// 2 GiB: 2.7 million rows of 384 dimensions with a graph of M 16.
    fn default() -> CompactOptions {
        CompactOptions { memory_budget: 2 << 30 }
    }
}

impl CompactOptions {
    /// The most rows of a segment that is written, and the memory for its postings.
    fn limits(&self, generations: &[GenerationFiles]) -> (u32, usize) {
        // A quarter for postings, the rest for what grows with the rows.
        let postings = (self.memory_budget / 4).clamp(MIN_POSTINGS, BM25_BUDGET as u64);
        let rows = self.memory_budget.saturating_sub(postings) / bytes_per_row(generations);
        (u32::try_from(rows).unwrap_or(u32::MAX).clamp(MIN_ROWS, MAX_ROWS as u32), postings as usize)
    }
}

/// Segments have at least this many rows, however small the budget: many small segments would make every search slow.
const MIN_ROWS: u32 = 1024;

/// However small the budget: with less, postings would go to disk document by document.
const MIN_POSTINGS: u64 = 16 << 20;

/// An id of 32 bytes, two offsets, 20 bytes while ids are sorted, and a length. Postings are merged at the same time,
/// by 16 bytes: 88 together. While an index is built only the offsets and the length are there. To these comes what a
/// row takes in the index, or the part of its code that is not written at once.
fn bytes_per_row(generations: &[GenerationFiles]) -> u64 {
    // One index is built after the other.
    let of_vectors = generations.iter().map(|generation| {
        let VectorSettings { components, dim, index, .. } = generation.settings;
        index.format().map_or(size_of::<Meta>(), |format| format.bytes_per_row(components, dim))
    });
    64 + of_vectors.max().unwrap_or(0).max(24) as u64
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Segments before and after; the same if there was nothing to do.
    pub num_segments: [usize; 2],
    /// Rows before and after: without those of deleted documents.
    pub num_rows: [usize; 2],
    /// Bytes of all segments' files, before and after.
    pub num_bytes: [u64; 2],
}

impl CompactReport {
    /// Whether there was something to do.
    pub fn has_changed(&self) -> bool {
        self.num_segments[0] != self.num_segments[1] || self.num_rows[0] != self.num_rows[1]
    }
}

/// What becomes of segments that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Keep(usize),
    Rewrite(Range<usize>),
}

/// Divides segments into those that stay and those that are rewritten, in the order of their rows. A segment is given
/// by its live size ([`live_size_of`]) and by whether it has deleted rows. As many segments are rewritten together as
/// `max_rows` allows.
fn plan(segments: &[(u32, bool)], max_rows: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut start = 0;
    while start < segments.len() {
        let (mut end, mut total) = (start, 0);
        // The rows of the last segment that is written; those before it are full.
        let open = |total: u64| match total % u64::from(max_rows) {
            0 if total > 0 => u64::from(max_rows),
            rest => rest,
        };
        let stays = |end: usize| end == start + 1 && !segments[start].1;
        while end < segments.len()
            && (end == start || open(total) + u64::from(segments[end].0) <= u64::from(max_rows))
            && !(stays(end) && total > u64::from(max_rows))
        {
            total += u64::from(segments[end].0);
            end += 1;
        }
        steps.push(if stays(end) { Step::Keep(start) } else { Step::Rewrite(start..end) });
        start = end;
    }
    steps
}

impl Store {
    /// Rewrites segments, several as one, without the rows of deleted documents. Documents and vectors are copied,
    /// postings merged, and graphs built, in parallel on the current rayon pool. `progress` is called as the rows of a
    /// new segment are copied, with the number of those and of all rows to be written. The documents keep their order
    /// and get new row numbers.
    ///
    /// The manifest is replaced at the end. A compaction that is stopped before leaves the database as it was, and
    /// the next writer removes what was written. After the manifest the old segments are removed. Snapshots that were
    /// opened before keep working. On Unix the space of a file comes back when its last reader has closed it. On
    /// Windows a mapped file cannot be removed, and the next writer tries again.
    ///
    /// ```
    /// use secateur_index::storage::{NewDocument, Settings, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
    /// for id in ["a", "b", "c"] {
    ///     let mut transaction = store.begin()?;
    ///     transaction.add(&NewDocument { id, title: "", text: "cats", metadata: None }, None)?;
    ///     transaction.commit()?;
    /// }
    /// let mut transaction = store.begin()?;
    /// transaction.delete("b")?;
    /// transaction.commit()?;
    /// let report = store.compact(&Default::default(), |_, _| {})?;
    /// assert_eq!((report.num_segments, report.num_rows), ([2, 1], [2, 2]));
    /// assert_eq!(store.snapshot().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if a file to be rewritten is damaged. Every such file is compared with
    /// its checksum first, so that damaged bytes do not get a valid one. [`Error::Io`](crate::Error::Io),
    /// [`Error::Bm25`](crate::Error::Bm25). After an error the database is as it was.
    pub fn compact(
        &mut self,
        options: &CompactOptions,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<CompactReport> {
        let before = self.snapshot().clone();
        let views = before.views();
        let generations = self.generation_files();
        let (max_rows, postings) = options.limits(&generations);
        let sizes: Vec<(u32, bool)> = before
            .manifest()
            .segments
            .iter()
            .map(|record| (live_size_of(record, &generations), record.num_deleted() > 0))
            .collect();
        let steps = plan(&sizes, max_rows);
        let live = |view: &SegmentView| (view.segment.rows() - view.deleted.len()) as usize;
        let total = steps.iter().map(|step| match step {
            Step::Keep(_) => 0,
            Step::Rewrite(range) => views[range.clone()].iter().map(live).sum(),
        });
        let mut rewriting =
            Rewriting::new(self, generations, max_rows, 0).with_postings(postings).with_total(total.sum());
        let mut segments = Vec::new();
        for step in &steps {
            match step {
                Step::Keep(number) => segments.push(before.manifest().segments[*number].clone()),
                Step::Rewrite(range) => {
                    segments.extend(rewriting.rewrite(&views[range.clone()], &mut progress)?)
                }
            }
        }
        let folders = rewriting.into_folders();
        let mut manifest = before.manifest().clone();
        if segments != manifest.segments {
            manifest.commit += 1;
            manifest.segments = segments;
            self.replace_manifest(manifest, folders)?;
            self.remove_segments_of(&before);
        }
        let after = self.snapshot();
        Ok(CompactReport {
            num_segments: [before.num_segments(), after.num_segments()],
            num_rows: [before.num_rows(), after.num_rows()],
            num_bytes: [before.num_bytes(), after.num_bytes()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::HnswParams;
    use crate::metric::Metric;
    use crate::vector_index::VectorIndex;
    use proptest::prelude::*;

    #[test]
    fn plans_by_hand() {
        use Step::{Keep, Rewrite};
        for (segments, expected) in [
            (&[][..], vec![]),
            (&[(5, false)], vec![Keep(0)]),
            (&[(5, true)], vec![Rewrite(0..1)]),
            (&[(0, true), (0, true)], vec![Rewrite(0..2)]),
            (&[(5, false), (5, false)], vec![Rewrite(0..2)]),
            (&[(5, false), (6, false)], vec![Keep(0), Keep(1)]),
            (&[(5, false), (6, true), (4, false), (1, false)], vec![Keep(0), Rewrite(1..3), Keep(3)]),
            (&[(50, false), (50, true), (1, false)], vec![Keep(0), Rewrite(1..2), Keep(2)]),
            (&[(53, false), (53, true), (1, false)], vec![Keep(0), Rewrite(1..3)]),
        ] {
            assert_eq!(plan(segments, 10), expected, "{segments:?}");
        }
    }

    proptest! {
        /// Every segment is in one step, in order. A second compaction changes nothing.
        #[test]
        fn plans_come_to_rest(segments in prop::collection::vec((0u32..30, any::<bool>()).prop_filter("none is empty", |(rows, is_deleted)| *is_deleted || *rows > 0), 0..12), max_rows in 1u32..30) {
            let steps = plan(&segments, max_rows);
            let mut covered = Vec::new();
            let mut left = Vec::new();
            for step in &steps {
                match step {
                    Step::Keep(number) => {
                        covered.push(*number);
                        left.push(segments[*number].0);
                    }
                    Step::Rewrite(range) => {
                        covered.extend(range.clone());
                        let rows: u32 = segments[range.clone()].iter().map(|(rows, _)| rows).sum();
                        left.extend((0..rows.div_ceil(max_rows)).map(|part| max_rows.min(rows - part * max_rows)));
                    }
                }
            }
            prop_assert_eq!(covered, (0..segments.len()).collect::<Vec<_>>());
            let left: Vec<(u32, bool)> = left.into_iter().map(|rows| (rows, false)).collect();
            let again = plan(&left, max_rows);
            prop_assert!(again.iter().all(|step| matches!(step, Step::Keep(_))), "{:?}", again);
        }
    }

    /// The budget of the documentation, and none at all.
    #[test]
    fn budgets_bound_rows() {
        let index = VectorIndex::hnsw(HnswParams::default());
        let settings = VectorSettings { index, ..VectorSettings::new(Metric::Cosine, 384) };
        let settings = [GenerationFiles { id: 0, settings }];
        let (rows, postings) = CompactOptions::default().limits(&settings);
        assert!((2_600_000..2_800_000).contains(&rows), "{rows}");
        assert_eq!(postings, BM25_BUDGET);
        assert_eq!(CompactOptions { memory_budget: 0 }.limits(&settings), (MIN_ROWS, MIN_POSTINGS as usize));
        let all = CompactOptions { memory_budget: u64::MAX };
        assert_eq!(all.limits(&settings).0 as usize, MAX_ROWS);
    }
}
