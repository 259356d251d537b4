//! Small examples whose values follow from the definitions.

use secateur::eval::{Error, Measure, QueryCounts, RuleSet, Rules, check_ids, evaluate};
use secateur::report;
use secateur_datasets::{Qrels, Run, ScoredDocument};

use super::{by_query, hits, judgments};

fn value(measure: &str, list: &[(&str, f64)], judged: &[(&str, i32)]) -> f64 {
    let measure: Measure = measure.parse().unwrap();
    let qrels: Qrels = by_query([("q", judgments(judged))]);
    let run: Run = by_query([("q", hits(list))]);
    evaluate(&qrels, &run, &[measure], &RuleSet::TrecEval.rules(false)).unwrap().means[0]
}

#[test]
fn each_measure_follows_its_definition() {
    let judged: &[(&str, i32)] = &[("a", 3), ("b", 0), ("c", 1), ("d", -2), ("e", 1)];
    // Ranks: u (unjudged), a, d (negative), c; e is not retrieved.
    let list: &[(&str, f64)] = &[("u", 9.0), ("a", 8.0), ("d", 7.0), ("c", 6.0)];
    let discount = |rank: f64| (rank + 1.0).log2();
    let ideal = 3.0 / discount(1.0) + 1.0 / discount(2.0) + 1.0 / discount(3.0);
    let cases = [
        ("nDCG@10", (3.0 / discount(2.0) + 1.0 / discount(4.0)) / ideal),
        ("nDCG@2", (3.0 / discount(2.0)) / (3.0 / discount(1.0) + 1.0 / discount(2.0))),
        ("nDCG@1", 0.0),
        ("Recall@100", 2.0 / 3.0),
        ("Recall@2", 1.0 / 3.0),
        ("MAP", (1.0 / 2.0 + 2.0 / 4.0) / 3.0),
        ("MAP@3", (1.0 / 2.0) / 3.0),
        ("MRR", 1.0 / 2.0),
        ("MRR@10", 1.0 / 2.0),
        ("MRR@1", 0.0),
        ("P@10", 2.0 / 10.0),
        ("P@2", 1.0 / 2.0),
    ];
    for (measure, expected) in cases {
        // The same few operations in the same order: equal to the last bit.
        assert_eq!(value(measure, list, judged), expected, "{measure}");
    }
}

#[test]
fn a_query_without_relevant_documents_counts_zero() {
    for judged in [&[("a", 0), ("b", 0)][..], &[("a", -1), ("b", -3)]] {
        for list in [&[("a", 1.0), ("b", 0.5)][..], &[]] {
            for measure in Measure::DEFAULT {
                let value = value(&measure.to_string(), list, judged);
                assert!(value == 0.0 && value.is_sign_positive(), "{measure}: {value}");
            }
        }
    }
}

#[test]
fn extreme_relevance_is_no_overflow() {
    let judged = [("a", i32::MAX), ("b", i32::MIN), ("c", i32::MAX)];
    assert_eq!(value("nDCG@10", &[("a", 3.0), ("c", 2.0), ("b", 1.0)], &judged), 1.0);
}

#[test]
fn queries_are_counted() {
    let judged = || judgments(&[("d", 1)]);
    let qrels: Qrels = by_query([
        ("found", judged()),
        ("empty", judged()),
        ("missing", judged()),
        ("nothing judged", judgments(&[])),
    ]);
    let run: Run = by_query([
        ("found", hits(&[("d", 1.0)])),
        ("empty", hits(&[])),
        ("nothing judged", hits(&[("d", 1.0)])),
        ("unknown", hits(&[("d", 1.0)])),
    ]);
    let mrr: Measure = "MRR".parse().unwrap();
    let cases = [(RuleSet::TrecEval, 3, 1.0 / 3.0), (RuleSet::Beir, 2, 1.0 / 2.0)];
    for (rule_set, evaluated, mean) in cases {
        let evaluation = evaluate(&qrels, &run, &[mrr], &rule_set.rules(false)).unwrap();
        assert_eq!(evaluation.counts, QueryCounts { judged: 3, evaluated, missing: 1, unjudged: 2 });
        assert_eq!(evaluation.counts.skipped(), 3 - evaluated);
        assert_eq!(evaluation.per_query.len(), evaluated);
        assert_eq!(evaluation.mean(mrr), Some(mean));
        assert_eq!(evaluation.value("empty", mrr), Some(0.0));
        assert_eq!(evaluation.value("unknown", mrr), None);
        assert_eq!(evaluation.mean(Measure::Map(None)), None);

        let skipped =
            format!("1 missing from the run, {} skipped; 2 of the run without judgments", 3 - evaluated);
        let table = report::table(&evaluation);
        assert!(table.contains(&skipped), "{table}");
        let json: serde_json::Value = serde_json::from_str(&report::json(&evaluation, true)).unwrap();
        assert_eq!(json["queries"]["skipped"], 3 - evaluated);
        assert_eq!(json["means"]["MRR"], mean);
        assert_eq!(json["per_query"]["found"]["MRR"], 1.0);
        assert_eq!(json["per_query"].as_object().unwrap().len(), evaluated);
        let json: serde_json::Value = serde_json::from_str(&report::json(&evaluation, false)).unwrap();
        assert_eq!(json.get("per_query"), None);
    }
}

