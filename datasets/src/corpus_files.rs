//! What the corpus of a collection is called, in each layout.

use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use crate::error::Result;

/// The files of the corpus that an entry of a collection's folder stands for: the file itself, or what is in the hub's
/// folder `corpus`. None for everything else.
pub(crate) fn corpus_files(path: PathBuf) -> Result<Vec<PathBuf>> {
    let name = name_of(&path);
    Ok(match (path.is_dir(), name.as_str()) {
        (true, "corpus") => list(&path)?.into_iter().filter(|path| is_parquet(path)).collect(),
        (true, _) => Vec::new(),
        (false, "corpus.jsonl" | "collection.tsv" | "docs.tsv" | "corpus.tsv") => vec![path],
        (false, name) if name.starts_with("corpus") && is_parquet(&path) => vec![path],
        (false, _) => Vec::new(),
    })
}

/// A file's name without the ending of a compression.
pub(crate) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
    plain.map(str::to_owned).unwrap_or(name)
}

/// What is in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).at("list", folder)?;
    let mut paths = entries.map(|entry| Ok(entry.at("list", folder)?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "parquet")
}
