//! The error of a file operation.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a file operation.
pub type Result<T, E = PathError> = std::result::Result<T, E>;

/// The operating system refused a file operation; `source()` has its reason.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct PathError {
    /// What was attempted, as a verb: "read", "write", "sync".
    pub action: &'static str,
    /// The file or folder it was attempted on.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

impl PathError {
    /// An error from its parts.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> PathError {
        PathError { action, path: path.into(), source: source.into() }
    }
}

/// Adds to an `io::Error` what the operating system leaves out.
pub trait AtPath<T> {
    /// The same result with the action and the path in its error.
    ///
    /// ```
    /// use secateur_files::AtPath;
    ///
    /// let error = std::fs::read("absent").at("read", "absent").unwrap_err();
    /// assert_eq!(error.to_string(), "cannot read absent");
    /// ```
    ///
    /// # Errors
    /// That of the result.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| PathError::new(action, path.as_ref(), source))
    }
}

/// Whose turn it is when something went wrong. Each layer says it of its own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The system's: disk, memory, network, a device.
    System,
    /// The caller's: an argument is out of range, or asks for what cannot be.
    Usage,
    /// Whoever made the input can act: a data set, a run, judgments or a model is wrong.
    Input,
    /// Whoever keeps the database can act: it is missing, damaged, locked, of another encoder or of a newer version.
    Database,
}

impl ErrorKind {
    /// The kind of a file operation that failed. It is `missing` where there is no such file to read, or where a file
    /// is no text: neither is the system's fault.
    pub fn of_io(action: &str, source: &io::Error, missing: ErrorKind) -> ErrorKind {
        use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound};
        let reads = matches!(action, "open" | "read" | "map" | "list");
        if reads && matches!(source.kind(), NotFound | NotADirectory | IsADirectory | InvalidData) {
            return missing;
        }
        ErrorKind::System
    }
}

impl PathError {
    /// As [`ErrorKind::of_io`].
    pub fn kind(&self, missing: ErrorKind) -> ErrorKind {
        ErrorKind::of_io(self.action, &self.source, missing)
    }
}
