//! Average precision, whose mean over queries is MAP.

use std::num::NonZeroUsize;

use super::ranking::JudgedRanking;

/// AP: the precision at the rank of each relevant document, averaged over all relevant documents. A relevant document
/// that is not among the first k, or not retrieved, has precision 0. AP is 0 if no document is relevant.
///
/// Buckley and Voorhees: Retrieval system evaluation. In: TREC: Experiment and Evaluation in Information Retrieval,
/// 2005; trec_eval's `m_map.c` and `m_map_cut.c`.
pub(super) fn average_precision(ranking: &JudgedRanking, k: Option<NonZeroUsize>) -> f64 {
    let mut num_relevant_retrieved = 0_u32;
    let mut sum = 0.0;
    for (i, relevant) in ranking.relevant(k).enumerate() {
        if relevant {
            num_relevant_retrieved += 1;
            sum += f64::from(num_relevant_retrieved) / (i as f64 + 1.0);
        }
    }
    match ranking.num_relevant() {
        0 => 0.0,
        num_relevant => sum / num_relevant as f64,
    }
}