#[test]
fn the_document_that_is_the_query_is_dropped_where_the_rules_say_so() {
    let qrels: Qrels = by_query([("q", judgments(&[("d", 1)]))]);
    let run: Run = by_query([("q", hits(&[("q", 2.0), ("d", 1.0)]))]);
    let mrr: Measure = "MRR".parse().unwrap();
    let cases = [
        (RuleSet::TrecEval, true, 0.5),
        (RuleSet::TrecEval9, true, 0.5),
        (RuleSet::Beir, false, 1.0),
        (RuleSet::Mteb, false, 0.5),
        (RuleSet::Mteb, true, 1.0),
    ];
    for (rule_set, drop_identical_ids, expected) in cases {
        let evaluation = evaluate(&qrels, &run, &[mrr], &rule_set.rules(drop_identical_ids)).unwrap();
        assert_eq!(evaluation.mean(mrr), Some(expected), "{rule_set} {drop_identical_ids}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let qrels: Qrels = by_query([("q1", judgments(&[("d", 1)]))]);
    let rules: Rules = RuleSet::TrecEval.rules(false);
    let error = |qrels: &Qrels, run: &Run| evaluate(qrels, run, &Measure::DEFAULT, &rules).unwrap_err();

    // Also in a query that has no judgments.
    for score in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let run: Run = by_query([("q1", hits(&[])), ("q2", hits(&[("d1", 1.0), ("d2", score)]))]);
        let message = error(&qrels, &run).to_string();
        assert!(message.contains("\"q2\"") && message.contains("\"d2\""), "{message}");
        assert!(message.contains(&score.to_string()), "{message}");
    }

    let run: Run = by_query([("q1", hits(&[("d", 1.0), ("e", 0.5), ("d", 0.5)]))]);
    assert_eq!(
        error(&qrels, &run),
        Error::DuplicateDocument { query_id: "q1".to_owned(), doc_id: "d".to_owned() }
    );

    let run: Run = by_query([("q7", hits(&[("d", 1.0)])), ("q8", hits(&[]))]);
    let message = error(&qrels, &run).to_string();
    assert!(message.contains("1 are judged (the first is \"q1\")"), "{message}");
    assert!(message.contains("2 are in the run (the first is \"q7\")"), "{message}");
    assert!(error(&qrels, &Run::new()).to_string().contains("0 are in the run;"));

    assert_eq!(error(&Qrels::new(), &run), Error::NoJudgments);
    assert_eq!(error(&by_query([("q7", judgments(&[]))]), &run), Error::NoJudgments);
}

#[test]
fn ids_of_another_data_set_are_named() {
    let run: Run = by_query([("q1", hits(&[("d1", 1.0)])), ("q2", hits(&[("d1", 1.0), ("d9", 0.5)]))]);
    let no_document = check_ids(&run, |_| true, |doc_id| doc_id != "d9").unwrap_err();
    assert_eq!(no_document, Error::UnknownDocument { query_id: "q2".to_owned(), doc_id: "d9".to_owned() });
    let no_query = check_ids(&run, |query_id| query_id != "q2", |_| true).unwrap_err();
    assert_eq!(no_query, Error::UnknownQuery { query_id: "q2".to_owned() });
}

#[test]
fn evaluation_leaves_its_arguments_alone() {
    let qrels: Qrels = by_query([("q", judgments(&[("d", 1)]))]);
    let list: Vec<ScoredDocument> = hits(&[("q", 1.0), ("d", 2.0)]);
    let run: Run = by_query([("q", list.clone())]);
    let rules = RuleSet::Beir.rules(false);
    let first = evaluate(&qrels, &run, &Measure::DEFAULT, &rules).unwrap();
    assert_eq!(run["q"], list);
    assert_eq!(evaluate(&qrels, &run, &Measure::DEFAULT, &rules).unwrap(), first);
}
