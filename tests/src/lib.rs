//! What the tests of every secateur crate share: where test collections and models are, and a local web server.
//!
//! A test that needs something this machine lacks says so in one visible line and passes: see [`shared_data`] and
//! [`minilm`].

pub mod format;
pub mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace, the folder that holds the top `Cargo.toml`.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the testkit crate lies in a folder of the workspace")
}

/// A folder or file of the team's shared test data, such as `scifact`. Where it is absent: `None`, and one line on
/// standard error that names `test`.
pub fn shared_data(test: &str, name: &str) -> Option<PathBuf> {
    let path = workspace_root().join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(test, &format!("the shared test data has no {name}"));
    None
}

/// The model directory of all-MiniLM-L6-v2, fetched once with `scripts/fetch-minilm.sh`. Where no package registry can
/// be reached: `None`, and one line on standard error that names `test`.
pub fn minilm(test: &str) -> Option<PathBuf> {
    let root = workspace_root();
    let model = root.join(".models/all-MiniLM-L6-v2");
    // The script holds a lock while it works, so concurrent tests wait for one download.
    if !model.join("model.safetensors").exists() {
        let fetched = Command::new("sh").arg(root.join("scripts/fetch-minilm.sh")).output();
        match fetched {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                let last = reason.lines().last().unwrap_or("no reason given");
                skip(test, &format!("all-MiniLM-L6-v2 could not be fetched: {last}"));
                return None;
            }
            Err(error) => {
                skip(test, &format!("scripts/fetch-minilm.sh did not start: {error}"));
                return None;
            }
        }
    }
    Some(model)
}

/// Writes the one visible line of a skipped test. The handle is written to directly because the test harness
/// swallows what the print macros write in a passing test.
pub fn skip(test: &str, why: &str) {
    let mut stderr = std::io::stderr().lock();
    // A closed standard error must not fail the test that is being skipped.
    let _ = writeln!(stderr, "SKIPPED {test}: {why}");
}
