//! Models that score pairs of texts.

use std::path::{Path, PathBuf};

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::arguments::LoadArguments;
use crate::work::{Progress, Told, compute, watched};

/// How many pairs are scored between two looks at whether to go on.
const CHUNK: usize = 128;

/// A model that reads a query and a passage together.
#[pyclass(frozen, module = "secateur._native")]
pub struct CrossEncoder(secateur::encode::CrossEncoder);

#[pymethods]
impl CrossEncoder {
    /// Loads a model directory.
    #[new]
    fn new(py: Python<'_>, model: PathBuf, options: LoadArguments) -> PyResult<CrossEncoder> {
        let options = options.options()?;
        Ok(CrossEncoder(compute(py, || Ok(secateur::encode::CrossEncoder::load(&model, &options)?))?))
    }

    /// The logit of each pair: (B) -> f32 (B), higher is better.
    fn score<'py>(
        &self,
        py: Python<'py>,
        pairs: Vec<(PyBackedStr, PyBackedStr)>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(query, passage)| (&**query, &**passage)).collect();
        let scores = if pairs.len() <= CHUNK && progress.is_none() {
            compute(py, || Ok(self.0.score(&pairs)?))?
        } else {
            let progress = Progress::new(progress);
            watched(py, |watch| {
                let told = Told::of("scoring", "pairs", Some(pairs.len()));
                let mut scores = Vec::with_capacity(pairs.len());
                for chunk in pairs.chunks(CHUNK) {
                    progress.tell(watch, &told, scores.len(), None);
                    scores.extend(watch.install(|| self.0.score(chunk))?);
                }
                progress.tell(watch, &told, scores.len(), None);
                Ok(scores)
            })?
        };
        Ok(PyArray1::from_vec(py, scores))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn directory(&self) -> &Path {
        self.0.directory()
    }

    #[getter]
    fn max_length(&self) -> usize {
        self.0.max_length()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        self.0.fingerprint().to_string()
    }
}
