//! Sets of shards are searched as one database.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use numpy::PyReadonlyArray2;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;
use secateur::{EncoderRecord, Error, Hit, SearchParams};

use crate::arguments::{LoadArguments, SearchArguments};
use crate::database::on_this_machine;
use crate::database::search::{Explained, Found, explained, found, in_chunks, rows};
use crate::documents::fields;
use crate::encoder::Encoder;
use crate::work::compute;

/// A finished set of shards.
#[pyclass(frozen, module = "secateur._native")]
pub struct ShardSet {
    path: PathBuf,
    generation: Option<String>,
    set: RwLock<Arc<secateur::shards::ShardSet>>,
    encoder: RwLock<Option<Arc<secateur::Encoder>>>,
}

impl ShardSet {
    fn set(&self) -> Arc<secateur::shards::ShardSet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the set again, with an encoder.
    fn give(&self, py: Python<'_>, encoder: Arc<secateur::Encoder>) -> PyResult<()> {
        let set = compute(py, || {
            let given = |_: &EncoderRecord| Ok::<_, Error>(Arc::clone(&encoder));
            secateur::shards::ShardSet::open_with(&self.path, self.generation.as_deref(), given)
        })?;
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        *self.encoder.write().unwrap_or_else(PoisonError::into_inner) = Some(encoder);
        Ok(())
    }

    /// The arguments of a search; a filter is checked against the fields of all shards.
    fn params(&self, py: Python<'_>, arguments: SearchArguments) -> PyResult<SearchParams> {
        let params = arguments.unchecked()?;
        if let Some(filter) = &params.filter {
            compute(py, || self.set().check_filter(filter))?;
        }
        Ok(params)
    }
}

/// A document: id, title, text and the text of its metadata.
type Fields = (String, String, String, Option<String>);

#[pymethods]
impl ShardSet {
    /// Opens a finished set, without its encoder.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, generation: Option<String>) -> PyResult<ShardSet> {
        let set = compute(py, || match &generation {
            Some(name) => secateur::shards::ShardSet::open_generation(&path, name),
            None => secateur::shards::ShardSet::open(&path),
        })?;
        Ok(ShardSet { path, generation, set: RwLock::new(Arc::new(set)), encoder: RwLock::default() })
    }

    /// Gives it the encoder of its vectors.
    fn set_encoder(&self, py: Python<'_>, encoder: &Encoder) -> PyResult<()> {
        self.give(py, Arc::clone(&encoder.0))
    }

    /// Loads the encoder that it remembers. `locate` turns what a model is called into a directory.
    fn load_encoder(
        &self,
        py: Python<'_>,
        locate: &Bound<'_, PyAny>,
        options: LoadArguments,
    ) -> PyResult<()> {
        let here = options.options()?;
        let Some(record) = self.set().encoder_record().cloned() else { return Ok(()) };
        let source = match &record.source {
            Some(source) => {
                let model: PathBuf = locate.call1((&source.model,))?.extract()?;
                Some(on_this_machine(source, &model, &here))
            }
            None => None,
        };
        let record = EncoderRecord { source, ..record };
        let encoder = compute(py, || record.load())?;
        self.give(py, encoder)
    }

    /// The encoder, if it is loaded.
    #[getter]
    fn encoder(&self) -> Option<Encoder> {
        let encoder = self.encoder.read().unwrap_or_else(PoisonError::into_inner);
        encoder.as_ref().map(|encoder| Encoder(Arc::clone(encoder)))
    }

    #[getter]
    fn has_encoder_record(&self) -> bool {
        self.set().encoder_record().is_some()
    }

    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    #[getter]
    fn num_shards(&self) -> usize {
        self.set().num_shards()
    }

    fn __len__(&self) -> usize {
        self.set().len() as usize
    }

    /// The hits of each query.
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: Vec<PyBackedStr>,
        arguments: SearchArguments,
    ) -> PyResult<Vec<Found<'py>>> {
        let params = self.params(py, arguments)?;
        let set = self.set();
        let queries: Vec<&str> = queries.iter().map(|query| &**query).collect();
        let hits = in_chunks(py, &queries, |queries| set.search_batch(queries, &params))?;
        Ok(hits.into_iter().map(|hits| found(py, hits)).collect())
    }

    /// The hits of each vector of f32 (Q, D), which are read where they lie.
    fn search_vectors<'py>(
        &self,
        py: Python<'py>,
        vectors: PyReadonlyArray2<'_, f32>,
        arguments: SearchArguments,
    ) -> PyResult<Vec<Found<'py>>> {
        let params = self.params(py, arguments)?;
        let set = self.set();
        let view = vectors.as_array();
        let answer = |rows: &[&[f32]]| -> Result<Vec<Vec<Hit>>, Error> {
            rows.iter().map(|row| set.search_vector(row, &params)).collect()
        };
        let hits = in_chunks(py, &rows(&view)?, answer)?;
        Ok(hits.into_iter().map(|hits| found(py, hits)).collect())
    }

    /// The hits of one query, each with its place in the ranking of either index, and the seconds of each part.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &str,
        arguments: SearchArguments,
    ) -> PyResult<(Vec<Explained>, Bound<'py, PyDict>)> {
        let params = self.params(py, arguments)?;
        let set = self.set();
        explained(py, compute(py, || set.explain(query, &params))?)
    }

    /// The name of the index that answers.
    fn mode(&self, py: Python<'_>, arguments: SearchArguments) -> PyResult<String> {
        let params = self.params(py, arguments)?;
        Ok(self.set().mode(&params).to_string())
    }

    /// The documents with these ids; `None` for an id that is not there.
    fn documents(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<Vec<Option<Fields>>> {
        let set = self.set();
        compute(py, || ids.iter().map(|id| Ok(set.document(id)?.map(fields))).collect())
    }

    /// Whether each id is there.
    fn contains(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<Vec<bool>> {
        let set = self.set();
        compute(py, || ids.iter().map(|id| set.contains(id)).collect())
    }
}
