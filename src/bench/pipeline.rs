//! A query's way from text to documents, as an application goes it, with the time of each part.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use secateur_datasets::{Document, Run, ScoredDocument};

use crate::database::Database;
use crate::encode::ScorePairs;
use crate::error::Result;
use crate::search::{Hit, SearchParams};

/// The parts of a query's time, in order.
pub const STAGES: [&str; 6] = ["tokenize", "encode", "search", "fuse", "rerank", "fetch"];

/// A database, how it is searched, and what ranks the best documents anew.
#[derive(Clone, Copy)]
pub struct Pipeline<'a> {
    /// What is searched.
    pub database: &'a Database,
    /// How. With a reranker `k` is what it reads.
    pub params: &'a SearchParams,
    /// What reads a query and a document together.
    pub reranker: Option<&'a (dyn ScorePairs + Sync)>,
    /// Documents that are wanted in the end.
    pub k: usize,
}

/// The answer to a query.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The documents with their scores, best first.
    pub documents: Vec<(Hit, Document)>,
    /// How long the parts of [`STAGES`] took.
    pub stages: [Duration; STAGES.len()],
    /// How long all of it took.
    pub total: Duration,
}

impl Pipeline<'_> {
    /// Answers a query: from its text to the documents.
    ///
    /// # Errors
    ///
    /// As [`Database::search`], and those of the reranker.
    pub fn answer(&self, query: &str) -> Result<Answer> {
        let start = Instant::now();
        let (hits, times) = self.database.search_timed(query, self.params)?;
        let fetching = Instant::now();
        let with_document = |hit: Hit| {
            // Hits and documents are read from one snapshot, so each hit has its document.
            let document = self.database.document(&hit.doc_id)?.unwrap_or_default();
            Ok((hit, document))
        };
        let mut documents = hits.into_iter().map(with_document).collect::<Result<Vec<_>>>()?;
        let fetch = fetching.elapsed();
        let mut rerank = Duration::ZERO;
        if let Some(reranker) = self.reranker {
            let start = Instant::now();
            documents = self.reranked(reranker, query, documents)?;
            rerank = start.elapsed();
        }
        documents.truncate(self.k);
        let search = times.filter + times.dense + times.bm25;
        let stages = [times.tokenize, times.encode, search, times.fuse, rerank, fetch];
        Ok(Answer { documents, stages, total: start.elapsed() })
    }

    fn reranked(
        &self,
        reranker: &dyn ScorePairs,
        query: &str,
        documents: Vec<(Hit, Document)>,
    ) -> Result<Vec<(Hit, Document)>> {
        let passages: Vec<String> =
            documents.iter().map(|(_, document)| self.database.passage_of(document)).collect();
        let pairs: Vec<(&str, &str)> = passages.iter().map(|passage| (query, passage.as_str())).collect();
        let scores = reranker.score_pairs(&pairs)?;
        let scored = documents.into_iter().zip(scores);
        let mut documents: Vec<(Hit, Document)> = scored
            .map(|((hit, document), score)| (Hit { score: f64::from(score), ..hit }, document))
            .collect();
        documents.sort_by(|(a, _), (b, _)| b.score.total_cmp(&a.score).then_with(|| b.doc_id.cmp(&a.doc_id)));
        Ok(documents)
    }

    /// The answers to many queries, with their ids, as a run. `progress` is called with the number of queries done.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::answer`].
    pub fn run(&self, queries: &[(String, String)], mut progress: impl FnMut(usize)) -> Result<Run> {
        let mut run: Run = BTreeMap::new();
        for chunk in queries.chunks(64) {
            if self.reranker.is_none() {
                // Together they are encoded faster; the vectors are the same.
                let texts: Vec<&str> = chunk.iter().map(|(_, text)| text.as_str()).collect();
                let hits = self.database.search_batch(&texts, self.params)?;
                for ((id, _), hits) in chunk.iter().zip(hits) {
                    run.insert(id.clone(), hits.into_iter().map(scored).collect());
                }
            } else {
                for (id, text) in chunk {
                    let documents = self.answer(text)?.documents;
                    run.insert(id.clone(), documents.into_iter().map(|(hit, _)| scored(hit)).collect());
                }
            }
            progress(run.len());
        }
        Ok(run)
    }
}

fn scored(hit: Hit) -> ScoredDocument {
    ScoredDocument { doc_id: hit.doc_id, score: hit.score }
}
