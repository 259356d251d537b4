//! Runs are measured.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use secateur::datasets::{Qrels, Run, ScoredDocument};
use secateur::eval::{Measure, RuleSet};
use serde_json::json;

use crate::arguments::named;
use crate::values::to_python;
use crate::work::compute;

/// A run as Python programs have it: `query_id -> document id -> score`.
pub type Scores = BTreeMap<String, BTreeMap<String, f64>>;

/// The library's run.
pub fn run_of(scores: Scores) -> Run {
    let hits = |scores: BTreeMap<String, f64>| {
        scores.into_iter().map(|(doc_id, score)| ScoredDocument { doc_id, score }).collect()
    };
    scores.into_iter().map(|(query_id, scores)| (query_id, hits(scores))).collect()
}

/// Python's run.
pub fn scores_of(run: Run) -> Scores {
    let scores = |hits: Vec<ScoredDocument>| hits.into_iter().map(|hit| (hit.doc_id, hit.score)).collect();
    run.into_iter().map(|(query_id, hits)| (query_id, scores(hits))).collect()
}

/// The measures of a run. `dataset` is the name of the data set, by which MTEB's rules differ.
#[pyfunction]
pub fn evaluate<'py>(
    py: Python<'py>,
    qrels: Qrels,
    run: Scores,
    measures: Vec<String>,
    rules: &str,
    dataset: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let measures = match measures.as_slice() {
        [] => Measure::DEFAULT.to_vec(),
        names => names.iter().map(|name| named("measures", name)).collect::<PyResult<Vec<Measure>>>()?,
    };
    let rule_set: RuleSet = named("rules", rules)?;
    let rules = rule_set.rules_for(dataset);
    let evaluation = compute(py, || Ok(secateur::eval::evaluate(&qrels, &run_of(run), &measures, &rules)?))?;
    let values = |values: &[f64]| -> serde_json::Map<String, serde_json::Value> {
        measures.iter().zip(values).map(|(measure, value)| (measure.to_string(), json!(value))).collect()
    };
    let per_query: serde_json::Map<String, serde_json::Value> =
        evaluation.per_query.iter().map(|(id, found)| (id.clone(), values(found).into())).collect();
    let counts = evaluation.counts;
    let value = json!({
        "rules": rules.to_string(),
        "means": values(&evaluation.means),
        "per_query": per_query,
        "num_judged": counts.judged,
        "num_evaluated": counts.evaluated,
        "num_missing": counts.missing,
        "num_unjudged": counts.unjudged,
        "table": secateur::report::table(&evaluation),
    });
    to_python(py, &value)
}
