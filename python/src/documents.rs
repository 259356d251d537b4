//! Documents that come from Python's iterators or from files.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use secateur::datasets::source::{EmptyDocuments, FieldNames, Source, parse_record};
use secateur::{Document, Error};

use crate::work::Watch;

/// How many documents are taken from an iterator at once.
const BATCH: usize = 256;

/// A document, with its vector if it has one.
pub type Item = (Document, Option<Vec<f32>>);

/// The names of the fields that are no metadata.
#[derive(FromPyObject, Default)]
#[pyo3(from_item_all)]
pub struct FieldArguments {
    id: Option<String>,
    #[pyo3(default)]
    title: Option<String>,
    #[pyo3(default)]
    text: Option<String>,
    #[pyo3(default)]
    vector: Option<String>,
}

impl FieldArguments {
    /// As the library's.
    pub fn names(self) -> FieldNames {
        FieldNames { id: self.id, title: self.title, text: self.text, vector: self.vector }
    }
}

/// Where documents come from: files, or an iterator of records. A record is a JSON object, or the fields of a document.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct SourceArguments {
    #[pyo3(default)]
    files: Option<Vec<PathBuf>>,
    #[pyo3(default)]
    records: Option<Py<PyAny>>,
    fields: FieldArguments,
}

#[derive(FromPyObject)]
enum Record {
    Fields(PyBackedStr, PyBackedStr, PyBackedStr, Option<PyBackedStr>),
    Json(PyBackedStr),
}

/// The documents of a source, in their order. They are read while the work that takes them runs.
pub struct Documents<'a> {
    watch: &'a Watch,
    from: Origin,
}

enum Origin {
    Files(Box<secateur::datasets::source::SourceDocuments>),
    Records {
        iterator: Arc<Py<PyAny>>,
        names: FieldNames,
        taken: std::vec::IntoIter<Record>,
        count: u64,
        is_over: bool,
    },
}

impl SourceArguments {
    /// Files whose fields have these names.
    pub fn of_files(files: Vec<PathBuf>, names: FieldNames) -> SourceArguments {
        let FieldNames { id, title, text, vector } = names;
        SourceArguments {
            files: Some(files),
            records: None,
            fields: FieldArguments { id, title, text, vector },
        }
    }

    /// The files that documents are read from, unless they come from an iterator.
    pub fn files(&self) -> Option<&[PathBuf]> {
        self.files.as_deref()
    }

    /// The names of the fields that are no metadata.
    pub fn names(&self) -> FieldNames {
        let FieldArguments { id, title, text, vector } = &self.fields;
        FieldNames { id: id.clone(), title: title.clone(), text: text.clone(), vector: vector.clone() }
    }

    /// Begins to read. Ids may be repeated where later documents replace earlier ones.
    pub fn documents(self, watch: &Watch, allow_empty: bool, repeated: bool) -> Result<Documents<'_>, Error> {
        let names = self.fields.names();
        let from = match (self.files, self.records) {
            (Some(files), _) => {
                let empty = if allow_empty { EmptyDocuments::Any } else { EmptyDocuments::Few };
                let documents = Source::open(&files, names)?.documents(empty);
                Origin::Files(Box::new(if repeated { documents.with_repeated_ids() } else { documents }))
            }
            (None, records) => Origin::Records {
                is_over: records.is_none(),
                iterator: Arc::new(records.unwrap_or_else(|| Python::attach(|py| py.None()))),
                names,
                taken: Vec::new().into_iter(),
                count: 0,
            },
        };
        Ok(Documents { watch, from })
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.watch.is_stopped() {
            return Some(Err(stopped()));
        }
        let (iterator, names, taken, count, is_over) = match &mut self.from {
            Origin::Files(documents) => return documents.next().map(|item| Ok(item?)),
            Origin::Records { iterator, names, taken, count, is_over } => {
                (iterator, names, taken, count, is_over)
            }
        };
        if taken.len() == 0 && !*is_over {
            let iterator = Arc::clone(iterator);
            let Some(batch) = self.watch.ask(move |py| take(iterator.bind(py))) else {
                return Some(Err(stopped()));
            };
            *is_over = batch.len() < BATCH;
            *taken = batch.into_iter();
        }
        let record = taken.next()?;
        *count += 1;
        Some(match record {
            Record::Fields(id, title, text, metadata) => {
                let document = Document {
                    id: id.to_string(),
                    title: title.to_string(),
                    text: text.to_string(),
                    metadata: metadata.map(|metadata| metadata.to_string()),
                };
                Ok((document, None))
            }
            Record::Json(text) => parse_record(&text, names)
                .map_err(|fault| Error::Source(format!("document {count}: {fault}").into())),
        })
    }
}

/// The exception is the caller's; nobody reads this.
pub fn stopped() -> Error {
    Error::Source("they were stopped".into())
}

/// The next records of an iterator: fewer than [`BATCH`] at its end.
fn take(iterator: &Bound<'_, PyAny>) -> PyResult<Vec<Record>> {
    iterator.try_iter()?.take(BATCH).map(|record| record?.extract()).collect()
}

/// A document as Python gets it: id, title, text and the text of its metadata.
pub fn fields(document: Document) -> (String, String, String, Option<String>) {
    (document.id, document.title, document.text, document.metadata)
}
