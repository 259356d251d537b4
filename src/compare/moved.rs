//! The queries on which two runs differ most, with both answers.

use std::collections::HashMap;

use secateur_datasets::{Document, Qrels, Run, ScoredDocument};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The characters of a document's text that are told where it has no title.
const TITLE: usize = 80;

/// A query that two runs answer differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedQuery {
    /// The query.
    pub query_id: String,
    /// Its text, if that is known.
    pub text: Option<String>,
    /// How good the answer of the first run is, and that of the other; without judgments, how much they agree with
    /// the first run.
    pub values: [f64; 2],
    /// The best documents of the first run, and of the other.
    pub answers: [Vec<Answer>; 2],
}

/// A document of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// Which queries are told, and how much of them.
pub(crate) struct Telling<'a> {
    /// The most queries.
    pub queries: usize,
    /// The most documents of each answer.
    pub answers: usize,
    /// The judgments, if there are any.
    pub qrels: Option<&'a Qrels>,
    /// Whether a document with the query's id is no answer.
    pub drop_identical_ids: bool,
}

impl Telling<'_> {
    /// Those that differ most, of queries with a value for either run; equal ones in the byte order of their ids.
    pub fn moved<'q>(
        &self,
        runs: [&Run; 2],
        values: impl IntoIterator<Item = (&'q String, [f64; 2])>,
    ) -> Vec<MovedQuery> {
        let mut moved: Vec<(&String, [f64; 2])> =
            values.into_iter().filter(|(_, [before, after])| before != after).collect();
        let distance = |[before, after]: &[f64; 2]| (after - before).abs();
        moved.sort_by(|(x, a), (y, b)| distance(b).total_cmp(&distance(a)).then_with(|| x.cmp(y)));
        moved.truncate(self.queries);
        let query = |(query_id, values): (&String, [f64; 2])| MovedQuery {
            query_id: query_id.clone(),
            text: None,
            values,
            answers: runs.map(|run| self.answer(run, query_id)),
        };
        moved.into_iter().map(query).collect()
    }

    fn answer(&self, run: &Run, query_id: &String) -> Vec<Answer> {
        let mut hits: Vec<&ScoredDocument> = run.get(query_id).into_iter().flatten().collect();
        hits.sort_by(|a, b| ScoredDocument::ranking_order(a, b));
        hits.retain(|hit| !self.drop_identical_ids || hit.doc_id != *query_id);
        hits.truncate(self.answers);
        let judgments = self.qrels.and_then(|qrels| qrels.get(query_id));
        let answer = |hit: &ScoredDocument| Answer {
            doc_id: hit.doc_id.clone(),
            title: None,
            score: hit.score,
            relevance: judgments.and_then(|judgments| judgments.get(&hit.doc_id)).copied(),
        };
        hits.into_iter().map(answer).collect()
    }
}

/// Gives queries and documents their texts. `documents` knows documents by their ids, and is asked once. Documents are
/// called by their titles, or by how they begin. `query` knows the texts of the queries by their ids.
///
/// # Errors
///
/// Those of `documents`.
pub fn describe<'m>(
    moved: impl IntoIterator<Item = &'m mut MovedQuery>,
    documents: impl FnOnce(&[&str]) -> Result<HashMap<String, Document>>,
    query: impl Fn(&str) -> Option<String>,
) -> Result<()> {
    let mut moved: Vec<&mut MovedQuery> = moved.into_iter().collect();
    let answers = moved.iter().flat_map(|moved| moved.answers.iter().flatten());
    let documents = documents(&answers.map(|answer| answer.doc_id.as_str()).collect::<Vec<&str>>())?;
    for moved in &mut moved {
        moved.text = query(&moved.query_id);
        for answer in moved.answers.iter_mut().flatten() {
            answer.title = documents.get(&answer.doc_id).map(title);
        }
    }
    Ok(())
}

fn title(document: &Document) -> String {
    let text = if document.title.trim().is_empty() { &document.text } else { &document.title };
    let mut title: String = text.chars().take(TITLE).collect();
    if title.len() < text.len() {
        title.push('…');
    }
    title
}
