//! Generations, tuning, checks and compaction.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use secateur::index::search::{Recall, RecallCurve};
use secateur::index::storage::CompactOptions;
use serde_json::{Value, json};

use super::Database;
use crate::arguments::VectorArguments;
use crate::encoder::Encoder;
use crate::values::to_python;
use crate::work::{Progress, Told, compute, watched};

#[pymethods]
impl Database {
    /// Adds the vectors of all documents under another encoder.
    fn add_generation(
        &self,
        py: Python<'_>,
        name: &str,
        encoder: &Encoder,
        vectors: VectorArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let options = vectors.options()?;
        let progress = Progress::new(progress);
        self.change(py, |database, watch| {
            let told = Told::of("encoding", "documents", Some(database.len()));
            let tell = |done| progress.tell(watch, &told, done, None);
            watch.install(|| database.add_generation(name, &encoder.0, &options, tell))
        })
    }

    /// The database as read through a generation.
    fn generation(&self, py: Python<'_>, name: &str) -> PyResult<Database> {
        let reader = self.reader();
        Ok(Database::of(compute(py, || reader.generation(name))?))
    }

    /// Makes a generation the one in use.
    fn use_generation(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.change(py, |database, watch| watch.install(|| database.use_generation(name)))
    }

    /// Removes a generation.
    fn drop_generation(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.change(py, |database, watch| watch.install(|| database.drop_generation(name)))
    }

    /// Measures the recall of a graph on queries, and makes the least ef that reaches the target the default.
    fn tune<'py>(
        &self,
        py: Python<'py>,
        queries: Vec<PyBackedStr>,
        k: usize,
        target: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let queries: Vec<&str> = queries.iter().map(|query| &**query).collect();
        let curve = self.change(py, |database, watch| {
            watch.install(|| {
                let curve = database.tune(&queries, k, target)?;
                database.set_recall_curve(&curve)?;
                Ok(curve)
            })
        })?;
        to_python(py, &curve_value(&curve))
    }

    /// Sets the ef of searches that name none.
    fn set_ef_search(&self, py: Python<'_>, ef_search: usize) -> PyResult<()> {
        self.change(py, |database, watch| watch.install(|| database.set_ef_search(ef_search)))
    }

    /// What the last tuning measured.
    fn recall_curve<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reader = self.reader();
        let curve = compute(py, || reader.recall_curve())?;
        to_python(py, &curve.as_ref().map_or(Value::Null, curve_value))
    }

    /// Checks every byte of every file, and measures the recall of a graph at `k` on vectors of its own.
    fn verify<'py>(&self, py: Python<'py>, k: usize, num_queries: usize) -> PyResult<Bound<'py, PyAny>> {
        let reader = self.reader();
        let (report, recall) = watched(py, |watch| {
            let report = watch.install(|| reader.verify())?;
            watch.check();
            Ok((report, watch.install(|| reader.sample_recall(k, num_queries))?))
        })?;
        let value = json!({
            "num_files": report.num_files,
            "num_bytes": report.num_bytes,
            "num_documents": report.num_documents,
            "recall": recall.as_ref().map(recall_value),
        });
        to_python(py, &value)
    }

    /// Reclaims the space of deleted documents and makes one segment of many.
    fn compact<'py>(
        &self,
        py: Python<'py>,
        memory: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let progress = Progress::new(progress);
        let default = CompactOptions::default();
        let options = CompactOptions { memory_budget: memory.unwrap_or(default.memory_budget) };
        let report = self.change(py, |database, watch| {
            let tell = |done, all| {
                progress.tell(watch, &Told::of("compacting", "documents", Some(all)), done, None);
            };
            watch.install(|| database.compact(&options, tell))
        })?;
        let value = json!({
            "num_segments": report.num_segments,
            "num_rows": report.num_rows,
            "num_bytes": report.num_bytes,
        });
        to_python(py, &value)
    }
}

fn curve_value(curve: &RecallCurve) -> Value {
    json!({
        "k": curve.k,
        "num_queries": curve.num_queries,
        "ef_search": curve.ef_search,
        "points": curve.points.iter().map(recall_value).collect::<Vec<_>>(),
    })
}

fn recall_value(recall: &Recall) -> Value {
    json!({ "ef_search": recall.ef_search, "mean": recall.mean, "percentile_5": recall.percentile_5 })
}
