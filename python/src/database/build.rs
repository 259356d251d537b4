//! Databases are made.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use secateur::DatabaseBuilder;

use super::Database;
use crate::arguments::{VectorArguments, analyzer};
use crate::documents::SourceArguments;
use crate::encoder::Encoder;
use crate::errors::usage;
use crate::work::{Progress, Told, compute, watched};

/// What a new database is like.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct BuildArguments {
    #[pyo3(default)]
    encoder: Option<Py<Encoder>>,
    #[pyo3(default)]
    dim: Option<usize>,
    #[pyo3(default)]
    analyzer: Option<String>,
    #[pyo3(default)]
    pub allow_empty: bool,
    vectors: VectorArguments,
}

/// Makes a database of a whole source, or an empty one.
#[pyfunction]
pub fn build(
    py: Python<'_>,
    path: PathBuf,
    arguments: BuildArguments,
    source: Option<SourceArguments>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Database> {
    let given_vectors = arguments.dim.is_some();
    let allow_empty = arguments.allow_empty;
    let builder = arguments.builder(py, path)?;
    let Some(source) = source else {
        return Ok(Database::of(compute(py, || builder.create())?));
    };
    let progress = Progress::new(progress);
    let database = watched(py, |watch| {
        let told = Told::of("indexing", "documents", None);
        let documents = source.documents(watch, allow_empty, false)?;
        let tell = |done| progress.tell(watch, &told, done, None);
        watch.install(|| match given_vectors {
            true => builder.build_with_vectors(documents, tell),
            false => builder.build_from(documents.map(|item| item.map(|(document, _)| document)), tell),
        })
    })?;
    Ok(Database::of(database))
}

impl BuildArguments {
    /// What makes such a database.
    pub fn builder(self, py: Python<'_>, path: PathBuf) -> PyResult<DatabaseBuilder> {
        let builder = secateur::Database::builder(path)
            .vector_options(self.vectors.options()?)
            .analyzer(analyzer(self.analyzer.as_deref())?)
            .allow_empty(self.allow_empty);
        match (self.encoder, self.dim) {
            (Some(_), Some(_)) => Err(usage(
                "vectors are made by the encoder or come with documents: leave dim out, or encoder",
            )),
            (Some(encoder), None) => Ok(builder.encoder(Arc::clone(&encoder.borrow(py).0))),
            (None, Some(dim)) => Ok(builder.vectors(dim)),
            (None, None) => Ok(builder),
        }
    }
}
