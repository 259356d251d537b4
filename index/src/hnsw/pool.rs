//! The best rows that a search has met, and whose neighbors it has yet to visit.

use crate::format::MAX_ROWS;

/// At most ef rows by similarity, descending, then by number, ascending: both W and C of algorithm 2 in one array.
/// What is in C but not in W is further away than all of W, so the algorithm never visits it.
///
/// An entry is one integer, so that a comparison is one instruction. Its highest bits are the similarity's, changed
/// so that they order like the number. Then come the row's bits, inverted. The lowest bit says whether the row's
/// neighbors were visited.
#[derive(Default)]
pub(crate) struct Pool {
    entries: Vec<u64>,
    capacity: usize,
    /// All entries before this one have been visited.
    next: usize,
}

const VISITED: u64 = 1;

fn entry(row: u32, similarity: f32) -> u64 {
    let bits = similarity.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!row << 1)
}

fn row_of(entry: u64) -> u32 {
    !(entry as u32 >> 1) & MAX_ROWS as u32
}

fn similarity_of(entry: u64) -> f32 {
    let ordered = (entry >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

impl Pool {
    /// Empties the pool and makes room for `capacity` rows.
    pub fn reset(&mut self, capacity: usize) {
        self.entries.clear();
        self.capacity = capacity;
        self.next = 0;
    }

    /// Adds a row that the pool has not met. Returns false if the row is not among the best.
    #[inline]
    pub fn push(&mut self, row: u32, similarity: f32) -> bool {
        let entry = entry(row, similarity);
        if self.entries.len() >= self.capacity {
            if self.entries.last().is_none_or(|last| entry <= *last) {
                return false;
            }
            self.entries.pop();
        }
        let position = self.entries.partition_point(|other| *other > entry);
        self.entries.insert(position, entry);
        self.next = self.next.min(position);
        true
    }

    /// The best row that has not been visited, which it is from now on.
    #[inline]
    pub fn visit_next(&mut self) -> Option<u32> {
        while let Some(entry) = self.entries.get_mut(self.next) {
            self.next += 1;
            if *entry & VISITED == 0 {
                *entry |= VISITED;
                return Some(row_of(*entry));
            }
        }
        None
    }

    /// The rows, best first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.entries.iter().map(|entry| (row_of(*entry), similarity_of(*entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against sorting: the best, the order, ties by row, and that visits go from best to worst.
        #[test]
        fn equals_sorting(
            similarities in prop::collection::vec(prop_oneof![(-3i8..3).prop_map(f32::from), -1e30f32..1e30], 0..60),
            capacity in 1usize..20,
        ) {
            let mut pool = Pool::default();
            pool.reset(capacity);
            let mut all: Vec<(u32, f32)> = Vec::new();
            let mut visited = Vec::new();
            for (number, similarity) in similarities.into_iter().enumerate() {
                let row = MAX_ROWS as u32 - 1 - number as u32 * 7;
                pool.push(row, similarity);
                all.push((row, similarity));
                all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                let kept = &all[..all.len().min(capacity)];
                prop_assert_eq!(pool.iter().collect::<Vec<_>>(), kept);
                if number % 3 == 0 {
                    let expected = kept.iter().map(|(row, _)| *row).find(|row| !visited.contains(row));
                    let next = pool.visit_next();
                    prop_assert_eq!(next, expected);
                    visited.extend(next);
                }
            }
        }
    }
}
