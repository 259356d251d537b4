//! Sets of shards are planned, built and finished.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use secateur::datasets::source::FieldNames;
use secateur::error::message_with_causes;
use secateur::shards::{CorpusSource, DocumentsChecksum, SetReport, ShardState, ShardStatus};
use secateur::{Document, Error};
use serde_json::{Value, json};

use crate::database::build::BuildArguments;
use crate::documents::SourceArguments;
use crate::encoder::Encoder;
use crate::errors::usage;
use crate::values::to_python;
use crate::work::{Progress, Told, compute, watched};

/// The options of `secateur shards plan` by which a plan remembers how files are read.
const FIELDS: [&str; 4] = ["id-field", "title-field", "text-field", "vector-field"];
const ALLOW_EMPTY: &str = "allow-empty";
const NPY: &str = "npy";

/// The plan of a set of shards.
#[pyclass(frozen, module = "secateur._native")]
pub struct ShardPlan(secateur::shards::ShardPlan);

/// How many documents a source has. A document without title and text is an error unless `allow_empty`, and so is an
/// id that is repeated in files.
#[pyfunction]
pub fn count_documents(
    py: Python<'_>,
    source: SourceArguments,
    allow_empty: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<u64> {
    let progress = Progress::new(progress);
    watched(py, |watch| {
        let told = Told::of("counting", "documents", None);
        let from_files = source.files().is_some();
        let mut count = 0;
        for item in source.documents(watch, allow_empty, false)? {
            let (document, _) = item?;
            if !allow_empty && !from_files {
                check_not_empty(&document)?;
            }
            count += 1;
            if usize::is_multiple_of(count, TELL_EVERY) {
                progress.tell(watch, &told, count, None);
            }
        }
        progress.tell(watch, &told, count, None);
        Ok(count as u64)
    })
}

/// Files are checked as they are read; documents of an iterator here.
fn check_not_empty(document: &Document) -> Result<(), Error> {
    match document.title.trim().is_empty() && document.text.trim().is_empty() {
        true => Err(Error::EmptyDocument { doc_id: document.id.clone() }),
        false => Ok(()),
    }
}

/// How many documents are read between two reports.
const TELL_EVERY: usize = 1024;

/// Makes a set for a source. `counts` are its shards, its documents, and whether those were counted here: then all was
/// checked there.
#[pyfunction]
pub fn plan_shards(
    py: Python<'_>,
    path: PathBuf,
    arguments: BuildArguments,
    counts: (usize, u64, bool),
    source: SourceArguments,
    progress: Option<Py<PyAny>>,
) -> PyResult<ShardPlan> {
    let (num_shards, num_documents, were_counted) = counts;
    let allow_empty = arguments.allow_empty;
    let builder = arguments.builder(py, path)?;
    let corpus = corpus_of(&source, allow_empty);
    let progress = Progress::new(progress);
    let plan = watched(py, |watch| {
        let told = Told::of("planning", "documents", Some(num_documents as usize));
        let is_checked_here = !were_counted && !allow_empty && source.files().is_none();
        let documents = source.documents(watch, allow_empty, were_counted)?;
        let documents = documents.enumerate().map(|(number, item)| {
            if number.is_multiple_of(TELL_EVERY) && !watch.is_stopped() {
                progress.tell(watch, &told, number, None);
            }
            let (document, vector) = item?;
            if is_checked_here {
                check_not_empty(&document)?;
            }
            Ok::<_, Error>((document, vector))
        });
        let plan = builder.plan_shards(num_shards, num_documents, documents, corpus)?;
        progress.tell(watch, &told, num_documents as usize, None);
        Ok(plan)
    })?;
    Ok(ShardPlan(plan))
}

/// Makes a set of which each shard's documents have one of these checksums.
#[pyfunction]
pub fn plan_parts(
    py: Python<'_>,
    path: PathBuf,
    arguments: BuildArguments,
    num_documents: u64,
    checksums: Vec<String>,
) -> PyResult<ShardPlan> {
    let builder = arguments.builder(py, path)?;
    let plan = compute(py, || builder.plan_parts(num_documents, checksums, CorpusSource::default()))?;
    Ok(ShardPlan(plan))
}

/// The checksum of documents, as a plan has it of a shard, and how many there are.
#[pyfunction]
pub fn documents_checksum(py: Python<'_>, source: SourceArguments) -> PyResult<(String, u64)> {
    watched(py, |watch| {
        let mut checksum = DocumentsChecksum::default();
        let mut count = 0;
        for item in source.documents(watch, true, true)? {
            let (document, vector) = item?;
            checksum.add(&document, vector.as_deref());
            count += 1;
        }
        Ok((checksum.finish(), count))
    })
}

/// The documents that a shard is built of.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct CorpusArguments {
    /// Whether `source` has the shard's documents alone, and not the whole corpus.
    is_part: bool,
    /// Where they come from; the files that the plan remembers unless given.
    #[pyo3(default)]
    source: Option<SourceArguments>,
    /// Where these files are now; where they were unless given.
    #[pyo3(default)]
    files: Option<Vec<PathBuf>>,
}

