//! The k-th best score of a stream, where nothing but that score is wanted.

/// A bound on the k-th best of a stream of scores, which rises as scores arrive.
///
/// Cost: O(1) a score on average, where a heap takes O(log k); O(k) memory.
#[derive(Clone)]
pub(super) struct KthBest {
    k: usize,
    /// The k best of the scores before, and those since that are not below the bound.
    scores: Vec<f32>,
    bound: f32,
}

impl KthBest {
    pub fn new(k: usize) -> KthBest {
        let bound = if k == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
        KthBest { k, scores: Vec::new(), bound }
    }

    /// The k-th best score is at least this. Without k scores it is minus infinity.
    pub fn threshold(&self) -> f32 {
        self.bound
    }

    /// Takes a score into account.
    pub fn push(&mut self, score: f32) {
        if score < self.bound || self.k == 0 {
            return;
        }
        self.scores.push(score);
        let full = if self.bound == f32::NEG_INFINITY { self.k } else { self.k + self.k.div_ceil(4) };
        if self.scores.len() >= full {
            self.tighten();
        }
    }

    /// Raises the bound to the k-th best score.
    pub fn tighten(&mut self) {
        if self.k > 0 && self.scores.len() >= self.k {
            let (_, worst, _) = self.scores.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
            self.bound = *worst;
            self.scores.truncate(self.k);
        }
    }

    pub fn merge(mut self, other: KthBest) -> KthBest {
        for score in other.scores {
            self.push(score);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the sorted scores, with many equal ones, both zeros and any split into two streams.
        #[test]
        fn the_bound_is_never_above_the_kth_best_and_in_the_end_equals_it(
            scores in prop::collection::vec(prop_oneof![Just(0.0f32), Just(-0.0), (-3i8..3).prop_map(f32::from), -1e30f32..1e30], 0..300),
            k in 0usize..40,
            split in 0usize..300,
        ) {
            let (mut first, mut second) = (KthBest::new(k), KthBest::new(k));
            for (at, &score) in scores.iter().enumerate() {
                let side = if at < split { &mut first } else { &mut second };
                side.push(score);
                prop_assert!(side.scores.len() <= 2 * k);
            }
            let mut merged = second.merge(first);
            let mut sorted = scores;
            sorted.sort_by(|a, b| b.total_cmp(a));
            let kth = match k {
                0 => f32::INFINITY,
                _ => sorted.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY),
            };
            prop_assert!(merged.threshold() <= kth);
            merged.tighten();
            prop_assert_eq!(merged.threshold(), kth);
        }
    }
}
