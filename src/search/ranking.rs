//! The rankings of a query by each index, and how they become one.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use secateur_datasets::{Query, Run, ScoredDocument};
use secateur_encoders::Encoder;

use super::{Hit, Place, SearchParams, Sides};
use crate::fusion::{Error, RankedList};

/// What each index answers to a query. Hits are sorted by score, descending, and equal scores by the order in which the
/// documents were added. For a weighted sum each index has scored the hits of the other one, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// The hits by vectors; `None` where vectors were not asked.
    pub dense: Option<Vec<Hit>>,
    /// The hits by words; `None` where words were not asked.
    pub bm25: Option<Vec<Hit>>,
}

impl Ranking {
    /// The first `k` hits by each index, given those of several databases. Their documents are in the order of the
    /// databases. The answer is that of one database of all documents, with the scores that
    /// [`Asked::completes`](super::Asked::completes) asks for.
    pub(crate) fn merged(rankings: Vec<Ranking>, k: usize, completes: bool) -> Ranking {
        let (mut dense, mut bm25) = (Vec::new(), Vec::new());
        for ranking in rankings {
            dense.extend(ranking.dense);
            bm25.extend(ranking.bm25);
        }
        let mut lists = [in_order(dense), in_order(bm25)];
        let best = |hits: &Vec<Hit>| hits.iter().take(k).map(|hit| hit.doc_id.clone()).collect::<Vec<_>>();
        if completes {
            // What is among the best of its database only goes.
            let found: HashSet<String> = lists.iter().flatten().flat_map(best).collect();
            lists.iter_mut().flatten().for_each(|hits| hits.retain(|hit| found.contains(&hit.doc_id)));
        } else {
            lists.iter_mut().flatten().for_each(|hits| hits.truncate(k));
        }
        let [dense, bm25] = lists;
        Ranking { dense, bm25 }
    }

    /// Its hits by their ids.
    pub(crate) fn lists(&self) -> Lists<&str> {
        let [dense, bm25] = [&self.dense, &self.bm25].map(|hits| {
            let hits = hits.as_ref()?.iter();
            Some(hits.map(|hit| (hit.doc_id.as_str(), hit.score)).collect())
        });
        Lists { dense, bm25 }
    }
}

impl<K: AsRef<str>> From<Lists<K>> for Ranking {
    fn from(lists: Lists<K>) -> Ranking {
        let named = |list: Vec<(K, f64)>| list.iter().map(hit).collect();
        Ranking { dense: lists.dense.map(named), bm25: lists.bm25.map(named) }
    }
}

/// A [`Ranking`] by whatever stands for a document and has its id. Most hits are fused and never given out. Only those
/// that are get a string of their own.
pub(crate) struct Lists<K> {
    pub dense: Option<Vec<(K, f64)>>,
    pub bm25: Option<Vec<(K, f64)>>,
}

impl<K: Ord + Hash + Clone + AsRef<str>> Lists<K> {
    /// The same with hits of equal scores by id, descending: the order in which they are fused and given out.
    pub fn settled(mut self) -> Lists<K> {
        for hits in [&mut self.dense, &mut self.bm25].into_iter().flatten() {
            hits.sort_by(|(a, score_a), (b, score_b)| score_b.total_cmp(score_a).then_with(|| b.cmp(a)));
        }
        self
    }

    /// The hits of the one index that was asked, or the best of both, fused. The encoder can say how much its ranking
    /// counts.
    pub fn hits(&self, params: &SearchParams, encoder: Option<&Encoder>) -> Result<Vec<Hit>, Error> {
        Ok(self.best(params, encoder)?.iter().map(hit).collect())
    }

