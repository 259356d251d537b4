//! The rankings of a query by each index, and how they become one.

use std::collections::HashMap;

use secateur_datasets::{Query, Run, ScoredDocument};
use secateur_encoders::Encoder;

use super::{Hit, Place, SearchParams, Sides};
use crate::fusion::{Error, Fusion, RankedList};

/// What each index answers to a query. Hits are sorted by score, descending, and equal scores by the order in which the
/// documents were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// The hits by vectors; `None` where vectors were not asked.
    pub dense: Option<Vec<Hit>>,
    /// The hits by words; `None` where words were not asked.
    pub bm25: Option<Vec<Hit>>,
}

impl Ranking {
    /// The first `k` hits by each index, given those of several databases. Their documents are in the order of the
    /// databases. The answer is that of one database of all documents.
    pub(crate) fn merged(rankings: Vec<Ranking>, k: usize) -> Ranking {
        let (mut dense, mut bm25) = (Vec::new(), Vec::new());
        for ranking in rankings {
            dense.extend(ranking.dense);
            bm25.extend(ranking.bm25);
        }
        Ranking { dense: first(dense, k), bm25: first(bm25, k) }
    }

    /// The same with hits of equal scores by id, descending: the order in which they are fused and given out.
    pub(crate) fn settled(mut self) -> Ranking {
        for hits in [&mut self.dense, &mut self.bm25].into_iter().flatten() {
            hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.doc_id.cmp(&a.doc_id)));
        }
        self
    }

    /// The hits of the one index that was asked, or those of both, fused.
    /// The encoder can say how much its ranking counts.
    pub(crate) fn hits(&self, params: &SearchParams, encoder: Option<&Encoder>) -> Result<Vec<Hit>, Error> {
        match (&self.dense, &self.bm25) {
            (Some(dense), Some(bm25)) => {
                let (fusion, dense_weight) = params.fusing(encoder);
                fuse([dense, bm25], params, fusion, dense_weight)
            }
            (Some(hits), None) | (None, Some(hits)) => Ok(hits.clone()),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The same, each with its places in both rankings.
    pub(crate) fn with_sides(
        &self,
        params: &SearchParams,
        encoder: Option<&Encoder>,
    ) -> Result<Vec<(Hit, Sides)>, Error> {
        let [dense, bm25] = [&self.dense, &self.bm25].map(|hits| places(hits.as_deref().unwrap_or_default()));
        let sides = |hit: Hit| {
            let id = hit.doc_id.as_str();
            let sides = Sides { dense: dense.get(id).copied(), bm25: bm25.get(id).copied() };
            (hit, sides)
        };
        Ok(self.hits(params, encoder)?.into_iter().map(sides).collect())
    }
}

/// The first `k` of several lists, each sorted: by score, then by list, then by place in it. Within a list that is the
/// order of rows, so it is the order of the rows of all lists, one after the other.
fn first(lists: Vec<Vec<Hit>>, k: usize) -> Option<Vec<Hit>> {
    if lists.is_empty() {
        return None;
    }
    let mut hits = lists.concat();
    // Stable. total_cmp tells -0.0 from 0.0, which are the same score; adding 0.0 turns -0.0 into 0.0.
    hits.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
    hits.truncate(k);
    Some(hits)
}

/// The hits of queries as a run.
pub(crate) fn run_of(queries: &[Query], hits: Vec<Vec<Hit>>) -> Run {
    let scored = |hit: Hit| ScoredDocument { doc_id: hit.doc_id, score: hit.score };
    let ranking =
        |(query, hits): (&Query, Vec<Hit>)| (query.id.clone(), hits.into_iter().map(scored).collect());
    queries.iter().zip(hits).map(ranking).collect()
}

fn places(hits: &[Hit]) -> HashMap<&str, Place> {
    let place = |(number, hit): (usize, &Hit)| Place { rank: number + 1, score: hit.score };
    hits.iter().enumerate().map(|(number, hit)| (hit.doc_id.as_str(), place((number, hit)))).collect()
}

/// The best of the rankings by vectors and by words together.
fn fuse(
    rankings: [&[Hit]; 2],
    params: &SearchParams,
    fusion: Fusion,
    dense_weight: f64,
) -> Result<Vec<Hit>, Error> {
    let [dense, bm25] = rankings
        .map(|hits| hits.iter().map(|hit| (hit.doc_id.as_str(), hit.score)).collect::<Vec<(&str, f64)>>());
    let list = |hits, weight| RankedList { hits, weight, is_cut: hits.len() >= params.depth() };
    let fused = fusion.fuse(&[list(&dense, dense_weight), list(&bm25, 1.0)])?;
    let best = fused.into_iter().take(params.k);
    Ok(best.map(|(doc_id, score)| Hit { doc_id: doc_id.to_owned(), score }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of equal scores those of the first database stay, whatever their ids; then ids decide.
    #[test]
    fn rows_decide_what_is_cut_and_ids_what_is_shown() {
        let hit = |doc_id: &str, score| Hit { doc_id: doc_id.to_owned(), score };
        let of = |hits: &[(&str, f64)]| Ranking {
            bm25: Some(hits.iter().map(|(id, score)| hit(id, *score)).collect()),
            dense: None,
        };
        let shards = vec![of(&[("a", 2.0), ("z", 0.0)]), of(&[]), of(&[("b", 3.0), ("c", 2.0), ("y", -0.0)])];
        let ids = |k| {
            let merged = Ranking::merged(shards.clone(), k).settled();
            assert_eq!(merged.dense, None);
            merged.bm25.unwrap().into_iter().map(|hit| hit.doc_id).collect::<Vec<_>>()
        };
        assert_eq!(ids(2), ["b", "a"]);
        assert_eq!(ids(3), ["b", "c", "a"]);
        assert_eq!(ids(4), ["b", "c", "a", "z"]);
        assert_eq!(ids(0), [""; 0]);
    }
}
