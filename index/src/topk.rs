//! Keeping the k best hits of a stream in bounded memory.

use std::cmp::Ordering;

/// The dense internal number of a row: its position in the vector matrix, counted over all segments from 0.
/// Row numbers mean something only together with the snapshot they came from; users see document ids.
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

/// The k best hits seen so far, as a binary heap with the worst kept hit at the root.
///
/// Cost: O(1) for a hit that does not enter, O(log k) for one that does; O(k) memory, allocated as hits arrive.
#[derive(Debug, Clone)]
pub(crate) struct TopK {
    k: usize,
    heap: Vec<Hit>,
}

impl TopK {
    pub fn new(k: usize) -> TopK {
        TopK { k, heap: Vec::new() }
    }

    /// The most hits kept.
    pub fn k(&self) -> usize {
        self.k
    }

    /// A score below this cannot enter; one equal to it can, if its row is smaller than the worst kept one's.
    #[inline]
    pub fn threshold(&self) -> f32 {
        if self.k > 0 && self.heap.len() < self.k {
            return f32::NEG_INFINITY;
        }
        self.heap.first().map_or(f32::INFINITY, |worst| worst.score)
    }

    /// Takes a hit into account.
    #[inline]
    pub fn push(&mut self, hit: Hit) {
        if self.heap.len() < self.k {
            self.heap.push(hit);
            self.rise(self.heap.len() - 1);
        } else if let Some(worst) = self.heap.first_mut()
            && hit.rank(worst) == Ordering::Less
        {
            *worst = hit;
            self.sink();
        }
    }

    /// Takes the hits of another selection into account.
    pub fn merge(mut self, other: TopK) -> TopK {
        for hit in other.heap {
            self.push(hit);
        }
        self
    }

    /// The hits kept, best first.
    pub fn into_sorted(self) -> Vec<Hit> {
        let mut hits = self.heap;
        hits.sort_unstable_by(Hit::rank);
        hits
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[at].rank(&self.heap[parent]) != Ordering::Greater {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            let Some(left_hit) = self.heap.get(left) else { break };
            let worse = match self.heap.get(left + 1) {
                Some(right_hit) if right_hit.rank(left_hit) == Ordering::Greater => left + 1,
                _ => left,
            };
            if self.heap[worse].rank(&self.heap[at]) != Ordering::Greater {
                break;
            }
            self.heap.swap(worse, at);
            at = worse;
        }
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
