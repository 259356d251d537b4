//! Files of the field: BEIR folders, TREC's runs and judgments, training examples, documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use secateur::ErrorKind;
use secateur::datasets::layout::{self, Layout};
use secateur::datasets::source::{EmptyDocuments, Source};
use secateur::datasets::triples::{Examples, TrainingExample};
use secateur::datasets::{Qrels, beir, source, trec};
use secateur_files::DurableFolder;
use serde_json::json;

use crate::documents::{FieldArguments, fields};
use crate::errors::{of_kind, refused, usage};
use crate::runs::{Scores, run_of, scores_of};
use crate::values::to_python;

/// How many records are read at once.
const BATCH: usize = 256;

/// A data set in BEIR's layout.
#[pyclass(frozen, module = "secateur._native")]
pub struct BeirFolder(pub beir::BeirFolder);

#[pymethods]
impl BeirFolder {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<BeirFolder> {
        Ok(BeirFolder(py.detach(|| beir::BeirFolder::open(path)).map_err(refused)?))
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn path(&self) -> &Path {
        self.0.path()
    }

    #[getter]
    fn splits(&self) -> PyResult<Vec<String>> {
        self.0.splits().map_err(refused)
    }

    #[getter]
    fn default_split(&self) -> PyResult<String> {
        self.0.default_split().map_err(refused)
    }

    /// The text of each query; of those with a judgment, if there is a split.
    fn queries(&self, py: Python<'_>, split: Option<&str>) -> PyResult<BTreeMap<String, String>> {
        let read = || -> secateur::Result<BTreeMap<String, String>> {
            let queries = match split {
                Some(split) => self.0.judged_queries(&self.0.qrels(split)?)?,
                None => self.0.queries()?.collect::<Result<Vec<_>, _>>()?,
            };
            Ok(queries.into_iter().map(|query| (query.id, query.text)).collect())
        };
        py.detach(read).map_err(refused)
    }

    fn qrels(&self, py: Python<'_>, split: &str) -> PyResult<Qrels> {
        py.detach(|| self.0.qrels(split)).map_err(refused)
    }

    /// Counts of documents, queries and judgments.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let info = py.detach(|| self.0.info()).map_err(refused)?;
        let splits: Vec<_> = info
            .splits
            .iter()
            .map(|split| {
                json!({
                    "name": split.name,
                    "num_queries": split.queries,
                    "num_judgments": split.judgments,
                    "num_positive_judgments": split.positive_judgments,
                })
            })
            .collect();
        let value = json!({
            "name": info.name,
            "num_documents": info.documents,
            "num_empty_documents": info.empty_documents,
            "num_queries": info.queries,
            "default_split": info.default_split,
            "splits": splits,
        });
        to_python(py, &value)
    }

    /// Every fault, as a line with its file and place; and the numbers of errors and of warnings.
    fn verify(&self, py: Python<'_>) -> PyResult<(Vec<String>, u64, u64)> {
        py.detach(|| {
            let mut findings = Vec::new();
            let verdict = self.0.verify(|finding| findings.push(finding.to_string()))?;
            Ok((findings, verdict.errors, verdict.warnings))
        })
        .map_err(|error: secateur::datasets::Error| refused(error))
    }
}

/// A collection in another layout: the hub's, MS MARCO's, ir_datasets'.
#[pyclass(frozen, module = "secateur._native")]
pub struct Collection(layout::Collection);

#[pymethods]
impl Collection {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Collection> {
        Ok(Collection(py.detach(|| layout::Collection::find(&path)).map_err(refused)?))
    }

    /// The text of each query.
    fn queries(&self, py: Python<'_>) -> PyResult<BTreeMap<String, String>> {
        let queries = py.detach(|| self.0.queries()).map_err(refused)?;
        Ok(queries.into_iter().map(|query| (query.id, query.text)).collect())
    }

    /// The judgments of each split.
    fn qrels(&self, py: Python<'_>) -> PyResult<BTreeMap<String, Qrels>> {
        py.detach(|| self.0.qrels()).map_err(refused)
    }

    /// Writes a folder in another layout, whole or not at all; documents, queries and judgments.
    fn convert(&self, py: Python<'_>, out: PathBuf, to: &str) -> PyResult<(u64, u64, u64)> {
        let to = match to {
            "beir" => Layout::Beir,
            "tsv" => Layout::Tsv,
            _ => return Err(usage(format!("layout: {to:?} is none of beir, tsv"))),
        };
        if out.exists() {
            return Err(usage(format!("{} exists: choose another folder, or remove it", out.display())));
        }
        let write = || -> secateur::Result<layout::Converted> {
            let folder = DurableFolder::create(&out)?;
            let converted = self.0.convert(folder.temporary(), to)?;
            folder.finish()?;
            Ok(converted)
        };
        let converted = py.detach(write).map_err(refused)?;
        Ok((converted.documents, converted.queries, converted.judgments))
    }
}

