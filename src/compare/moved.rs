//! The queries on which two runs differ most, with both answers.

use secateur_datasets::{Qrels, Run, ScoredDocument};
use serde::Serialize;

use super::{CompareOptions, Comparison};
use crate::eval::Evaluation;

/// A query that two runs answer differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MovedQuery {
    /// The query.
    pub query_id: String,
    /// Its text, if that is known.
    pub text: Option<String>,
    /// The first measure's value of the first run, and of the other.
    pub values: [f64; 2],
    /// The best documents of the first run, and of the other.
    pub answers: [Vec<Answer>; 2],
}

/// A document of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The document.
    pub doc_id: String,
    /// What it is called, or how it begins, if that is known.
    pub title: Option<String>,
    /// Its score in the run.
    pub score: f64,
    /// Its judgment, if there is one.
    pub relevance: Option<i32>,
}

impl CompareOptions {
    /// The queries that differ most by the first measure; equal ones in the byte order of their ids.
    pub(super) fn moved(
        &self,
        runs: [&Run; 2],
        evaluations: [&Evaluation; 2],
        qrels: &Qrels,
    ) -> Vec<MovedQuery> {
        let [first, second] = evaluations;
        let mut moved: Vec<(&String, [f64; 2])> = first
            .per_query
            .iter()
            .filter_map(|(query_id, values)| {
                Some((query_id, [values[0], second.per_query.get(query_id)?[0]]))
            })
            .filter(|(_, [before, after])| before != after)
            .collect();
        // The sort is stable, and the queries come in the order of their ids.
        let distance = |[before, after]: &[f64; 2]| (after - before).abs();
        moved.sort_by(|a, b| distance(&b.1).total_cmp(&distance(&a.1)));
        moved.truncate(self.moved);
        let answer = |run: &Run, query_id: &String| -> Vec<Answer> {
            let mut hits: Vec<&ScoredDocument> = run.get(query_id).into_iter().flatten().collect();
            hits.sort_by(|a, b| ScoredDocument::ranking_order(a, b));
            hits.retain(|hit| !first.rules.drop_identical_ids || hit.doc_id != *query_id);
            hits.truncate(self.answers);
            let judgments = qrels.get(query_id);
            let relevance = |doc_id: &String| judgments.and_then(|judgments| judgments.get(doc_id)).copied();
            let answer = |hit: &ScoredDocument| Answer {
                doc_id: hit.doc_id.clone(),
                title: None,
                score: hit.score,
                relevance: relevance(&hit.doc_id),
            };
            hits.into_iter().map(answer).collect()
        };
        let query = |(query_id, values): (&String, [f64; 2])| MovedQuery {
            query_id: query_id.clone(),
            text: None,
            values,
            answers: runs.map(|run| answer(run, query_id)),
        };
        moved.into_iter().map(query).collect()
    }
}

impl Comparison {
    /// The queries that are shown.
    pub fn moved(&self) -> impl Iterator<Item = &MovedQuery> {
        self.against_first.iter().flat_map(|against| &against.moved)
    }

    /// Gives the queries and documents that are shown their texts: `query` and `document` know them by their ids.
    pub fn describe(
        &mut self,
        query: impl Fn(&str) -> Option<String>,
        document: impl Fn(&str) -> Option<String>,
    ) {
        for moved in self.against_first.iter_mut().flat_map(|against| &mut against.moved) {
            moved.text = query(&moved.query_id);
            for answer in moved.answers.iter_mut().flatten() {
                answer.title = document(&answer.doc_id);
            }
        }
    }
}
