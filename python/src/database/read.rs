//! What a database holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use secateur::database::GenerationInfo;
use secateur::index::RowId;
use secateur::index::filter::ValueKind;
use serde_json::{Value, json};

use super::Database;
use crate::arguments::filter;
use crate::documents::fields;
use crate::errors::{of_kind, usage};
use crate::values::to_python;
use crate::work::compute;

/// How many documents are read at once.
const PAGE: usize = 256;

/// A document: id, title, text and the text of its metadata.
type Fields = (String, String, String, Option<String>);

#[pymethods]
impl Database {
    /// The documents with these ids; `None` for an id that is not there.
    fn documents(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<Vec<Option<Fields>>> {
        let reader = self.reader();
        compute(py, || ids.iter().map(|id| Ok(reader.document(id)?.map(fields))).collect())
    }

    /// All documents as they are now, or those that match, some at a time.
    fn all(&self, py: Python<'_>, matching: Option<&str>) -> PyResult<DocumentPages> {
        let database = self.reader();
        let matching = matching.map(filter).transpose()?;
        let rows = compute(py, || {
            if let Some(filter) = &matching {
                database.check_filter(filter)?;
            }
            database.rows(matching.as_ref())
        })?;
        Ok(DocumentPages { database, rows, next: AtomicUsize::new(0) })
    }

    /// Whether each id is there.
    fn contains(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<Vec<bool>> {
        let reader = self.reader();
        compute(py, || ids.iter().map(|id| reader.contains(id)).collect())
    }

    /// The vectors of documents, f32 (B, D).
    fn vectors<'py>(&self, py: Python<'py>, ids: Vec<String>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let reader = self.reader();
        let Some(dim) = reader.dim() else {
            return Err(usage(format!(
                "{} has no vectors: it was made for words alone",
                self.path.display()
            )));
        };
        let found = compute(py, || {
            let mut numbers = Vec::with_capacity(ids.len() * dim);
            for id in &ids {
                match reader.vector(id)? {
                    Some(vector) => numbers.extend(vector),
                    None => return Ok(Err(id.clone())),
                }
            }
            Ok(Ok(numbers))
        })?;
        let numbers = found.map_err(|id| {
            let message = format!("{}: there is no document {id:?}", self.path.display());
            of_kind(secateur::ErrorKind::Usage, message)
        })?;
        if numbers.len() != ids.len() * dim {
            return Err(usage("documents are split into passages here: they have several vectors each"));
        }
        PyArray1::from_vec(py, numbers).reshape([ids.len(), dim])
    }

    fn __len__(&self) -> usize {
        self.reader().len()
    }

    #[getter]
    fn dim(&self) -> Option<usize> {
        self.reader().dim()
    }

    #[getter]
    fn generation_name(&self) -> Option<String> {
        self.reader().generation_name().map(str::to_owned)
    }

    #[getter]
    fn has_encoder_record(&self) -> bool {
        self.reader().encoder_record().is_some()
    }

    /// The vectors under each encoder.
    fn generations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &generations_value(&self.reader().generation_infos()))
    }

    /// What the database holds.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let reader = self.reader();
        let info = compute(py, || reader.info())?;
        let kinds = ValueKind::ALL.map(|kind| kind.to_string());
        let fields: Vec<Value> = info
            .fields
            .iter()
            .map(|count| {
                let of_kind: serde_json::Map<String, Value> =
                    kinds.iter().cloned().zip(count.num_of_kind.map(Value::from)).collect();
                json!({
                    "name": count.field.to_string(),
                    "num_documents": count.num_documents,
                    "num_of_kind": of_kind,
                })
            })
            .collect();
        let value = json!({
            "num_documents": info.num_documents,
            "num_deleted": info.num_deleted,
            "num_segments": info.num_segments,
            "num_bytes": info.num_bytes,
            "commit": info.commit,
            "analyzer": reader.analyzer().to_string(),
            "fields": fields,
            "generations": generations_value(&info.generations),
        });
        to_python(py, &value)
    }
}

/// Documents of one state of a database, some at a time.
#[pyclass(frozen, module = "secateur._native")]
pub struct DocumentPages {
    database: Arc<secateur::Database>,
    rows: Vec<RowId>,
    next: AtomicUsize,
}

#[pymethods]
impl DocumentPages {
    /// The next documents; none at the end.
    fn take(&self, py: Python<'_>) -> PyResult<Vec<Fields>> {
        let start = self.next.fetch_add(PAGE, Ordering::Relaxed).min(self.rows.len());
        let rows = &self.rows[start..(start + PAGE).min(self.rows.len())];
        compute(py, || rows.iter().map(|row| Ok(fields(self.database.document_at(*row)?))).collect())
    }
}

fn generations_value(generations: &[GenerationInfo]) -> Value {
    let value = |info: &GenerationInfo| {
        let vectors = info.generation.vectors;
        let encoder = info.encoder.as_ref();
        json!({
            "name": info.generation.name,
            "dim": vectors.dim,
            "metric": vectors.metric.to_string(),
            "components": vectors.components.to_string(),
            "index": vectors.index.name(),
            "ef_search": vectors.index.ef_search(),
            "is_used": info.is_used,
            "encoder": encoder.map(|record| &record.name),
            "fingerprint": encoder.map(|record| record.fingerprint.to_string()),
            "model": encoder.and_then(|record| record.source.as_ref()).map(|source| &source.model),
        })
    };
    generations.iter().map(value).collect::<Vec<_>>().into()
}
