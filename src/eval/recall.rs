//! Recall.

use std::num::NonZeroUsize;

use super::ranking::JudgedRanking;

/// Recall@k: how many of the first k documents are relevant, divided by how many documents are relevant at all. (The
/// divisor is not k, even where k is smaller.) 0 if no document is relevant.
///
/// Cleverdon, Mills and Keen: Factors determining the performance of indexing systems, 1966; trec_eval's `m_recall.c`.
pub(super) fn recall(ranking: &JudgedRanking, k: NonZeroUsize) -> f64 {
    match ranking.num_relevant() {
        0 => 0.0,
        num_relevant => ranking.num_relevant_retrieved(k) as f64 / num_relevant as f64,
    }
}
