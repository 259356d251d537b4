//! The folder of a bench: what is measured is kept there, so that an interrupted bench goes on.

use std::path::{Path, PathBuf};

use secateur_files::{AtPath, disk};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::measure::Measurements;

/// ```text
/// OUT/results.json           what the bench found
/// OUT/parts/NAME.json        a measurement, with what it was made from
/// OUT/runs/CELL.run          the answers of a combination, as TREC has them
/// OUT/work/DATASET/...       vectors and databases
/// ```
pub(super) struct Folder {
    path: PathBuf,
    parts: Measurements,
}

#[derive(Serialize, Deserialize)]
struct KeptResult<R> {
    /// What the result depends on.
    made_from: String,
    result: R,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Folder> {
        // Files of others would be written over, and lie among those of the bench.
        let has_others = path.is_dir() && std::fs::read_dir(path).at("list", path)?.next().is_some();
        if has_others && !path.join("parts").is_dir() {
            let problem = format!("{} has other files in it: choose a new folder", path.display());
            return Err(Error::option("out", problem));
        }
        let parts = Measurements::open(path.join("parts"))?;
        for folder in ["runs", "work"] {
            disk::create_folders(&path.join(folder))?;
        }
        Ok(Folder { path: path.to_owned(), parts })
    }

    /// The stored result of this name, if it was made from the same; otherwise the one that `measure` gives. The
    /// second is whether it was measured now.
    pub fn part<R: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        made_from: &str,
        measure: impl FnOnce() -> Result<R>,
    ) -> Result<(R, bool)> {
        let mut is_new = false;
        let is_current = |part: &KeptResult<R>| part.made_from == made_from;
        let part = self.parts.get_or(&file_name(name), is_current, || {
            is_new = true;
            Ok(KeptResult { made_from: made_from.to_owned(), result: measure()? })
        })?;
        Ok((part.result, is_new))
    }

    /// Whether the result of this name is stored and was made from the same.
    pub fn has<R: DeserializeOwned>(&self, name: &str, made_from: &str) -> bool {
        self.parts.kept(&file_name(name)).is_some_and(|part: KeptResult<R>| part.made_from == made_from)
    }

    /// Where the answers of a combination are.
    pub fn run(&self, cell: &str) -> PathBuf {
        self.path.join("runs").join(format!("{cell}.run"))
    }

    /// The folder of what is made of a data set.
    pub fn work(&self, dataset: &str) -> Result<PathBuf> {
        let folder = self.path.join("work").join(file_name(dataset));
        disk::create_folders(&folder)?;
        Ok(folder)
    }
}

/// A name as the name of a file: letters, digits and `.-_=`. Where that changes it, a hash keeps names apart.
pub(super) fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_=".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    if plain == name && name.len() <= 120 && !name.starts_with('.') {
        return plain;
    }
    let kept: String = plain.trim_start_matches('.').chars().take(100).collect();
    format!("{kept}-{}", &blake3::hash(name.as_bytes()).to_hex()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files() {
        assert_eq!(file_name("scifact.mini-lm.hnsw-ef50"), "scifact.mini-lm.hnsw-ef50");
        let [slash, colon] = ["a/b", "a:b"].map(file_name);
        assert!(slash.starts_with("a-b-") && colon.starts_with("a-b-") && slash != colon);
        assert!(!file_name("../x").starts_with('.') && file_name(&"x".repeat(500)).len() < 120);
    }

    #[test]
    fn a_folder_is_of_one_bench_at_a_time_and_of_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let other = temporary.path().join("other");
        disk::create_folders(&other).unwrap();
        drop(Folder::open(&other).unwrap());
        let first = Folder::open(&other).unwrap();
        let message = Folder::open(&other).err().unwrap().to_string();
        assert!(message.contains("another program is measuring into this folder"), "{message}");
        drop(first);
        Folder::open(&other).unwrap();
        let message = Folder::open(temporary.path()).err().unwrap().to_string();
        assert!(message.starts_with("out: ") && message.contains("has other files in it"), "{message}");
    }

    #[test]
    fn a_part_is_measured_again_when_it_is_made_from_other_things() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::open(&folder.path().join("out")).unwrap();
        let get = |from: &str, value: u32| folder.part("p", from, || Ok(value)).unwrap();
        assert_eq!(
            [get("a", 1), get("a", 2), get("b", 3), get("b", 4)],
            [(1, true), (1, false), (3, true), (3, false)]
        );
    }
}
