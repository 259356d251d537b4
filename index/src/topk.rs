//! Keeping the k best hits of a stream in bounded memory.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The id of a row: its position in the vector matrix, counted over all segments from 0. It means something only
/// together with the snapshot it came from; users see document ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// One answer: a row and its score, where a higher score is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row found.
    pub row: RowId,
    /// Its score, higher is better.
    pub score: f32,
}

impl Hit {
    /// The order of every ranking of this crate: score descending, then row ascending. Total, because rows differ.
    #[inline]
    pub fn rank(&self, other: &Hit) -> Ordering {
        // total_cmp tells -0.0 from 0.0, which are the same score; adding 0.0 turns -0.0 into 0.0.
        (other.score + 0.0).total_cmp(&(self.score + 0.0)).then(self.row.cmp(&other.row))
    }
}

/// A hit in the order of [`Hit::rank`]: the greatest is the worst.
#[derive(Debug, Clone)]
struct Ranked(Hit);

impl Ord for Ranked {
    #[inline]
    fn cmp(&self, other: &Ranked) -> Ordering {
        self.0.rank(&other.0)
    }
}

impl PartialOrd for Ranked {
    #[inline]
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// The k best hits seen so far, in a heap with the worst of them at the root.
///
/// Cost: O(1) for a hit that does not enter, O(log k) for one that does; O(k) memory, allocated as hits arrive.
#[derive(Debug, Clone)]
pub(crate) struct TopK {
    k: usize,
    heap: BinaryHeap<Ranked>,
}

impl TopK {
    pub fn new(k: usize) -> TopK {
        TopK { k, heap: BinaryHeap::new() }
    }

    /// The most hits kept.
    pub fn k(&self) -> usize {
        self.k
    }

    /// A score below this cannot enter. An equal score can, if its row is smaller than the row of the worst kept hit.
    #[inline]
    pub fn threshold(&self) -> f32 {
        if self.k > 0 && self.heap.len() < self.k {
            return f32::NEG_INFINITY;
        }
        self.heap.peek().map_or(f32::INFINITY, |worst| worst.0.score)
    }

    /// Takes a hit into account.
    #[inline]
    pub fn push(&mut self, hit: Hit) {
        if self.heap.len() < self.k {
            self.heap.push(Ranked(hit));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit.rank(&worst.0).is_lt()
        {
            *worst = Ranked(hit);
        }
    }

    /// Takes the hits of another selection into account.
    pub fn merge(mut self, other: TopK) -> TopK {
        for Ranked(hit) in other.heap {
            self.push(hit);
        }
        self
    }

    /// The hits kept, best first.
    pub fn into_sorted(self) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self.heap.into_iter().map(|Ranked(hit)| hit).collect();
        // Takes less time than to sort the heap in place.
        hits.sort_unstable_by(Hit::rank);
        hits
    }
}

/// The twin of [`TopK`]: sorts everything and cuts.
#[cfg(test)]
pub(crate) fn full_sort(mut hits: Vec<Hit>, k: usize) -> Vec<Hit> {
    hits.sort_by(Hit::rank);
    hits.truncate(k);
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the full sort, with many equal scores, both zeros and any split into two selections.
        #[test]
        fn equals_full_sort(
            scores in prop::collection::vec(prop_oneof![Just(0.0f32), Just(-0.0), (-3i8..3).prop_map(f32::from), -1e30f32..1e30], 0..200),
            k in 0usize..50,
            split in 0usize..200,
        ) {
            let hits: Vec<Hit> = scores
                .iter()
                .enumerate()
                .map(|(row, &score)| Hit { row: RowId(row as u32), score })
                .collect();
            let (mut first, mut second) = (TopK::new(k), TopK::new(k));
            for (at, &hit) in hits.iter().enumerate() {
                let side = if at < split { &mut first } else { &mut second };
                if hit.score >= side.threshold() {
                    side.push(hit);
                }
            }
            prop_assert_eq!(second.merge(first).into_sorted(), full_sort(hits, k));
        }
    }
}
