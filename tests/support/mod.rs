//! What the tests of the executable share: a folder to run it in, data sets and models to run it on.

pub mod dataset;
pub mod model;
pub mod segment;
pub mod shards;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

pub use secateur_testkit::workspace_root;

/// A temporary folder in which the executable runs, without a home and without anything of the caller's environment.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Sandbox { folder }
    }

    /// A file or folder of the sandbox; given to the executable, the name alone will do.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The executable with these arguments, not started yet.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the executable to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    /// Starts the executable; its standard error is kept for [`Outcome::wait`].
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The names in the sandbox, sorted, without the folder for temporary files.
    pub fn names(&self) -> Vec<String> {
        names(self.folder.path()).into_iter().filter(|name| name != "tmp").collect()
    }

    /// The names left in the folder for temporary files.
    pub fn temporary_names(&self) -> Vec<String> {
        names(&self.path("tmp"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether this is the line a minute that long work says in a pipe: on a slow machine many tests are long work. Work
/// that was interrupted says from where it goes on.
fn is_progress(line: &str) -> bool {
    if line.starts_with("going on from ") {
        return true;
    }
    // "indexing: 1,280 documents, 9.9/s"
    let number = |text: &str, others: &str| {
        let is_part = |c: char| c.is_ascii_digit() || others.contains(c);
        !text.is_empty() && text.chars().all(is_part)
    };
    let parts = line.split_once(": ").and_then(|(_, rest)| rest.split_once(' ').zip(rest.rsplit_once(", ")));
    let Some(((done, _), (_, rate))) = parts else { return false };
    number(done, ",") && rate.strip_suffix("/s").is_some_and(|rate| number(rate, "."))
}

/// How the executable ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Outcome {
        Outcome::from_output(command.output().unwrap())
    }

    /// Waits for a child that [`Sandbox::start`] started.
    pub fn wait(child: Child) -> Outcome {
        Outcome::from_output(child.wait_with_output().unwrap())
    }

    fn from_output(output: std::process::Output) -> Outcome {
        let outcome = Outcome {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!outcome.stderr.contains("panicked"), "a panic reached the user: {outcome:?}");
        outcome
    }

    /// Asserts success without a word on standard error but progress; gives back standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        assert!(self.stderr.lines().all(is_progress), "{self:?}");
        self.stdout
    }

    /// Asserts success; standard output read as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Asserts failure with this exit code and one message, in which all of `parts` occur.
    #[track_caller]
    pub fn fails<S: AsRef<str>>(self, code: i32, parts: impl IntoIterator<Item = S>) -> String {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        let is_error = ["error: ", "{\"error\":"].iter().any(|start| self.stderr.starts_with(start));
        assert!(is_error, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part.as_ref()), "no {:?} in {self:?}", part.as_ref());
        }
        self.stderr
    }
}

/// The bundled collection.
pub fn mini() -> PathBuf {
    workspace_root().join("datasets/mini")
}

/// The hits of an answer in JSON, each with its score.
pub fn ids(answer: &serde_json::Value) -> Vec<String> {
    let hits = answer["hits"].as_array().unwrap();
    hits.iter().map(|hit| format!("{} {}", hit["doc_id"], hit["score"])).collect()
}

/// Every file below a folder with its bytes.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(folder)
        .into_iter()
        .map(|file| (file.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&file).unwrap()))
        .collect()
}

/// The paths of all files below a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        let file = to.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

/// Pseudo-random numbers (SplitMix64), the same ones in every run of a test.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
