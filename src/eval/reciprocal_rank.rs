//! Reciprocal rank, whose mean over queries is MRR.

use std::num::NonZeroUsize;

use super::ranking::JudgedRanking;

/// RR: 1 / the rank of the first relevant document; 0 if no relevant document is among the first k.
///
/// Voorhees: The TREC-8 question answering track report, 1999; trec_eval's `m_recip_rank.c`. RR@10 is the measure of MS
/// MARCO (Bajaj et al., arXiv:1611.09268).
pub(super) fn reciprocal_rank(ranking: &JudgedRanking, k: Option<NonZeroUsize>) -> f64 {
    match ranking.relevant(k).position(|relevant| relevant) {
        Some(i) => 1.0 / (i as f64 + 1.0),
        None => 0.0,
    }
}