    /// The same, each with its places in both rankings.
    pub fn with_sides(
        &self,
        params: &SearchParams,
        encoder: Option<&Encoder>,
    ) -> Result<Vec<(Hit, Sides)>, Error> {
        let depth = match (&self.dense, &self.bm25) {
            (Some(_), Some(_)) => params.depth(),
            _ => params.k,
        };
        let [dense, bm25] =
            [&self.dense, &self.bm25].map(|hits| places(hits.as_deref().unwrap_or_default(), depth));
        let with_sides = |scored: &(K, f64)| {
            let [dense, bm25] = [&dense, &bm25].map(|places| places.get(&scored.0).copied());
            (hit(scored), Sides { dense, bm25 })
        };
        Ok(self.best(params, encoder)?.iter().map(with_sides).collect())
    }

    fn best(&self, params: &SearchParams, encoder: Option<&Encoder>) -> Result<Vec<(K, f64)>, Error> {
        match (&self.dense, &self.bm25) {
            (Some(dense), Some(bm25)) => {
                let (fusion, weight) = params.fusing(encoder);
                let mut fused = fusion.fuse(&[RankedList { hits: dense, weight }, RankedList::new(bm25)])?;
                fused.truncate(params.k);
                Ok(fused)
            }
            (Some(hits), None) | (None, Some(hits)) => Ok(hits.clone()),
            (None, None) => Ok(Vec::new()),
        }
    }
}

fn hit<K: AsRef<str>>((key, score): &(K, f64)) -> Hit {
    Hit { doc_id: key.as_ref().to_owned(), score: *score }
}

/// The places of hits, of which an index has found the first `depth` itself.
fn places<K: Eq + Hash>(hits: &[(K, f64)], depth: usize) -> HashMap<&K, Place> {
    let rank = |place: usize| (place < depth).then_some(place + 1);
    hits.iter().enumerate().map(|(at, (key, score))| (key, Place { rank: rank(at), score: *score })).collect()
}

/// Several lists as one, each sorted: by score, then by list, then by place in it. Within a list that is the order of
/// rows, so it is the order of the rows of all lists, one after the other.
fn in_order(lists: Vec<Vec<Hit>>) -> Option<Vec<Hit>> {
    if lists.is_empty() {
        return None;
    }
    let mut hits = lists.concat();
    // Stable. total_cmp tells -0.0 from 0.0, which are the same score; adding 0.0 turns -0.0 into 0.0.
    hits.sort_by(|a, b| (b.score + 0.0).total_cmp(&(a.score + 0.0)));
    Some(hits)
}

/// The hits of queries as a run.
pub(crate) fn run_of(queries: &[Query], hits: Vec<Vec<Hit>>) -> Run {
    let scored = |hit: Hit| ScoredDocument { doc_id: hit.doc_id, score: hit.score };
    let ranking =
        |(query, hits): (&Query, Vec<Hit>)| (query.id.clone(), hits.into_iter().map(scored).collect());
    queries.iter().zip(hits).map(ranking).collect()
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
            let merged = Ranking::merged(shards.clone(), k, false);
            assert_eq!(merged.dense, None);
            Ranking::from(merged.lists().settled())
                .bm25
                .unwrap()
                .into_iter()
                .map(|hit| hit.doc_id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(2), ["b", "a"]);
        assert_eq!(ids(3), ["b", "c", "a"]);
        assert_eq!(ids(4), ["b", "c", "a", "z"]);
        assert_eq!(ids(0), [""; 0]);
    }

    /// What an index scored because the other one found it goes with what it was found by.
    #[test]
    fn scores_of_what_no_index_found_go() {
        let list = |hits: &[(&str, f64)]| {
            Some(hits.iter().map(|(id, score)| Hit { doc_id: (*id).to_owned(), score: *score }).collect())
        };
        let first = Ranking { dense: list(&[("a", 0.9), ("b", 0.1)]), bm25: list(&[("b", 3.0)]) };
        let second =
            Ranking { dense: list(&[("c", 0.5), ("d", 0.4)]), bm25: list(&[("d", 4.0), ("c", 1.0)]) };
        let merged = Ranking::merged(vec![first, second], 1, true);
        assert_eq!(merged, Ranking { dense: list(&[("a", 0.9), ("d", 0.4)]), bm25: list(&[("d", 4.0)]) });
    }
}