/// Documents of files, some at a time.
#[pyclass(frozen, module = "secateur._native")]
pub struct SourceDocuments(Mutex<source::SourceDocuments>);

/// A document, id, title, text and the text of its metadata; and its vector.
type WithVector = ((String, String, String, Option<String>), Option<Vec<f32>>);

#[pymethods]
impl SourceDocuments {
    #[new]
    fn new(py: Python<'_>, files: Vec<PathBuf>, names: FieldArguments) -> PyResult<SourceDocuments> {
        let source = py.detach(|| Source::open(&files, names.names())).map_err(refused)?;
        Ok(SourceDocuments(Mutex::new(source.documents(EmptyDocuments::Any))))
    }

    /// The next documents; none at the end.
    fn take(&self, py: Python<'_>) -> PyResult<Vec<WithVector>> {
        let read = || {
            let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let batch = documents.by_ref().take(BATCH);
            batch
                .map(|item| item.map(|(document, vector)| (fields(document), vector)))
                .collect::<Result<Vec<_>, _>>()
        };
        py.detach(read).map_err(refused)
    }
}

/// A document of a JSON object: id, title, text and the text of its metadata.
#[pyfunction]
pub fn parse_record(text: &str, names: FieldArguments) -> PyResult<(String, String, String, Option<String>)> {
    match source::parse_record(text, &names.names()) {
        Ok((document, _)) => Ok(fields(document)),
        Err(fault) => Err(of_kind(ErrorKind::Input, fault.to_string())),
    }
}

/// Training examples of a file, one by one.
#[pyclass(frozen, module = "secateur._native")]
pub struct TrainingExamples(Mutex<Examples>);

#[pymethods]
impl TrainingExamples {
    #[new]
    fn new(path: PathBuf) -> PyResult<TrainingExamples> {
        Ok(TrainingExamples(Mutex::new(Examples::open(path, None).map_err(refused)?)))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = py.detach(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).next());
        match next {
            None => Ok(None),
            Some(Err(error)) => Err(refused(error)),
            Some(Ok(example)) => Ok(Some(as_dictionary(py, example)?)),
        }
    }
}

/// With the keys of FlagEmbedding.
fn as_dictionary(py: Python<'_>, example: TrainingExample) -> PyResult<Bound<'_, PyAny>> {
    let dictionary = PyDict::new(py);
    dictionary.set_item("query", example.query)?;
    dictionary.set_item("pos", example.positives)?;
    dictionary.set_item("neg", example.negatives)?;
    for (key, scores) in [("pos_scores", example.positive_scores), ("neg_scores", example.negative_scores)] {
        if let Some(scores) = scores {
            dictionary.set_item(key, scores)?;
        }
    }
    for (key, text) in [("query_id", example.query_id), ("prompt", example.prompt), ("type", example.kind)] {
        if let Some(text) = text {
            dictionary.set_item(key, text)?;
        }
    }
    for (key, ids) in [("pos_id", example.positive_ids), ("neg_id", example.negative_ids)] {
        if let Some(ids) = ids {
            dictionary.set_item(key, ids)?;
        }
    }
    dictionary.into_bound_py_any(py)
}

/// Reads judgments in TREC's or BEIR's layout.
#[pyfunction]
pub fn read_qrels(py: Python<'_>, path: PathBuf) -> PyResult<Qrels> {
    py.detach(|| layout::read_judgments(path)).map_err(refused)
}

/// Writes judgments in TREC's layout.
#[pyfunction]
pub fn write_qrels(py: Python<'_>, path: PathBuf, qrels: Qrels) -> PyResult<()> {
    py.detach(|| trec::write_qrels(path, &qrels)).map_err(refused)
}

/// Reads a run in TREC's layout.
#[pyfunction]
pub fn read_run(py: Python<'_>, path: PathBuf) -> PyResult<Scores> {
    py.detach(|| trec::read_run(path)).map(scores_of).map_err(refused)
}

/// Writes a run in TREC's layout.
#[pyfunction]
pub fn write_run(py: Python<'_>, path: PathBuf, run: Scores, tag: &str) -> PyResult<()> {
    py.detach(|| trec::write_run(path, &run_of(run), tag)).map_err(refused)
}
