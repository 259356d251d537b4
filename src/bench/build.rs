//! The databases of a bench: one for each index, all of the same vectors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secateur_encoders::Encoder;
use secateur_files::{AtPath, Journal, disk};
use secateur_index::storage::{Snapshot, partial_folder};

use super::dataset::Dataset;
use super::index_spec::IndexSpec;
use super::result::BuildFacts;
use crate::database::{Database, VectorOptions};
use crate::error::Result;
use crate::progress::Progress;

/// What makes the vectors of a database.
pub(super) struct Vectors<'a> {
    /// What the bench calls the encoder.
    pub name: &'a str,
    pub encoder: &'a Arc<Encoder>,
    pub index: &'a IndexSpec,
    /// Where the vectors are.
    pub journal: &'a Path,
}

/// Builds a database with these vectors, or with words alone. What is in its place is removed.
pub(super) fn build(
    dataset: &Dataset,
    vectors: Option<&Vectors<'_>>,
    path: &Path,
    on: &mut dyn FnMut(Progress<'_>),
) -> Result<BuildFacts> {
    remove(path)?;
    on(Progress::Begins {
        what: "indexing",
        unit: "document",
        total: &|| Some(dataset.facts.num_documents as u64),
    });
    let start = Instant::now();
    let builder = Database::builder(path).allow_empty(true);
    let corpus = dataset.folder.corpus()?;
    let done = |done| on(Progress::Done(done));
    match vectors {
        None => builder.build_from(corpus, done)?,
        Some(Vectors { encoder, index, journal, .. }) => {
            let options = VectorOptions {
                index: index.index,
                components: index.components,
                ..VectorOptions::default()
            };
            let builder = builder.encoder(Arc::clone(encoder)).vector_options(options);
            builder.build_with_journal(corpus, journal, done)?
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let bytes_by_kind = bytes_by_kind(path)?;
    Ok(BuildFacts {
        environment: 0,
        dataset: dataset.facts.name.clone(),
        encoder: vectors.map(|vectors| vectors.name.to_owned()),
        index: vectors.map(|vectors| vectors.index.to_string()),
        seconds,
        bytes: bytes_by_kind.values().sum(),
        bytes_by_kind,
    })
}

/// Removes a database, and what an interrupted build left of one.
fn remove(path: &Path) -> Result<()> {
    for folder in [path.to_owned(), partial_folder(path)] {
        if folder.exists() {
            disk::remove_folder(&folder)?;
        }
    }
    Ok(disk::remove_if_there(&Journal::beside(path))?)
}

/// The lengths of all files of a database by what they hold. What is around the files in packs is other.
fn bytes_by_kind(database: &Path) -> Result<BTreeMap<String, u64>> {
    let mut bytes = BTreeMap::new();
    let mut other = length_of(database)?;
    for (name, length) in Snapshot::open(database)?.files() {
        let kind = match name.rsplit('/').next().unwrap_or(name) {
            _ if name.starts_with("bm25/") => "words",
            "lengths" => "words",
            "documents" => "documents",
            "vectors" => "vectors",
            "codes" => "codes",
            // What an approximate index keeps beside the vectors lies in the segment, too.
            _ => "graph",
        };
        *bytes.entry(kind.to_owned()).or_default() += length;
        other = other.saturating_sub(length);
    }
    bytes.insert("other".to_owned(), other);
    Ok(bytes)
}

/// The length of all files below a folder.
fn length_of(folder: &Path) -> Result<u64> {
    let mut length = 0;
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        length += match path.is_dir() {
            true => length_of(&path)?,
            false => std::fs::metadata(&path).at("read", &path)?.len(),
        };
    }
    Ok(length)
}
