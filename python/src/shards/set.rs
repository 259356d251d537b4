//! Sets of shards are searched as one database.

use std::path::PathBuf;
use std::sync::Arc;

use numpy::PyReadonlyArray2;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;
use secateur::database::EncoderRecord;
use secateur::shards::remote::{Origin, RemoteSet, RemoteShard};
use secateur::shards::{MissingShard, Shard, ShardSet as Set};
use secateur::{Document, Error, Hit, SearchParams};

use super::calls::Calls;
use crate::arguments::{LoadArguments, SearchArguments};
use crate::database::on_this_machine;
use crate::database::search::{Explained, Found, explained, found, in_chunks, rows};
use crate::documents::fields;
use crate::encoder::Encoder;
use crate::work::compute;

/// A finished set of shards.
#[pyclass(frozen, module = "secateur._native")]
pub struct ShardSet(Location);

/// Where its shards are.
enum Location {
    Here(Box<Set>),
    Elsewhere(RemoteSet),
}

/// A document: id, title, text and the text of its metadata.
type Fields = (String, String, String, Option<String>);

/// The hits of a query, and the document of each if they were asked for.
type Answer = (Vec<Hit>, Option<Vec<Option<Document>>>);

/// The same for Python: ids, scores f64 (K), documents.
type Answered<'py> = (Found<'py>, Option<Vec<Option<Fields>>>);

impl ShardSet {
    /// Asks the set in one state. Shards elsewhere that gave no answer before are asked again.
    fn ask<T>(&self, ask: impl Fn(&Set) -> Result<T, Error>) -> Result<T, Error> {
        match &self.0 {
            Location::Here(set) => ask(set.as_ref()),
            Location::Elsewhere(set) => {
                set.renew();
                set.ask(ask)
            }
        }
    }

    /// What is known of the set without asking it.
    fn told<T>(&self, tell: impl FnOnce(&Set) -> T) -> T {
        match &self.0 {
            Location::Here(set) => tell(set.as_ref()),
            Location::Elsewhere(set) => tell(&set.current()),
        }
    }

    /// Searches one state of the set, whose fields a filter is checked against.
    fn searched<T>(
        &self,
        params: &SearchParams,
        search: impl Fn(&Set) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.ask(|set| {
            params.filter.as_ref().map_or(Ok(()), |filter| set.check_filter(filter))?;
            search(set)
        })
    }

    fn give(&self, py: Python<'_>, encoder: Arc<secateur::Encoder>) -> PyResult<()> {
        compute(py, || match &self.0 {
            Location::Here(set) => set.set_encoder(encoder),
            Location::Elsewhere(set) => set.set_encoder(encoder),
        })
    }
}