#[pymethods]
impl ShardPlan {
    /// The plan of the set in a folder.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<ShardPlan> {
        Ok(ShardPlan(compute(py, || secateur::shards::ShardPlan::open(path))?))
    }

    #[getter]
    fn path(&self) -> &Path {
        self.0.path()
    }

    #[getter]
    fn num_documents(&self) -> u64 {
        self.0.num_documents()
    }

    /// Of each shard the documents before it, its documents and their checksum.
    fn shards(&self) -> Vec<(u64, u64, String)> {
        let shards = self.0.shards().iter();
        shards.map(|shard| (shard.first, shard.num_documents, shard.checksum.clone())).collect()
    }

    /// The files that the corpus was read from; none if it was an iterator.
    fn files(&self) -> Vec<PathBuf> {
        self.0.corpus().files.clone()
    }

    fn shard_path(&self, number: usize) -> PathBuf {
        self.0.shard_path(number)
    }

    /// The folder of the empty database with the settings of all shards.
    fn settings_path(&self, py: Python<'_>) -> PyResult<PathBuf> {
        compute(py, || Ok(self.0.settings()?.path().to_owned()))
    }

    /// Builds a shard: its documents, and whether it was there.
    fn build(
        &self,
        py: Python<'_>,
        number: usize,
        encoder: Option<Py<Encoder>>,
        corpus: CorpusArguments,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(usize, bool)> {
        let CorpusArguments { is_part, source, files } = corpus;
        // Neither a shard that is there nor one that is not planned needs the corpus.
        let is_needed = number < self.0.num_shards() && !self.0.shard_path(number).exists();
        let source = match source {
            None if is_needed => Some(self.remembered(files)?),
            source => source.filter(|_| is_needed),
        };
        let encoder = encoder.map(|encoder| Arc::clone(&encoder.borrow(py).0));
        let progress = Progress::new(progress);
        let planned = self.0.shards().get(number).map_or(0, |shard| shard.num_documents);
        let built = watched(py, |watch| {
            let told = Told::of("building", "documents", Some(planned as usize));
            let documents = source.map(|source| source.documents(watch, true, true)).transpose()?;
            let documents = documents.into_iter().flatten();
            let tell = |done| progress.tell(watch, &told, done, None);
            watch.install(|| match is_part {
                true => self.0.build_part(number, encoder, documents, tell),
                false => self.0.build(number, encoder, documents, tell),
            })
        })?;
        Ok((built.database.len(), built.was_there))
    }

    /// How far each shard is.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = compute(py, || self.0.status())?;
        to_python(py, &status.iter().map(status_value).collect::<Vec<_>>().into())
    }

    /// Compares the shards with each other and writes the manifest: shards, documents, bytes.
    fn finish(&self, py: Python<'_>) -> PyResult<(usize, u64, u64)> {
        Ok(report(compute(py, || self.0.finish())?))
    }

    /// Checks every byte of a finished set. Between two shards it can be stopped.
    fn verify(&self, py: Python<'_>) -> PyResult<(usize, u64, u64)> {
        Ok(report(watched(py, |watch| watch.install(|| self.0.verify_with(|_| watch.check())))?))
    }

    /// Whether the set is finished, and its shards are those that it was finished with.
    fn is_finished(&self, py: Python<'_>) -> PyResult<bool> {
        compute(py, || self.0.is_finished())
    }
}

impl ShardPlan {
    /// The files of the corpus, read as the plan says.
    fn remembered(&self, files: Option<Vec<PathBuf>>) -> PyResult<SourceArguments> {
        let CorpusSource { files: planned, options } = self.0.corpus();
        let path = self.0.path().display();
        if let Some(npy) = options.get(NPY) {
            return Err(usage(format!(
                "{path} is planned with vectors of {npy}: build its shards with `secateur shards build`"
            )));
        }
        let files = files.unwrap_or_else(|| planned.clone());
        if files.is_empty() {
            return Err(usage(format!(
                "{path} remembers no files of documents: give the documents that it is planned with"
            )));
        }
        let [id, title, text, vector] = FIELDS.map(|name| options.get(name).cloned());
        Ok(SourceArguments::of_files(files, FieldNames { id, title, text, vector }))
    }
}

/// What a plan remembers of where documents come from, as `secateur shards plan` writes it.
fn corpus_of(source: &SourceArguments, allow_empty: bool) -> CorpusSource {
    let Some(files) = source.files() else { return CorpusSource::default() };
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let FieldNames { id, title, text, vector } = source.names();
    let named = FIELDS.into_iter().zip([id, title, text, vector]);
    let mut options: BTreeMap<String, String> =
        named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if allow_empty {
        options.insert(ALLOW_EMPTY.to_owned(), "yes".to_owned());
    }
    CorpusSource { files: files.iter().map(absolute).collect(), options }
}

fn report(report: SetReport) -> (usize, u64, u64) {
    let SetReport { num_shards, num_documents, num_bytes } = report;
    (num_shards, num_documents, num_bytes)
}

fn status_value(status: &ShardStatus) -> Value {
    let ShardStatus { number, path, num_planned, state } = status;
    let (state, num_documents, num_bytes, problem) = match state {
        ShardState::Missing => ("missing", None, None, None),
        ShardState::Unfinished { num_bytes } => ("unfinished", None, Some(*num_bytes), None),
        ShardState::Built { num_documents, num_bytes } => {
            ("built", Some(*num_documents), Some(*num_bytes), None)
        }
        ShardState::Wrong(error) => ("wrong", None, None, Some(message_with_causes(error))),
    };
    json!({
        "number": number,
        "path": path.display().to_string(),
        "num_planned": num_planned,
        "state": state,
        "num_documents": num_documents,
        "num_bytes": num_bytes,
        "problem": problem,
    })
}
