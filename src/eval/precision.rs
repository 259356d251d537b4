//! Precision.

use std::num::NonZeroUsize;

use super::ranking::JudgedRanking;

/// P@k: how many of the first k documents are relevant, divided by k, even where fewer than k were retrieved.
///
/// Cleverdon, Mills and Keen: Factors determining the performance of indexing systems, 1966; trec_eval's `m_P.c`.
pub(super) fn precision(ranking: &JudgedRanking, k: NonZeroUsize) -> f64 {
    ranking.num_relevant_retrieved(k) as f64 / k.get() as f64
}