#[pymethods]
impl ShardSet {
    /// Opens a finished set, without its encoder.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, generation: Option<&str>) -> PyResult<ShardSet> {
        let set = compute(py, || match generation {
            Some(name) => Set::open_generation(&path, name),
            None => Set::open(&path),
        })?;
        Ok(ShardSet(Location::Here(Box::new(set))))
    }

    /// Opens the set whose servers a file names, without its encoder.
    #[staticmethod]
    fn connect(py: Python<'_>, path: PathBuf, generation: Option<&str>, partial: bool) -> PyResult<ShardSet> {
        let set = compute(py, || {
            RemoteSet::open(&path, generation, partial, |_: &EncoderRecord| Ok::<_, Error>(None))
        })?;
        Ok(ShardSet(Location::Elsewhere(set)))
    }

    /// Opens a set of which each shard is asked by calls of `ask`, without its encoder. `places` are where the shards
    /// are, for messages. See [`Calls`].
    #[staticmethod]
    fn called(
        py: Python<'_>,
        manifest: PathBuf,
        places: Vec<String>,
        ask: Py<PyAny>,
        generation: Option<String>,
        partial: bool,
    ) -> PyResult<ShardSet> {
        let ask = Arc::new(ask);
        let shards = move || {
            let shard = |(number, place): (usize, &String)| {
                let calls = Calls::new(number, place.clone(), Arc::clone(&ask));
                Box::new(RemoteShard::new(calls, generation.clone())) as Box<dyn Shard>
            };
            places.iter().enumerate().map(shard).collect::<Vec<_>>()
        };
        let path = manifest.parent().unwrap_or(&manifest).to_owned();
        let origin = Origin { path, manifest: Some(manifest), partial, shards: Box::new(shards) };
        let set = compute(py, || RemoteSet::of(origin, |_: &EncoderRecord| Ok::<_, Error>(None)))?;
        Ok(ShardSet(Location::Elsewhere(set)))
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
        let Some(record) = self.told(|set| set.encoder_record().cloned()) else { return Ok(()) };
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
        self.told(|set| set.encoder().map(|encoder| Encoder(Arc::clone(encoder))))
    }

    #[getter]
    fn has_encoder_record(&self) -> bool {
        self.told(|set| set.encoder_record().is_some())
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.told(|set| set.path().to_owned())
    }

    #[getter]
    fn num_shards(&self) -> usize {
        self.told(Set::num_shards)
    }

    /// The shards that the last answer lacks: number, place, why. `None` where all must answer.
    fn missing(&self) -> Option<Vec<(usize, String, String)>> {
        let Location::Elsewhere(set) = &self.0 else { return None };
        let told = |MissingShard { shard, place, problem }| (shard, place, problem);
        Some(set.missing()?.into_iter().map(told).collect())
    }

    fn __len__(&self) -> usize {
        self.told(|set| set.len() as usize)
    }

    /// The hits of each query. Their documents are of the same state.
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: Vec<PyBackedStr>,
        arguments: SearchArguments,
        documents: bool,
    ) -> PyResult<Vec<Answered<'py>>> {
        let params = arguments.unchecked()?;
        let queries: Vec<&str> = queries.iter().map(|query| &**query).collect();
        let answer = |queries: &[&str]| {
            self.searched(&params, |set| answers(set, set.search_batch(queries, &params)?, documents))
        };
        Ok(answered(py, in_chunks(py, &queries, answer)?))
    }

    /// The hits of each vector of f32 (Q, D), which are read where they lie.
    fn search_vectors<'py>(
        &self,
        py: Python<'py>,
        vectors: PyReadonlyArray2<'_, f32>,
        arguments: SearchArguments,
        documents: bool,
    ) -> PyResult<Vec<Answered<'py>>> {
        let params = arguments.unchecked()?;
        let view = vectors.as_array();
        let answer = |rows: &[&[f32]]| {
            self.searched(&params, |set| {
                let hits = rows.iter().map(|row| set.search_vector(row, &params));
                answers(set, hits.collect::<Result<_, Error>>()?, documents)
            })
        };
        Ok(answered(py, in_chunks(py, &rows(&view)?, answer)?))
    }

    /// The hits of one query, each with its place in the ranking of either index, and the seconds of each part.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &str,
        arguments: SearchArguments,
    ) -> PyResult<(Vec<Explained>, Bound<'py, PyDict>)> {
        let params = arguments.unchecked()?;
        explained(py, compute(py, || self.searched(&params, |set| set.explain(query, &params)))?)
    }

    /// The name of the index that answers.
    fn mode(&self, py: Python<'_>, arguments: SearchArguments) -> PyResult<String> {
        let params = arguments.unchecked()?;
        compute(py, || self.searched(&params, |set| Ok(set.mode(&params).to_string())))
    }

    /// The documents with these ids; `None` for an id that is not there.
    fn documents(&self, py: Python<'_>, ids: Vec<PyBackedStr>) -> PyResult<Vec<Option<Fields>>> {
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        let found = compute(py, || self.ask(|set| set.documents_with(&ids)))?;
        Ok(found.into_iter().map(|document| document.map(fields)).collect())
    }

    /// Whether each id is there.
    fn contains(&self, py: Python<'_>, ids: Vec<PyBackedStr>) -> PyResult<Vec<bool>> {
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        compute(py, || self.ask(|set| set.contains_each(&ids)))
    }
}

/// The hits of queries, with their documents if they are asked for.
fn answers(set: &Set, hits: Vec<Vec<Hit>>, documents: bool) -> Result<Vec<Answer>, Error> {
    if !documents {
        return Ok(hits.into_iter().map(|hits| (hits, None)).collect());
    }
    let ids: Vec<&str> = hits.iter().flatten().map(|hit| hit.doc_id.as_str()).collect();
    let mut found = set.documents_with(&ids)?.into_iter();
    let with_documents = |hits: Vec<Hit>| {
        let documents = found.by_ref().take(hits.len()).collect();
        (hits, Some(documents))
    };
    Ok(hits.into_iter().map(with_documents).collect())
}

fn answered(py: Python<'_>, answers: Vec<Answer>) -> Vec<Answered<'_>> {
    let of_query = |(hits, documents): Answer| {
        let documents = documents.map(|all| all.into_iter().map(|one| one.map(fields)).collect());
        (found(py, hits), documents)
    };
    answers.into_iter().map(of_query).collect()
}
