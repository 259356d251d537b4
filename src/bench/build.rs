//! The databases of a bench: one for each index, all of the same vectors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secateur_encoders::Encoder;
use secateur_files::{AtPath, disk, with_suffix};

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
        unit: "documents",
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
    let mut bytes_by_kind = BTreeMap::new();
    add_bytes(path, path, &mut bytes_by_kind)?;
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
    for folder in [path.to_owned(), with_suffix(path, ".partial")] {
        if folder.exists() {
            disk::remove_folder(&folder)?;
        }
    }
    Ok(disk::remove_if_there(&with_suffix(path, ".journal"))?)
}

/// Adds the lengths of all files below a folder.
fn add_bytes(top: &Path, folder: &Path, bytes: &mut BTreeMap<String, u64>) -> Result<()> {
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_dir() {
            add_bytes(top, &path, bytes)?;
            continue;
        }
        let length = std::fs::metadata(&path).at("read", &path)?.len();
        let inner = path.strip_prefix(top).unwrap_or(&path);
        let names: Vec<String> = inner.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let has = |name: &str| names.iter().any(|other| other == name);
        let kind = match names.last().map_or("", String::as_str) {
            _ if has("bm25") => "words",
            "lengths" => "words",
            "documents" => "documents",
            "vectors" => "vectors",
            "codes" => "codes",
            // A small segment, with all that it has.
            name if name.ends_with(".pack") => "packs",
            // What an approximate index keeps beside the vectors lies in the segment, too.
            _ if has("segments") => "graph",
            _ => "other",
        };
        *bytes.entry(kind.to_owned()).or_default() += length;
    }
    Ok(())
}
