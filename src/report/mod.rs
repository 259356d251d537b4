//! Reports: an [`Evaluation`] as text for people and as JSON for programs.

mod bench;
mod curve;
mod heat_map;
mod mteb;
mod similarity;
pub mod svg;
mod trade_off;
mod widths;

use serde_json::{Map, Value, json};

use crate::eval::{Evaluation, Measure, MissingQueries};

pub use crate::number::{agreed, counted, grouped, noun, three_digits};
pub use crate::table::{Align, Table};
pub use bench::{ann_csv, bench_markdown, bench_page, bench_text, mteb_json, per_query_tsv, write_bench};
pub use curve::{Curve, curves};
pub use heat_map::drop_order;
pub use mteb::{mteb_encoder_meta, mteb_model_meta};
pub use similarity::{SimilarDocument, layer_similarity};
pub use trade_off::{TradeOff, trade_offs};
pub use widths::widths;

/// The evaluation as text: rules, numbers of queries, and the mean of each measure to four decimals.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use secateur_datasets::{Qrels, Run, ScoredDocument};
/// use secateur::eval::{Measure, RuleSet, evaluate};
/// use secateur::report;
///
/// # let qrels: Qrels = BTreeMap::from([("q1".to_owned(), BTreeMap::from([("d1".to_owned(), 1)]))]);
/// # let hit = |doc_id: &str, score: f64| ScoredDocument { doc_id: doc_id.to_owned(), score };
/// # let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit("d2", 0.9), hit("d1", 0.7)])]);
/// let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false))?;
/// assert_eq!(
///     report::table(&evaluation),
///     "\
/// rules: trec_eval (f64 scores; missing queries count 0; identical ids kept)
/// queries: 1 judged, 1 evaluated, 0 missing from the run, 0 skipped
///
/// measure       mean
/// nDCG@10     0.6309
/// Recall@100  1.0000
/// MAP         0.5000
/// MRR@10      0.5000
/// P@10        0.1000
/// "
/// );
/// # Ok::<(), secateur::eval::Error>(())
/// ```
pub fn table(evaluation: &Evaluation) -> String {
    let counts = evaluation.counts;
    let mut head = format!(
        "rules: {}\nqueries: {} judged, {} evaluated, {} missing from the run, {} skipped",
        evaluation.rules,
        counts.judged,
        counts.evaluated,
        counts.missing,
        counts.skipped()
    );
    if counts.unjudged > 0 {
        head.push_str(&format!("; {} of the run without judgments", counts.unjudged));
    }
    let mut means = Table::new([("measure", Align::Left), ("mean", Align::Right)]);
    for (measure, mean) in evaluation.measures.iter().zip(&evaluation.means) {
        means.row([measure.to_string(), four_decimals(*mean)]);
    }
    format!("{head}\n\n{means}")
}

/// The values of each query as text: a row a query in the byte order of their ids, a column a measure, four decimals.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use secateur_datasets::{Qrels, Run, ScoredDocument};
/// use secateur::eval::{Measure, RuleSet, evaluate};
/// use secateur::report;
///
/// # let qrels: Qrels = BTreeMap::from([("q1".to_owned(), BTreeMap::from([("d1".to_owned(), 1)]))]);
/// # let hit = |doc_id: &str, score: f64| ScoredDocument { doc_id: doc_id.to_owned(), score };
/// # let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit("d2", 0.9), hit("d1", 0.7)])]);
/// let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT[..2], &RuleSet::TrecEval.rules(false))?;
/// assert_eq!(report::per_query_table(&evaluation), "query  nDCG@10  Recall@100\nq1      0.6309      1.0000\n");
/// # Ok::<(), secateur::eval::Error>(())
/// ```
pub fn per_query_table(evaluation: &Evaluation) -> String {
    let names = evaluation.measures.iter().map(Measure::to_string);
    let columns =
        std::iter::once(("query".to_owned(), Align::Left)).chain(names.map(|name| (name, Align::Right)));
    let mut table = Table::new(columns);
    for (query_id, values) in &evaluation.per_query {
        let values = values.iter().map(|value| four_decimals(*value));
        table.row(std::iter::once(query_id.clone()).chain(values));
    }
    table.to_string()
}

/// The evaluation as one indented JSON object with values in full precision. It has `rule_set` and `rules`, `queries`
/// (how many), `means` by measure and, if asked for, `per_query` by query id and measure.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use secateur_datasets::{Qrels, Run, ScoredDocument};
/// use secateur::eval::{Measure, RuleSet, evaluate};
/// use secateur::report;
///
/// # let qrels: Qrels = BTreeMap::from([("q1".to_owned(), BTreeMap::from([("d1".to_owned(), 1)]))]);
/// # let hit = |doc_id: &str, score: f64| ScoredDocument { doc_id: doc_id.to_owned(), score };
/// # let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit("d2", 0.9), hit("d1", 0.7)])]);
/// let evaluation = evaluate(&qrels, &run, &["MRR@10".parse()?], &RuleSet::Mteb.rules(false))?;
/// assert_eq!(
///     report::json(&evaluation, true),
///     r#"{
///   "rule_set": "mteb",
///   "rules": {
///     "score_precision": "f32",
///     "missing_queries": "skip",
///     "drop_identical_ids": false,
///     "depth": 1000,
///     "relevance_level": 1
///   },
///   "queries": {
///     "judged": 1,
///     "evaluated": 1,
///     "missing": 0,
///     "skipped": 0,
///     "unjudged": 0
///   },
///   "means": {
///     "MRR@10": 0.5
///   },
///   "per_query": {
///     "q1": {
///       "MRR@10": 0.5
///     }
///   }
/// }"#
/// );
/// # Ok::<(), secateur::eval::Error>(())
/// ```
pub fn json(evaluation: &Evaluation, per_query: bool) -> String {
    let rules = &evaluation.rules;
    let counts = evaluation.counts;
    let by_measure = |values: &[f64]| -> Map<String, Value> {
        let names = evaluation.measures.iter().map(Measure::to_string);
        names.zip(values.iter().map(|value| json!(value))).collect()
    };
    let mut object = json!({
        "rule_set": rules.rule_set.to_string(),
        "rules": {
            "score_precision": rules.score_precision.to_string(),
            "missing_queries": match rules.missing_queries {
                MissingQueries::CountAsZero => "count_as_zero",
                MissingQueries::Skip => "skip",
            },
            "drop_identical_ids": rules.drop_identical_ids,
            "depth": rules.depth.map(|depth| depth.get()),
            "relevance_level": rules.relevance_level.get(),
        },
        "queries": {
            "judged": counts.judged,
            "evaluated": counts.evaluated,
            "missing": counts.missing,
            "skipped": counts.skipped(),
            "unjudged": counts.unjudged,
        },
        "means": by_measure(&evaluation.means),
    });
    if per_query {
        let queries = evaluation.per_query.iter();
        object["per_query"] = queries
            .map(|(query_id, values)| (query_id.clone(), by_measure(values).into()))
            .collect::<Map<_, _>>()
            .into();
    }
    format!("{object:#}")
}

fn four_decimals(value: f64) -> String {
    format!("{value:.4}")
}
