//! Automatic merging: a thousand commits of one document each do not leave a thousand segments.
//!
//! A commit merges the newest segments when [`FANOUT`] of them are of one size class. A class is eight times as large
//! as the one below. So a row is written again once in each class, at most five times, and a commit writes at
//! most [`MAX_ROWS`] rows besides its own. No index is built for that: segments that would get one are left to
//! [`Store::compact`](super::Store::compact). Segments without a live row are dropped, which costs nothing.

use std::ops::Range;

use super::compact::Rewriting;
use super::manifest::{Manifest, SegmentRecord};
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

fn num_deleted(segment: &SegmentRecord) -> u32 {
    segment.deleted.iter().map(|word| word.count_ones()).sum()
}

impl Store {
    /// The manifest without segments that have no live row, and with those merged that are due; and the folders that
    /// it names. If merging fails, nothing is merged: what is to be committed does not depend on it.
    pub(super) fn tidied(&self, mut manifest: Manifest, mut folders: NewFolders) -> (Manifest, NewFolders) {
        manifest.segments.retain(|segment| num_deleted(segment) < segment.rows);
        let known = &self.snapshot().manifest().segments;
        let is_new = |segment: &SegmentRecord| !known.iter().any(|known| known.folder == segment.folder);
        if !manifest.segments.iter().any(is_new) {
            // What the transaction added, it has deleted again.
            folders = NewFolders::default();
        }
        let sizes: Vec<u32> =
            manifest.segments.iter().map(|segment| segment.rows - num_deleted(segment)).collect();
        let Some(range) = due(&sizes, MAX_ROWS) else { return (manifest, folders) };
        match self.merged(&manifest, range.clone()) {
            Ok(Some((record, merged))) => {
                manifest.segments.splice(range, [record]);
                // The segment that the commit wrote is in the merged one, and its folder goes.
                folders = merged;
                (manifest, folders)
            }
            Ok(None) | Err(_) => (manifest, folders),
        }
    }

    fn merged(
        &self,
        manifest: &Manifest,
        range: Range<usize>,
    ) -> Result<Option<(SegmentRecord, NewFolders)>> {
        let generations = self.generation_files();
        let total: u32 =
            manifest.segments[range.clone()].iter().map(|segment| segment.rows - num_deleted(segment)).sum();
        if generations.iter().any(|generation| generation.settings.index.format_for(total).is_some()) {
            return Ok(None);
        }
        let snapshot = Snapshot::load(self.snapshot().path(), manifest.clone(), self.snapshot().views())?;
        let mut rewriting = Rewriting::new(self, generations, MAX_ROWS, 1);
        let records = rewriting.rewrite(&snapshot.views()[range], &mut |_, _| {})?;
        Ok(records.into_iter().next().map(|record| (record, rewriting.into_folders())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
