//! Automatic merging: a thousand commits of one document each do not leave a thousand segments.
//!
//! A commit merges the newest segments when [`FANOUT`] of them are of one size class. A class is eight times as large
//! as the one below. So a row is written again once in each class, at most five times, and a commit writes at
//! most [`MAX_ROWS`] rows besides its own. No index is built for that: segments that would get one are left to
//! [`Store::compact`](super::Store::compact). Segments without a live row are dropped, which costs nothing. Where
//! documents have several vectors, vectors are counted in place of rows.

use std::ops::Range;

use super::embeddings::{GenerationFiles, live_size_of};
use super::manifest::{Manifest, SegmentRecord};
use super::rewrite::Rewriting;
use super::snapshot::Snapshot;
use super::store::{NewFolders, Store};
use crate::error::Result;

/// So many segments of one class become one.
const FANOUT: usize = 8;

/// The most rows of a segment that is merged unasked: seconds of work would not go unnoticed.
const MAX_ROWS: u32 = 8192;

/// The class of a segment with so many live rows: 0 below 8, 1 below 64, ...
fn class(rows: u32) -> u32 {
    rows.max(1).ilog(FANOUT as u32)
}

/// The segments at the end that are due, given by their live rows.
fn due(sizes: &[u32], max_rows: u32) -> Option<Range<usize>> {
    let top = class(max_rows);
    (0..=top).rev().find_map(|largest| {
        let len = sizes.iter().rev().take_while(|rows| class(**rows) <= largest).count();
        let range = sizes.len() - len..sizes.len();
        let of_class = sizes[range.clone()].iter().filter(|rows| class(**rows) == largest).count();
        let total: u64 = sizes[range.clone()].iter().map(|rows| u64::from(*rows)).sum();
        (of_class >= FANOUT && total <= u64::from(max_rows)).then_some(range)
    })
}

/// The most rows of a merged segment: too few for an index.
fn max_rows(generations: &[GenerationFiles]) -> u32 {
    let indexed = generations.iter().filter_map(|generation| generation.settings.index.fewest_rows());
    indexed.map(|fewest| fewest.saturating_sub(1)).fold(MAX_ROWS, u32::min)
}

impl Store {
    /// The manifest without segments that have no live row, and with those merged that are due; and the folders that
    /// it names. If merging fails, nothing is merged: what is to be committed does not depend on it.
    pub(super) fn tidied(&self, mut manifest: Manifest, mut folders: NewFolders) -> (Manifest, NewFolders) {
        manifest.segments.retain(|segment| segment.num_deleted() < segment.rows);
        let known = &self.snapshot().manifest().segments;
        let is_new = |segment: &SegmentRecord| !known.iter().any(|known| known.folder == segment.folder);
        if !manifest.segments.iter().any(is_new) {
            // What the transaction added, it has deleted again.
            folders = NewFolders::default();
        }
        let generations = self.generation_files();
        let sizes: Vec<u32> =
            manifest.segments.iter().map(|segment| live_size_of(segment, &generations)).collect();
        let Some(range) = due(&sizes, max_rows(&generations)) else { return (manifest, folders) };
        if let Ok(Some((record, merged))) = self.merged(&manifest, range.clone(), generations) {
            manifest.segments.splice(range, [record]);
            // The segment that the commit wrote is in the merged one, and its folder goes.
            folders = merged;
        }
        (manifest, folders)
    }

    fn merged(
        &self,
        manifest: &Manifest,
        range: Range<usize>,
        generations: Vec<GenerationFiles>,
    ) -> Result<Option<(SegmentRecord, NewFolders)>> {
        let snapshot = Snapshot::load(self.snapshot().path(), manifest.clone(), self.snapshot().views())?;
        // Whatever the segments hold becomes one.
        let mut rewriting = Rewriting::new(self, generations, u32::MAX, 1);
        let records = rewriting.rewrite(&snapshot.views()[range], &mut |_, _| {})?;
        Ok(records.into_iter().next().map(|record| (record, rewriting.into_folders())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::VectorSettings;
    use super::*;
    use crate::hnsw::HnswParams;
    use crate::metric::Metric;
    use crate::vector_index::VectorIndex;

    #[test]
    fn classes_by_hand() {
        for (rows, expected) in [(0, 0), (1, 0), (7, 0), (8, 1), (63, 1), (64, 2), (4096, 4), (8192, 4)] {
            assert_eq!(class(rows), expected, "{rows}");
        }
    }

    #[test]
    fn what_is_due() {
        let ones = |count: usize| vec![1; count];
        assert_eq!(due(&ones(7), MAX_ROWS), None);
        assert_eq!(due(&ones(8), MAX_ROWS), Some(0..8));
        assert_eq!(due(&[vec![64], ones(7)].concat(), MAX_ROWS), None);
        assert_eq!(due(&[vec![64], ones(8)].concat(), MAX_ROWS), Some(1..9));
        // Eight of a class take the smaller ones behind them along.
        assert_eq!(due(&[vec![8; 8], ones(3)].concat(), MAX_ROWS), Some(0..11));
        assert_eq!(due(&[vec![100_000], vec![4096; 8]].concat(), MAX_ROWS), None);
    }

    /// Segments that are too large to be merged do not keep the small ones behind them from it.
    #[test]
    fn indexes_bound_what_is_merged() {
        let settings = |index| GenerationFiles {
            id: 0,
            settings: VectorSettings { index, ..VectorSettings::new(Metric::Cosine, 2) },
        };
        let hnsw = VectorIndex::hnsw(HnswParams::default());
        assert_eq!(max_rows(&[settings(VectorIndex::Flat)]), MAX_ROWS);
        assert_eq!(max_rows(&[settings(VectorIndex::Flat), settings(hnsw)]), 1023);
        assert_eq!(max_rows(&[settings(hnsw.with_min_rows(1))]), 0);
        let mut sizes = Vec::new();
        for _ in 0..5000 {
            sizes.push(1);
            if let Some(range) = due(&sizes, 1023) {
                let total: u32 = sizes[range.clone()].iter().sum();
                sizes.splice(range, [total]);
            }
            assert!(sizes.len() <= 35, "{sizes:?}");
        }
    }

    /// Of single commits few segments are left, and each row is written a few times.
    #[test]
    fn merging_is_logarithmic() {
        let (mut sizes, mut rewritten, mut most) = (Vec::new(), 0u64, 0);
        for _ in 0..100_000 {
            sizes.push(1);
            if let Some(range) = due(&sizes, MAX_ROWS) {
                let total: u32 = sizes[range.clone()].iter().sum();
                rewritten += u64::from(total);
                sizes.splice(range, [total]);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 60, "{most} segments");
        assert!(rewritten <= 500_000, "{rewritten} rows");
    }
}
