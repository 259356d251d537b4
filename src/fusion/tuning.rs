//! Which fusion and which weight are best on judged queries.

use std::collections::BTreeMap;

use secateur_datasets::{Qrels, Run, ScoredDocument};

use super::{Error, Fusion, RankedList};
use crate::eval::{Measure, Rules, evaluate};

/// The quality of a hybrid search with one fusion and one weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionPoint {
    /// How the rankings are fused.
    pub fusion: Fusion,
    /// How much the ranking by vectors counts, if the ranking by words counts 1.
    pub dense_weight: f64,
    /// The mean of the measure.
    pub value: f64,
}

/// Two rankings of the same queries, best first.
#[derive(Clone, Copy, Debug)]
pub struct RankedRuns<'a> {
    /// The one by vectors.
    pub dense: &'a Run,
    /// The one by words.
    pub words: &'a Run,
    /// Reciprocal rank fusion reads so many hits of each. A weighted sum reads all: behind these a hybrid search has
    /// the scores of what the other index found.
    pub depth: usize,
}

/// Measures each fusion with each of the `weights` on two rankings of the same queries. The result has one fusion after
/// the other, in the order of [`Fusion::ALL`].
///
/// ```
/// use std::collections::BTreeMap;
/// use secateur::eval::RuleSet;
/// use secateur::fusion::{RankedRuns, fusion_curve};
/// use secateur::datasets::{Qrels, Run, ScoredDocument};
///
/// let ranking = |ids: [&str; 3]| -> Run {
///     let hit = |(rank, id): (usize, &str)| ScoredDocument { doc_id: id.to_owned(), score: 3.0 - rank as f64 };
///     BTreeMap::from([("q".to_owned(), ids.into_iter().enumerate().map(hit).collect())])
/// };
/// let (dense, words) = (ranking(["a", "b", "c"]), ranking(["c", "b", "a"]));
/// let runs = RankedRuns { dense: &dense, words: &words, depth: 3 };
/// let qrels: Qrels = BTreeMap::from([("q".to_owned(), BTreeMap::from([("a".to_owned(), 1)]))]);
/// let rules = RuleSet::TrecEval.rules(false);
/// let curve = fusion_curve(runs, &qrels, &[0.1, 10.0], "MRR@10".parse()?, &rules)?;
/// assert_eq!(curve.iter().map(|point| point.value).collect::<Vec<_>>(), [1.0 / 3.0, 1.0, 1.0 / 3.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// A weight is negative or not a number. The errors of [`evaluate`].
pub fn fusion_curve(
    runs: RankedRuns<'_>,
    qrels: &Qrels,
    weights: &[f64],
    measure: Measure,
    rules: &Rules,
) -> Result<Vec<FusionPoint>, Error> {
    let (dense, words) = (keyed(runs.dense), keyed(runs.words));
    let mut curve = Vec::new();
    for fusion in Fusion::ALL {
        for &dense_weight in weights {
            let mut run = Run::new();
            for (query, hits) in &words {
                let read = |hits: &'_ [_]| match fusion {
                    Fusion::ReciprocalRank => runs.depth.min(hits.len()),
                    Fusion::WeightedSum => hits.len(),
                };
                let dense = dense.get(query).map_or(&[][..], Vec::as_slice);
                let dense = RankedList { hits: &dense[..read(dense)], weight: dense_weight };
                let fused = fusion.fuse(&[dense, RankedList::new(&hits[..read(hits)])])?.into_iter();
                let hit = |(doc_id, score): (&str, f64)| ScoredDocument { doc_id: doc_id.to_owned(), score };
                run.insert((*query).to_owned(), fused.map(hit).collect());
            }
            let value = evaluate(qrels, &run, &[measure], rules)?.mean(measure).unwrap_or(0.0);
            curve.push(FusionPoint { fusion, dense_weight, value });
        }
    }
    Ok(curve)
}

/// Ids and scores by query.
fn keyed(run: &Run) -> BTreeMap<&str, Vec<(&str, f64)>> {
    let pairs = run.iter().map(|(query, hits)| {
        let hits = hits.iter().map(|hit| (hit.doc_id.as_str(), hit.score));
        (query.as_str(), hits.collect())
    });
    pairs.collect()
}
