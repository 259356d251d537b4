//! The second stage of a search: a cross-encoder reads the best documents of a run again.

use std::collections::HashMap;

use secateur_datasets::{Query, Run, ScoredDocument};
use secateur_encoders::CrossEncoder;

use crate::error::Result;
use crate::eval;

/// How many pairs are scored at once: enough for every thread, few enough for a progress bar to move.
const CHUNK: usize = 128;

/// A model that says how well a passage answers a query.
pub trait ScorePairs {
    /// The score of each (query, passage): (B) -> (B), higher is better.
    ///
    /// # Errors
    ///
    /// A text is refused, or a score is not finite.
    fn score_pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>>;
}

impl ScorePairs for CrossEncoder {
    fn score_pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        Ok(self.score(pairs)?)
    }
}

/// The second stage of a search.
///
/// ```no_run
/// use std::collections::HashMap;
/// use secateur::datasets::{Query, Run, ScoredDocument};
/// use secateur::encode::{CrossEncoder, LoadOptions, Reranker};
///
/// let model = CrossEncoder::load("models/bge-reranker-base", &LoadOptions::default())?;
/// let queries = [Query { id: "q".to_owned(), text: "what is a secateur?".to_owned() }];
/// let run = Run::from([("q".to_owned(), vec![ScoredDocument { doc_id: "d".to_owned(), score: 7.5 }])]);
/// let passages = HashMap::from([("d".to_owned(), "A secateur is a pruning shear.".to_owned())]);
/// let reranked = Reranker { model: &model, k: 100 }.rerank(&run, &queries, &passages, |_| {})?;
/// assert_eq!(reranked["q"].len(), 1);
/// # Ok::<(), secateur::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Reranker<'m> {
    /// What reads a query and a document together: a [`CrossEncoder`] as a rule.
    pub model: &'m dyn ScorePairs,
    /// How many documents of each query it reads.
    pub k: usize,
}

impl Reranker<'_> {
    /// Scores the first `k` documents of each query of a run again and ranks them by the new score. The other
    /// documents are left out, because their scores are not comparable. `passages` has the text of each document.
    /// `progress` is called with the number of pairs scored.
    ///
    /// # Errors
    ///
    /// The run names an unknown query or, among the first `k`, an unknown document. The errors of the model.
    pub fn rerank(
        &self,
        run: &Run,
        queries: &[Query],
        passages: &HashMap<String, String>,
        mut progress: impl FnMut(usize),
    ) -> Result<Run> {
        let queries: HashMap<&str, &str> =
            queries.iter().map(|query| (query.id.as_str(), query.text.as_str())).collect();
        let mut pairs = Vec::new();
        for (query_id, hits) in run {
            let Some(query) = queries.get(query_id.as_str()) else {
                return Err(eval::Error::UnknownQuery { query_id: query_id.clone() }.into());
            };
            for hit in hits.iter().take(self.k) {
                let Some(passage) = passages.get(&hit.doc_id) else {
                    let (query_id, doc_id) = (query_id.clone(), hit.doc_id.clone());
                    return Err(eval::Error::UnknownDocument { query_id, doc_id }.into());
                };
                pairs.push((*query, passage.as_str()));
            }
        }
        let mut scores = Vec::with_capacity(pairs.len());
        for chunk in pairs.chunks(CHUNK) {
            scores.extend(self.model.score_pairs(chunk)?);
            progress(scores.len());
        }
        let mut scores = scores.into_iter();
        let reranked = run.iter().map(|(query_id, hits)| {
            let scored = hits.iter().take(self.k).zip(scores.by_ref());
            let mut hits: Vec<ScoredDocument> = scored
                .map(|(hit, score)| ScoredDocument { doc_id: hit.doc_id.clone(), score: f64::from(score) })
                .collect();
            hits.sort_by(ScoredDocument::ranking_order);
            (query_id.clone(), hits)
        });
        Ok(reranked.collect())
    }
}
