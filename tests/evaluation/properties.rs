//! What holds of every run.

use std::collections::BTreeMap;

use proptest::prelude::*;
use secateur::eval::{Measure, RuleSet, Rules, evaluate};
use secateur_datasets::{Qrels, Run, ScoredDocument};

const MEASURES: [&str; 10] =
    ["nDCG@10", "nDCG@3", "Recall@100", "Recall@3", "MAP", "MAP@3", "MRR", "MRR@3", "P@10", "P@3"];

fn measures() -> [Measure; 10] {
    MEASURES.map(|name| name.parse().unwrap())
}

fn values(judgments: &BTreeMap<String, i32>, list: &[ScoredDocument], rules: &Rules) -> Vec<f64> {
    let qrels: Qrels = BTreeMap::from([("q".to_owned(), judgments.clone())]);
    let run: Run = BTreeMap::from([("q".to_owned(), list.to_vec())]);
    evaluate(&qrels, &run, &measures(), rules).unwrap().means
}

/// Judgments over a pool of 25 documents, positive, zero and negative; at least one.
fn judgments() -> impl Strategy<Value = BTreeMap<String, i32>> {
    proptest::collection::btree_map((0..25_u8).prop_map(|i| format!("d{i}")), -1..4_i32, 1..20)
}

/// A list over the same pool, with ties.
fn list() -> impl Strategy<Value = Vec<ScoredDocument>> {
    proptest::collection::btree_map((0..25_u8).prop_map(|i| format!("d{i}")), -2..8_i32, 0..20).prop_map(
        |scores| {
            let scored = |(doc_id, score)| ScoredDocument { doc_id, score: f64::from(score) / 4.0 };
            scores.into_iter().map(scored).collect()
        },
    )
}

/// nDCG as it is defined. The rank of a document is one more than the number of documents before it. The ideal ranking
/// takes the largest gain that is left.
fn naive_ndcg(judgments: &BTreeMap<String, i32>, list: &[ScoredDocument], k: usize) -> f64 {
    let gain = |doc_id: &str| f64::from(judgments.get(doc_id).copied().unwrap_or(0).max(0));
    let mut dcg = 0.0;
    for hit in list {
        let before = |other: &&ScoredDocument| {
            other.score > hit.score
                || (other.score == hit.score && other.doc_id.as_bytes() > hit.doc_id.as_bytes())
        };
        let rank = 1 + list.iter().filter(before).count();
        if rank <= k {
            dcg += gain(&hit.doc_id) / (rank as f64 + 1.0).log2();
        }
    }
    let mut left: Vec<f64> = judgments.keys().map(|doc_id| gain(doc_id)).collect();
    let mut ideal = 0.0;
    for rank in 1..=k.min(left.len()) {
        let largest = (0..left.len()).max_by(|a, b| left[*a].total_cmp(&left[*b])).unwrap();
        ideal += left.swap_remove(largest) / (rank as f64 + 1.0).log2();
    }
    if ideal == 0.0 { 0.0 } else { dcg / ideal }
}

proptest! {
    #[test]
    fn measures_lie_between_zero_and_one(judgments in judgments(), list in list()) {
        for rule_set in RuleSet::ALL {
            for (name, value) in MEASURES.iter().zip(values(&judgments, &list, &rule_set.rules(true))) {
                prop_assert!((0.0..=1.0).contains(&value) && value.is_sign_positive(), "{name} {value}");
            }
        }
    }

    #[test]
    fn ndcg_is_its_definition(judgments in judgments(), list in list()) {
        let ours = values(&judgments, &list, &RuleSet::TrecEval.rules(false));
        for (value, k) in [(ours[0], 10), (ours[1], 3)] {
            // Two sums of at most 10 terms, each rounded to a relative 2^-53, and their quotient: 2 · 24 · 2^-53.
            let naive = naive_ndcg(&judgments, &list, k);
            prop_assert!((value - naive).abs() <= 5.4e-15, "{value} {naive}");
        }
    }

    #[test]
    fn the_order_of_a_list_has_no_effect(
        judgments in judgments(),
        (list, shuffled) in list().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle()))
    ) {
        for rule_set in RuleSet::ALL {
            let rules = rule_set.rules(false);
            prop_assert_eq!(values(&judgments, &list, &rules), values(&judgments, &shuffled, &rules));
        }
    }

    #[test]
    fn moving_a_better_document_up_never_costs(judgments in judgments(), list in list(), at: prop::sample::Index) {
        prop_assume!(list.len() >= 2);
        let mut list = list;
        // Distinct scores, so that exchanging two of them exchanges two ranks.
        for (i, hit) in list.iter_mut().enumerate() {
            hit.score = -(i as f64);
        }
        let i = at.index(list.len() - 1);
        let relevance = |hit: &ScoredDocument| judgments.get(&hit.doc_id).copied().unwrap_or(0).max(0);
        if relevance(&list[i]) >= relevance(&list[i + 1]) {
            list.swap(i, i + 1);
            (list[i].score, list[i + 1].score) = (list[i + 1].score, list[i].score);
        }
        let mut moved = list.clone();
        (moved[i].score, moved[i + 1].score) = (moved[i + 1].score, moved[i].score);
        let rules = RuleSet::TrecEval.rules(false);
        let pairs = values(&judgments, &list, &rules).into_iter().zip(values(&judgments, &moved, &rules));
        for (name, (before, after)) in MEASURES.iter().zip(pairs) {
            // Monotone but for the rounding of sums of at most 20 terms that are at most 1.
            prop_assert!(after >= before - 20.0 * f64::EPSILON, "{name} {before} {after}");
        }
    }

    #[test]
    fn a_perfect_run_has_every_gain(judgments in judgments()) {
        let scored = |(doc_id, relevance): (&String, &i32)| {
            ScoredDocument { doc_id: doc_id.clone(), score: f64::from(*relevance) }
        };
        let list: Vec<ScoredDocument> = judgments.iter().map(scored).collect();
        let any_relevant = judgments.values().any(|relevance| *relevance > 0);
        let expected = if any_relevant { 1.0 } else { 0.0 };
        let values = values(&judgments, &list, &RuleSet::TrecEval.rules(false));
        for name in ["nDCG@10", "nDCG@3", "Recall@100", "MAP", "MRR", "MRR@3"] {
            let m = MEASURES.iter().position(|measure| *measure == name).unwrap();
            prop_assert_eq!(values[m], expected, "{}", name);
        }
    }
}
