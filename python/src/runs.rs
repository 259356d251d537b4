//! Runs as Python's.

use std::collections::BTreeMap;

use secateur::datasets::{Run, ScoredDocument};

/// A run as Python programs have it: `query_id -> document id -> score`.
pub type Scores = BTreeMap<String, BTreeMap<String, f64>>;

/// The library's run.
pub fn run_of(scores: Scores) -> Run {
    let hits = |scores: BTreeMap<String, f64>| {
        scores.into_iter().map(|(doc_id, score)| ScoredDocument { doc_id, score }).collect()
    };
    scores.into_iter().map(|(query_id, scores)| (query_id, hits(scores))).collect()
}

/// Python's run.
pub fn scores_of(run: Run) -> Scores {
    let scores = |hits: Vec<ScoredDocument>| hits.into_iter().map(|hit| (hit.doc_id, hit.score)).collect();
    run.into_iter().map(|(query_id, hits)| (query_id, scores(hits))).collect()
}
