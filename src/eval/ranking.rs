//! One query's ranking, joined with its judgments.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use secateur_datasets::ScoredDocument;

use super::{Rules, ScorePrecision};

/// What the measures see of one query.
pub(super) struct JudgedRanking {
    /// The gain of each retrieved document, best rank first: its relevance, 0 if that is negative or unknown.
    gains: Vec<u32>,
    /// The gains above 0 of all judged documents, retrieved or not, in descending order.
    ideal_gains: Vec<u32>,
    relevance_level: u32,
}

impl JudgedRanking {
    /// Ranks `list`, whose scores are finite and whose documents are distinct, and looks up its `judgments`.
    pub(super) fn new(
        query_id: &str,
        list: &[ScoredDocument],
        judgments: &BTreeMap<String, i32>,
        rules: &Rules,
    ) -> Self {
        let gain = |relevance: &i32| u32::try_from(*relevance).unwrap_or(0);
        let mut ideal_gains: Vec<u32> = judgments.values().map(gain).filter(|gain| *gain > 0).collect();
        ideal_gains.sort_unstable_by(|a, b| b.cmp(a));
        let gains = rank(list, rules)
            .into_iter()
            .filter(|doc_id| !(rules.drop_identical_ids && *doc_id == query_id))
            .map(|doc_id| judgments.get(doc_id).map_or(0, gain))
            .collect();
        JudgedRanking { gains, ideal_gains, relevance_level: rules.relevance_level.get() }
    }

    /// The gains of the first `k` retrieved documents, or of all.
    pub(super) fn gains(&self, k: Option<NonZeroUsize>) -> &[u32] {
        let end = k.map_or(self.gains.len(), |k| k.get().min(self.gains.len()));
        &self.gains[..end]
    }

    /// The gains of the first `k` documents of the best possible ranking.
    pub(super) fn ideal_gains(&self, k: NonZeroUsize) -> &[u32] {
        &self.ideal_gains[..k.get().min(self.ideal_gains.len())]
    }

    /// For each of the first `k` retrieved documents, or for all: is it relevant?
    pub(super) fn relevant(&self, k: Option<NonZeroUsize>) -> impl Iterator<Item = bool> {
        self.gains(k).iter().map(|gain| *gain >= self.relevance_level)
    }

    /// How many of the first `k` retrieved documents are relevant.
    pub(super) fn num_relevant_retrieved(&self, k: NonZeroUsize) -> usize {
        self.relevant(Some(k)).filter(|relevant| *relevant).count()
    }

    /// How many documents are relevant, retrieved or not.
    pub(super) fn num_relevant(&self) -> usize {
        self.ideal_gains.partition_point(|gain| *gain >= self.relevance_level)
    }
}

/// The document ids in the order of trec_eval's `comp_sim_docno`: score descending, then id descending in byte order.
fn rank<'a>(list: &'a [ScoredDocument], rules: &Rules) -> Vec<&'a str> {
    let mut ranked: Vec<(f64, &str)> = list
        .iter()
        .map(|hit| {
            let score = match rules.score_precision {
                // Scores beyond the range of f32 become infinities, and so ties, in trec_eval 9 too.
                ScorePrecision::F32 => f64::from(hit.score as f32),
                ScorePrecision::F64 => hit.score,
            };
            (score, hit.doc_id.as_str())
        })
        .collect();
    ranked.sort_unstable_by(|(score_a, id_a), (score_b, id_b)| {
        // No score is NaN; `total_cmp` would tell -0.0 from 0.0.
        let by_score = score_b.partial_cmp(score_a).unwrap_or(Ordering::Equal);
        by_score.then_with(|| id_b.cmp(id_a))
    });
    if let Some(depth) = rules.depth {
        ranked.truncate(depth.get());
    }
    ranked.into_iter().map(|(_, doc_id)| doc_id).collect()
}

#[cfg(test)]
mod tests {
    use super::super::RuleSet;
    use super::*;

    fn hits(list: &[(&str, f64)]) -> Vec<ScoredDocument> {
        list.iter()
            .map(|(doc_id, score)| ScoredDocument { doc_id: (*doc_id).to_owned(), score: *score })
            .collect()
    }

    #[test]
    fn ties_are_ordered_by_document_id_descending_in_byte_order() {
        let list =
            hits(&[("10", 1.0), ("9", 1.0), ("é", 1.0), ("Z", 1.0), ("a", 1.0), ("x", 2.0), ("y", -1.0)]);
        assert_eq!(rank(&list, &RuleSet::TrecEval.rules(false)), ["x", "é", "a", "Z", "9", "10", "y"]);
    }

    #[test]
    fn negative_zero_equals_zero() {
        let list = hits(&[("a", 0.0), ("c", -0.0), ("b", 0.0)]);
        assert_eq!(rank(&list, &RuleSet::TrecEval.rules(false)), ["c", "b", "a"]);
    }

    #[test]
    fn rounding_to_f32_makes_ties() {
        // The spacing of f32 at 1 is 2^-23 = 1.2e-7; above 3.5e38 all is infinite.
        let list = hits(&[("a", 1.0 + 1e-9), ("b", 1.0), ("c", 1e300), ("d", 1e299)]);
        assert_eq!(rank(&list, &RuleSet::TrecEval.rules(false)), ["c", "d", "a", "b"]);
        assert_eq!(rank(&list, &RuleSet::TrecEval9.rules(false)), ["d", "c", "b", "a"]);
    }

    #[test]
    fn mteb_cuts_the_list_before_it_drops_the_identical_id() {
        let list: Vec<ScoredDocument> =
            (0..1500).map(|i| ScoredDocument { doc_id: format!("d{i}"), score: -f64::from(i) }).collect();
        let judgments = BTreeMap::from([("d999".to_owned(), 1), ("d1000".to_owned(), 1)]);
        for (drop_identical_ids, expected) in [(false, 1000), (true, 999)] {
            let ranking =
                JudgedRanking::new("d5", &list, &judgments, &RuleSet::Mteb.rules(drop_identical_ids));
            assert_eq!(ranking.gains(None).len(), expected);
            assert_eq!(ranking.relevant(None).filter(|relevant| *relevant).count(), 1);
        }
    }
}
