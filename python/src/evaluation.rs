//! Runs are measured and compared.

use pyo3::prelude::*;
use secateur::compare::CompareOptions;
use secateur::datasets::{Qrels, Run};
use secateur::eval::{Measure, RuleSet};
use secateur::statistics::Randomization;
use serde_json::json;

use crate::arguments::named;
use crate::datasets::BeirFolder;
use crate::errors::{of_kind, usage};
use crate::runs::{Scores, run_of};
use crate::values::to_python;
use crate::work::compute;

/// Measures by their names, or the usual ones.
fn measures_of(names: &[String]) -> PyResult<Vec<Measure>> {
    match names {
        [] => Ok(Measure::DEFAULT.to_vec()),
        names => names.iter().map(|name| named("measures", name)).collect(),
    }
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
    let measures = measures_of(&measures)?;
    let rules = named::<RuleSet>("rules", rules)?.rules_for(dataset);
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

/// How runs are compared: what is left out is as [`CompareOptions::default`] says.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct CompareArguments {
    #[pyo3(default)]
    permutations: Option<usize>,
    #[pyo3(default)]
    seed: Option<u64>,
    #[pyo3(default)]
    moved: Option<usize>,
    #[pyo3(default)]
    answers: Option<usize>,
    measures: Vec<String>,
    rules: String,
    dataset: String,
}

impl CompareArguments {
    fn options(&self) -> PyResult<CompareOptions> {
        let default = CompareOptions::default();
        let permutations = self.permutations.unwrap_or(default.randomization.permutations);
        if permutations == 0 {
            return Err(usage("permutations is 0: the randomization test tries at least one"));
        }
        let seed = self.seed.unwrap_or(default.randomization.seed);
        Ok(CompareOptions {
            randomization: Randomization { permutations, seed },
            moved: self.moved.unwrap_or(default.moved),
            answers: self.answers.unwrap_or(default.answers),
        })
    }
}

/// Runs, each with its name, against the first of them. The texts shown are those of `folder`.
#[pyfunction]
pub fn compare<'py>(
    py: Python<'py>,
    qrels: Qrels,
    runs: Vec<(String, Scores)>,
    arguments: CompareArguments,
    folder: Option<Py<BeirFolder>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = arguments.options()?;
    let measures = measures_of(&arguments.measures)?;
    let rules = named::<RuleSet>("rules", &arguments.rules)?.rules_for(&arguments.dataset);
    let comparison = compute(py, || {
        let runs: Vec<(String, Run)> =
            runs.into_iter().map(|(name, scores)| (name, run_of(scores))).collect();
        let runs: Vec<(&str, &Run)> = runs.iter().map(|(name, run)| (name.as_str(), run)).collect();
        let mut comparison = options.compare(&runs, &qrels, &measures, &rules)?;
        if let Some(folder) = &folder {
            comparison.add_texts(&folder.get().0)?;
        }
        Ok(comparison)
    })?;
    let value = serde_json::to_value(&comparison)
        .map_err(|error| of_kind(secateur::ErrorKind::System, error.to_string()))?;
    to_python(py, &json!({ "found": value, "rules": rules.to_string(), "text": comparison.to_string() }))
}
