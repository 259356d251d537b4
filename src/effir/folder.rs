//! The folder of a recipe: whose it is, and whether anything was computed in it.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, Durable, disk, kept_items};

use super::read::is_json;
use super::recipe::Recipe;
use super::stage::Stage;
use crate::error::{Error, Result};

/// The names under which a recipe is kept.
const TOML: &str = "recipe.toml";
const JSON: &str = "recipe.json";

impl Recipe {
    /// Keeps the recipe in the folder of what comes of it. Another one gives way if its model is the same, and so are
    /// its tables up to the last stage with results.
    ///
    /// # Errors
    ///
    /// Something was computed by what the other recipe has in another way, or the files are of no recipe.
    pub(super) fn keep(&self, out: &Path) -> Result<()> {
        disk::create_folders(out)?;
        let text = self.text();
        let kept = [TOML, JSON].map(|name| out.join(name)).into_iter().find(|path| path.exists());
        match kept {
            Some(kept) => {
                let of_folder = fs::read_to_string(&kept).at("read", &kept)?;
                if of_folder == text {
                    return Ok(());
                }
                if let Some(last) = last_with_results(out)? {
                    // What is no recipe (any more) does not say by what the results were computed.
                    let difference = match of_folder.parse::<Recipe>() {
                        Ok(other) => text.parse::<Recipe>()?.difference(&other, last),
                        Err(_) => Some("all of it".to_owned()),
                    };
                    if let Some(difference) = difference {
                        return Err(Error::OtherRecipe { folder: out.to_owned(), kept, difference });
                    }
                }
                disk::remove_file(&kept)?;
            }
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

/// The last stage by which something was computed.
fn last_with_results(folder: &Path) -> Result<Option<Stage>> {
    let mut last = None;
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        if is_result(&entry) {
            last = last.max(Stage::that_leaves(&entry.file_name().to_string_lossy()));
        }
    }
    Ok(last)
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
    fn tables_after_the_last_results_may_change() {
        let temporary = tempfile::tempdir().unwrap();
        let out = temporary.path();
        let first = "model = \"a\"\n[score]\ncalibration = \"c\"\n[drop]\nmlp = 1\n[train]\ndata = [\"t\"]\nsteps = 0\n";
        recipe(first).keep(out).unwrap();
        fs::create_dir(out.join("dropped")).unwrap();
        for name in ["scores.json", "drop_order.svg", "dropped/config.json", "notes.txt"] {
            fs::write(out.join(name), "").unwrap();
        }
        let mended = first.replace("steps = 0", "steps = 5 # mended") + "[evaluate]\nbaseline = true\n";
        let said = mended.replace("# mended", "");
        for text in [&mended, &said] {
            recipe(text).keep(out).unwrap();
            assert_eq!(recipes(out), [&text[..]]);
        }
        let refused = |text: String, table: &str| {
            let error = recipe(&text).keep(out).unwrap_err().to_string();
            assert!(error.contains("is of another recipe") && error.contains(table), "{error}");
            assert_eq!(recipes(out), [&said[..]]);
        };
        refused(said.replace("mlp = 1", "mlp = 2"), "[drop] is another");
        refused(said.replace("[score]\ncalibration = \"c\"\n", ""), "[score] is another");
        refused(said.replace("\"a\"", "\"b\""), "model is another");
        refused(
            said.replace("[drop]", "[slim]\nsparsity = 0.5\n[drop]").replace("mlp = 1", "mlp = 3"),
            "[drop] is another",
        );
        // A stage in between may be put in.
        recipe(&said.replace("[train]", "[slim]\nsparsity = 0.5\n[train]")).keep(out).unwrap();
        recipe(&said).keep(out).unwrap();
        // Once the training has made something, its table holds.
        fs::create_dir_all(out.join("run/model")).unwrap();
        fs::write(out.join("run/model/config.json"), "").unwrap();
        refused(said.replace("steps = 5", "steps = 6"), "[train] is another");
        refused(said.replace("[train]", "[slim]\nsparsity = 0.5\n[train]"), "[slim] is another");
        recipe(&said.replace("baseline = true", "baseline = false")).keep(out).unwrap();
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
