//! The pipeline: recipes and training.

use std::path::PathBuf;

use pyo3::prelude::*;
use secateur::effir::Recipe;
use serde_json::json;

use crate::errors::{exception, usage};
use crate::listener::Listener;
use crate::values::to_python;
use crate::work::{Progress, watched};

/// Runs a recipe: a file, or the text of one.
#[pyfunction]
pub fn effir<'py>(
    py: Python<'py>,
    file: Option<PathBuf>,
    text: Option<&str>,
    directory: Option<PathBuf>,
    out: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let read = match (&file, text) {
        (Some(file), _) => Recipe::read(file),
        (None, Some(text)) => text.parse(),
        (None, None) => return Err(usage("there is no recipe: give a file or a text")),
    };
    let recipe = Recipe { directory, ..read.map_err(|error| exception(&error))? };
    let progress = Progress::new(progress);
    let report = watched(py, |watch| {
        let mut listener = Listener::new(watch, &progress);
        watch.install(|| recipe.run(&out, &mut |stage, said| listener.hear(Some(stage.to_string()), said)))
    })?;
    let value = json!({ "model": report.model, "measured": report.measured, "text": report.to_string() });
    to_python(py, &value)
}

/// Trains a model directory. The options are the text of a recipe with a table `train`.
#[pyfunction]
pub fn train<'py>(
    py: Python<'py>,
    model: PathBuf,
    options: &str,
    out: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let recipe: Recipe = options.parse().map_err(|error| exception(&error))?;
    let Some(options) = recipe.train else { return Err(usage("there are no options of training")) };
    let progress = Progress::new(progress);
    let report = watched(py, |watch| {
        let mut listener = Listener::new(watch, &progress);
        watch.install(|| options.run(&model, &out, &mut |said| listener.hear(None, said)))
    })?;
    let outcome = &report.outcome;
    let value = json!({
        "model": report.model,
        "num_trained": report.num_trained,
        "num_steps": report.num_steps,
        "loss": outcome.loss,
        "best_step": outcome.best.map(|(step, _)| step),
        "best_ndcg_at_10": outcome.best.map(|(_, value)| value),
        "without_gradient": outcome.without_gradient,
        "notices": report.notices.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    to_python(py, &value)
}
