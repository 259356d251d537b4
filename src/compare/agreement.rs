//! How much two runs agree, without judgments.

use secateur_datasets::{Run, ScoredDocument};

use crate::statistics::{overlap, rank_correlation};

/// How much two runs agree on their first documents.
pub(crate) struct RunAgreement<'q> {
    /// By query, in the order in which they were given: the share of the first documents that both have. Two empty
    /// answers are the same.
    pub overlaps: Vec<(&'q String, f64)>,
    /// The mean of these.
    pub overlap: f64,
    /// The mean of Kendall's tau-b over the first documents of either, where there is one.
    pub rank_correlation: f64,
}

impl<'q> RunAgreement<'q> {
    /// Of the first `k` documents of each query.
    pub fn of(
        [first, second]: [&Run; 2],
        queries: impl IntoIterator<Item = &'q String>,
        k: usize,
    ) -> RunAgreement<'q> {
        let (mut overlaps, mut correlations) = (Vec::new(), Vec::new());
        for id in queries {
            let [old, new] = [first, second].map(|run| ids(run.get(id).map_or(&[][..], Vec::as_slice), k));
            overlaps.push((id, overlap(&old, &new, k).unwrap_or(1.0)));
            correlations.extend(rank_correlation(&old, &new, k));
        }
        let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
        RunAgreement {
            overlap: mean(overlaps.iter().map(|(_, overlap)| overlap).sum(), overlaps.len()),
            rank_correlation: mean(correlations.iter().sum(), correlations.len()),
            overlaps,
        }
    }
}

fn ids(hits: &[ScoredDocument], k: usize) -> Vec<&str> {
    hits.iter().take(k).map(|hit| hit.doc_id.as_str()).collect()
}
