//! Shards that other processes have, and that are asked by calls of Python.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use secateur::Error;
use secateur::shards::ShardError;
use secateur::shards::remote::{self, Carrier};

use crate::errors::kind_of;
use crate::work::compute;

/// A shard that is asked by calls, in which some program carries what [`ServedShard::answer`] takes and gives.
pub struct Calls {
    number: usize,
    place: String,
    /// Called with the number of the shard, a route and a body. Waits for the answer, on a thread of its own.
    ask: Arc<Py<PyAny>>,
}

impl Calls {
    /// The shard of this number.
    pub fn new(number: usize, place: String, ask: Arc<Py<PyAny>>) -> Calls {
        Calls { number, place, ask }
    }
}

impl Carrier for Calls {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn ask<T: Send + 'static>(
        &self,
        route: &'static str,
        _: bool,
        body: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> secateur::Result<T> {
        let answer = Python::attach(|py| {
            let call = || -> PyResult<Option<PyBackedBytes>> {
                let answer = self.ask.call1(py, (self.number, route, PyBytes::new(py, &body)))?;
                Ok(answer.extract::<Option<PyBackedBytes>>(py)?)
            };
            call().map_err(|error| (kind_of(py, &error), error.value(py).to_string()))
        });
        match answer {
            Ok(Some(answer)) => {
                read(&answer).map_err(|problem| Error::from(ShardError::WrongAnswer { problem }))
            }
            Ok(None) => Err(ShardError::Moved.into()),
            Err((kind, message)) => Err(ShardError::NoAnswer { kind, source: message.into() }.into()),
        }
    }
}

/// A shard that answers others, in the state in which it was opened.
#[pyclass(frozen, module = "secateur._native")]
pub struct ServedShard(remote::ServedShard);

#[pymethods]
impl ServedShard {
    /// Opens a shard, as read through a generation or through the one in use.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, generation: Option<&str>) -> PyResult<ServedShard> {
        let served = compute(py, || {
            let database = secateur::Database::open(&path)?;
            remote::ServedShard::of(match generation {
                Some(name) => database.generation(name)?,
                None => database,
            })
        })?;
        Ok(ServedShard(served))
    }

    /// The answer to what is asked at a route, as JSON; `None` if another state of the shard was asked about.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        route: &str,
        body: PyBackedBytes,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let answer = compute(py, || match self.0.answer(route, &body) {
            Err(Error::Shards(error)) if error.is_moved() => Ok(None),
            answer => answer.map(Some),
        })?;
        Ok(answer.map(|answer| PyBytes::new(py, &answer)))
    }
}
