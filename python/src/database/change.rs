//! Documents are added, replaced and deleted.

use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use secateur::database::AddOptions;
use secateur::{Document, Error};

use super::Database;
use crate::arguments::filter;
use crate::documents::{SourceArguments, stopped};
use crate::errors::usage;
use crate::work::{Progress, Told};

/// How many documents are added between two looks at whether to go on.
const CHUNK: usize = 256;

#[pymethods]
impl Database {
    /// Adds documents to what is committed next, all of them or none; (added, replaced).
    fn add(
        &self,
        py: Python<'_>,
        source: SourceArguments,
        replace: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(usize, usize)> {
        let progress = Progress::new(progress);
        self.change(py, |database, watch| {
            let told = Told::of("adding", "documents", None);
            let (mut num_added, mut num_replaced) = (0, 0);
            let mut documents = source.documents(watch, true, replace)?;
            database.all_or_none(|database| {
                loop {
                    let chunk = documents.by_ref().take(CHUNK).collect::<Result<Vec<_>, Error>>()?;
                    if chunk.is_empty() {
                        return Ok((num_added, num_replaced));
                    }
                    let length = chunk.len();
                    let replaced = watch.install(|| add_chunk(database, chunk, replace))?;
                    num_added += length - replaced;
                    num_replaced += replaced;
                    progress.tell(watch, &told, num_added + num_replaced, None);
                }
            })
        })
    }

    /// Adds documents with vectors (B, D), whose rows are read where they lie; (added, replaced).
    fn add_with_vectors(
        &self,
        py: Python<'_>,
        source: SourceArguments,
        vectors: PyReadonlyArray2<'_, f32>,
        replace: bool,
    ) -> PyResult<(usize, usize)> {
        let (rows, dim) = (vectors.shape()[0], vectors.shape()[1]);
        let Ok(numbers) = vectors.as_slice() else {
            return Err(usage(
                "the rows of the vectors are not contiguous: give numpy.ascontiguousarray of them",
            ));
        };
        self.change(py, |database, watch| {
            let documents =
                source.documents(watch, true, replace)?.map(|item| item.map(|(document, _)| document));
            let documents: Vec<Document> = documents.collect::<Result<_, Error>>()?;
            if documents.len() != rows {
                return Err(Error::VectorCount { documents: documents.len(), dim, got: numbers.len() });
            }
            watch.install(|| {
                if !replace {
                    database.add_with_vectors(&documents, numbers)?;
                    return Ok((rows, 0));
                }
                let replaced = database.upsert_with_vectors(&documents, numbers)?;
                Ok((rows - replaced, replaced))
            })
        })
    }

    /// Adds a whole source and commits; (added, replaced).
    fn add_from(
        &self,
        py: Python<'_>,
        source: SourceArguments,
        replace: bool,
        allow_empty: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(usize, usize)> {
        let progress = Progress::new(progress);
        self.change(py, |database, watch| {
            let told = Told::of("adding", "documents", None);
            let documents = source.documents(watch, allow_empty, replace)?;
            let options = AddOptions { replace, allow_empty };
            let has_vectors = database.dim().is_some() && database.encoder_record().is_none();
            let documents = documents
                .map(|item| item.map(|(document, vector)| (document, vector.filter(|_| has_vectors))));
            let report = watch.install(|| {
                // The source ends with an error if the caller wants it; nothing unwinds from here.
                let tell = |done| {
                    if !watch.is_stopped() {
                        progress.tell(watch, &told, done, None);
                    }
                };
                // A callback that has raised by then keeps the documents from being committed.
                let before_commit = || if watch.is_wanted() { Ok(()) } else { Err(stopped()) };
                database.add_from_if(documents, options, tell, before_commit)
            })?;
            Ok((report.num_added, report.num_replaced))
        })
    }

    /// Deletes documents, none if one is missing, or with `missing_ok` those that are there; the number deleted.
    fn delete(&self, py: Python<'_>, ids: Vec<String>, missing_ok: bool) -> PyResult<usize> {
        self.change(py, |database, watch| {
            watch.check();
            database.delete_all(&ids, missing_ok)
        })
    }

    /// Deletes the documents that match; their number.
    fn delete_matching(&self, py: Python<'_>, text: &str) -> PyResult<usize> {
        let filter = filter(text)?;
        self.change(py, |database, watch| {
            database.check_filter(&filter)?;
            watch.install(|| database.delete_matching(&filter))
        })
    }

    /// Makes the changes visible and durable.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.change(py, |database, watch| watch.install(|| database.commit()))
    }

    /// Forgets the changes.
    fn rollback(&self, py: Python<'_>) -> PyResult<()> {
        self.change(py, |database, _| {
            database.rollback();
            Ok(())
        })
    }

    /// Whether there are changes that are not committed.
    fn has_changes(&self, py: Python<'_>) -> PyResult<bool> {
        self.change(py, |database, _| Ok(database.has_changes()))
    }
}

/// Adds documents, with their vectors where they have some. Returns how many replaced others.
fn add_chunk(
    database: &mut secateur::Database,
    chunk: Vec<crate::documents::Item>,
    replace: bool,
) -> Result<usize, Error> {
    let given = database.dim().is_some() && database.encoder_record().is_none();
    let (documents, vectors): (Vec<Document>, Vec<Option<Vec<f32>>>) = chunk.into_iter().unzip();
    if !given {
        return match replace {
            true => database.upsert(&documents),
            false => database.add(&documents).map(|()| 0),
        };
    }
    let numbers: Vec<f32> = vectors.into_iter().flatten().flatten().collect();
    match replace {
        true => database.upsert_with_vectors(&documents, &numbers),
        false => database.add_with_vectors(&documents, &numbers).map(|()| 0),
    }
}
