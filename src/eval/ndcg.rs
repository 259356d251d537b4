//! Normalized discounted cumulative gain.

use std::num::NonZeroUsize;

use super::ranking::JudgedRanking;

/// nDCG@k = DCG@k / ideal DCG@k, with DCG@k = Σ gain_r / log2(r + 1) over ranks r = 1 ... k.
///
/// The gain is the relevance itself, as in trec_eval's `ndcg_cut` and so in BEIR and MTEB, not 2^relevance - 1. The
/// ideal ranking holds all judged documents by relevance descending, retrieved or not. 0 where no document has gain.
///
/// Järvelin and Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM TOIS 20(4), 2002. The form is that
/// of trec_eval's `m_ndcg_cut.c`, which discounts from rank 2 on.
pub(super) fn ndcg(ranking: &JudgedRanking, k: NonZeroUsize) -> f64 {
    let ideal = dcg(ranking.ideal_gains(k));
    if ideal > 0.0 { dcg(ranking.gains(Some(k))) / ideal } else { 0.0 }
}

fn dcg(gains: &[u32]) -> f64 {
    gains
        .iter()
        .enumerate()
        .filter(|(_, gain)| **gain > 0)
        .map(|(i, gain)| f64::from(*gain) / (i as f64 + 2.0).log2())
        // `sum` of nothing is -0.0, which prints its sign.
        .fold(0.0, |sum, term| sum + term)
}
