//! The folder of a recipe: whose it is, and whether anything was computed in it.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, Durable, disk, kept_items};

use super::read::is_json;
use super::recipe::Recipe;
use crate::error::{Error, Result};

/// The names under which a recipe is kept.
const TOML: &str = "recipe.toml";
const JSON: &str = "recipe.json";

impl Recipe {
    /// Keeps the recipe in the folder of what comes of it. Another recipe takes its place there as long as nothing was
    /// computed.
    ///
    /// # Errors
    ///
    /// Something was computed by another recipe, or the files are of no recipe.
    pub(super) fn keep(&self, out: &Path) -> Result<()> {
        disk::create_folders(out)?;
        let text = self.text();
        let kept = [TOML, JSON].map(|name| out.join(name)).into_iter().find(|path| path.exists());
        match kept {
            Some(kept) if fs::read_to_string(&kept).at("read", &kept)? == text => return Ok(()),
            Some(kept) if first_in(out, is_result)?.is_some() => {
                return Err(Error::OtherRecipe { folder: out.to_owned(), kept });
            }
            Some(kept) => disk::remove_file(&kept)?,
            None => {
                if let Some(other) = first_in(out, |entry| !is_temporary(entry))? {
                    let problem = format!(
                        "{} is of no recipe and has other files in it, such as {}: choose a new folder",
                        out.display(),
                        other.display()
                    );
                    return Err(Error::option("out", problem));
                }
            }
        }
        let path = out.join(if is_json(&text) { JSON } else { TOML });
        Ok(Durable::write(&path, |file| file.write_all(text.as_bytes()))?)
    }
}

/// The first of the files and folders in a folder that is one of those asked for.
fn first_in(folder: &Path, is_one: impl Fn(&DirEntry) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if is_one(&entry) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Whether a killed process left it on the way to another name.
fn is_temporary(entry: &DirEntry) -> bool {
    entry.path().extension().is_some_and(|extension| extension == "tmp")
}

/// Whether work would be lost with it. Neither the recipe nor a journal without a record is a result, nor is the log of
/// a training without a checkpoint.
fn is_result(entry: &DirEntry) -> bool {
    let (name, path) = (entry.file_name(), entry.path());
    if is_temporary(entry) || name.as_encoded_bytes().starts_with(b".") {
        return false;
    }
    match path.extension() {
        _ if [TOML, JSON, "log.jsonl"].iter().any(|other| name == *other) => false,
        Some(extension) if extension == "journal" => kept_items(&path) > 0,
        // What cannot be listed is not known to be empty.
        _ if path.is_dir() => !matches!(first_in(&path, is_result), Ok(None)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use secateur_files::Journal;

    use super::*;

    fn recipe(text: &str) -> Recipe {
        text.parse().unwrap()
    }

    fn recipes(folder: &Path) -> Vec<String> {
        let names = [TOML, JSON].map(|name| folder.join(name));
        names.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
    }

    #[test]
    fn another_recipe_is_taken_until_something_is_computed() {
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path().join("new/out");
        let [first, second, third] = ["model = \"a\"", "{\"model\": \"b\"}", "model = \"c\""];
        let write = |name: &str| {
            let path = out.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        recipe(first).keep(&out).unwrap();
        // What is left where nothing was computed.
        ["dropped.tmp/config.json", "run/log.jsonl", "results/.lock"].iter().for_each(|name| write(name));
        let journal = out.join("scores.json.journal");
        let mut open = Journal::open(&journal, [7; 32], 0).unwrap();
        for text in [second, third] {
            recipe(text).keep(&out).unwrap();
            assert_eq!(recipes(&out), [text], "one at a time");
        }
        let refused = |what: &str| {
            let error = recipe(first).keep(&out).unwrap_err().to_string();
            assert!(error.contains("is of another recipe"), "{what}: {error}");
            assert_eq!(recipes(&out), [third], "{what}");
            recipe(third).keep(&out).unwrap();
        };
        open.append([1; 32], b"a result").unwrap();
        refused("a journal");
        open.truncate(0).unwrap();
        for result in
            ["scores.json", "run/checkpoint.safetensors", "results/model.mini.json", "masked/config.json"]
        {
            write(result);
            refused(result);
            fs::remove_file(out.join(result)).unwrap();
        }
        recipe(first).keep(&out).unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path();
        fs::write(out.join("config.json"), "{}").unwrap();
        let error = recipe("model = \"a\"").keep(out).unwrap_err().to_string();
        assert!(error.contains("has other files in it") && error.contains("config.json"), "{error}");
        assert_eq!(recipes(out), [""; 0]);
    }
}
