//! Equality with pytrec_eval on random runs, recorded by `fixtures/pytrec_eval/generate.py`.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use secateur::eval::{Measure, MissingQueries, RuleSet, Rules, evaluate};
use secateur_datasets::{Qrels, Run, ScoredDocument};
use serde_json::Value;

/// The generator's MEASURES.
const MEASURES: [&str; 7] = ["nDCG@10", "Recall@100", "MAP", "MAP@10", "MRR", "MRR@10", "P@10"];

/// Both sides compute each value in f64 from at most 150 terms. Each term and each partial sum is rounded to a relative
/// 2^-53, and the values are at most 1. So the two values differ by at most 2 · (150 + 3 roundings of a term and the
/// quotient) · 2^-53 = 3.4e-14.
const TOLERANCE: f64 = 3.4e-14;

type Values = BTreeMap<String, Vec<f64>>;

struct Case {
    qrels: Qrels,
    run: Run,
    values: Values,
    /// Recorded where a run holds documents whose id is the query's.
    beir: Option<Values>,
}

fn cases() -> Vec<Case> {
    let path = secateur_testkit::workspace_root().join("tests/fixtures/pytrec_eval/cases.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(case).collect()
}

fn case(line: &str) -> Case {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let lists: BTreeMap<String, Vec<(String, f64)>> = serde_json::from_value(record["run"].take()).unwrap();
    let scored = |(doc_id, score)| ScoredDocument { doc_id, score };
    Case {
        qrels: serde_json::from_value(record["qrels"].take()).unwrap(),
        run: lists
            .into_iter()
            .map(|(query_id, list)| (query_id, list.into_iter().map(scored).collect()))
            .collect(),
        values: serde_json::from_value(record["values"].take()).unwrap(),
        beir: record.get_mut("beir").map(|values| serde_json::from_value(values.take()).unwrap()),
    }
}

/// How many values of the queries that count are not those recorded.
fn num_different(case: &Case, recorded: &Values, rules: &Rules) -> usize {
    let measures = MEASURES.map(|name| name.parse::<Measure>().unwrap());
    let evaluation = evaluate(&case.qrels, &case.run, &measures, rules).unwrap();
    assert!(evaluation.per_query.keys().eq(recorded.keys()), "the same queries count");
    let mut different = 0;
    for (m, mean) in evaluation.means.iter().enumerate() {
        let recorded_mean = recorded.values().map(|values| values[m]).sum::<f64>() / recorded.len() as f64;
        // The mean is over at most 3 queries, and so of no larger error.
        different += usize::from((mean - recorded_mean).abs() > TOLERANCE);
        for (query_id, values) in recorded {
            let value = evaluation.per_query[query_id][m];
            different += usize::from((value - values[m]).abs() > TOLERANCE);
        }
    }
    different
}

fn pytrec_eval() -> Rules {
    Rules { missing_queries: MissingQueries::Skip, ..RuleSet::TrecEval9.rules(false) }
}

#[test]
fn values_equal_pytrec_eval() {
    let cases = cases();
    assert_eq!(cases.len(), 1000);
    for (i, case) in cases.iter().enumerate() {
        assert_eq!(num_different(case, &case.values, &pytrec_eval()), 0, "line {}", i + 1);
    }
}

#[test]
fn values_equal_beir() {
    let mut recorded_apart = 0;
    for (i, case) in cases().iter().enumerate() {
        let beir = case.beir.as_ref().unwrap_or(&case.values);
        assert_eq!(num_different(case, beir, &RuleSet::Beir.rules(false)), 0, "line {}", i + 1);
        // No run is longer than MTEB's depth.
        for (drop_identical_ids, recorded) in [(false, &case.values), (true, beir)] {
            let rules = RuleSet::Mteb.rules(drop_identical_ids);
            assert_eq!(num_different(case, recorded, &rules), 0, "line {}", i + 1);
        }
        recorded_apart += usize::from(case.beir.as_ref().is_some_and(|beir| *beir != case.values));
    }
    assert!(recorded_apart > 50, "{recorded_apart} cases show the removal of identical ids");
}

#[test]
fn the_cases_hold_what_they_should() {
    let cases = cases();
    let count = |holds: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| holds(case)).count();
    let scores = |case: &Case| case.run.values().flatten().map(|hit| hit.score).collect::<Vec<f64>>();
    let relevances =
        |case: &Case| case.qrels.values().flat_map(|judged| judged.values().copied()).collect::<Vec<i32>>();

    let missing = count(&|case| case.qrels.keys().any(|query_id| !case.run.contains_key(query_id)));
    let unjudged_query = count(&|case| case.run.keys().any(|query_id| !case.qrels.contains_key(query_id)));
    let empty = count(&|case| case.run.values().any(Vec::is_empty));
    let unjudged_document = count(&|case| {
        case.run.iter().any(|(query_id, list)| {
            let judged = case.qrels.get(query_id);
            judged.is_some_and(|judged| list.iter().any(|hit| !judged.contains_key(&hit.doc_id)))
        })
    });
    let negative = count(&|case| relevances(case).iter().any(|relevance| *relevance < 0));
    let graded = count(&|case| relevances(case).iter().any(|relevance| *relevance > 1));
    let beyond_f32 = count(&|case| scores(case).iter().any(|score| score.abs() > f64::from(f32::MAX)));
    let long = count(&|case| case.run.values().any(|list| list.len() > 100));
    // Recorded values that only the rounding of scores to f32 explains.
    let near_ties = count(&|case| {
        let rules =
            Rules { score_precision: RuleSet::TrecEval.rules(false).score_precision, ..pytrec_eval() };
        num_different(case, &case.values, &rules) > 0
    });
    for (what, count, at_least) in [
        ("missing queries", missing, 100),
        ("queries without judgments", unjudged_query, 100),
        ("empty results", empty, 100),
        ("unjudged documents", unjudged_document, 500),
        ("negative judgments", negative, 100),
        ("graded judgments", graded, 300),
        ("scores beyond f32", beyond_f32, 100),
        ("lists beyond the cutoff of recall", long, 10),
        ("scores equal in f32 only", near_ties, 100),
    ] {
        assert!(count >= at_least, "{count} cases with {what}, expected {at_least} or more");
    }
}
