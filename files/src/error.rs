//! The error of a file operation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of a file operation.
pub type Result<T, E = PathError> = std::result::Result<T, E>;

/// The operating system refused a file operation; `source()` has its reason, unless the message says what to do.
#[derive(Debug)]
pub struct PathError {
    /// What was attempted, as a verb: "read", "write", "sync".
    pub action: &'static str,
    /// The file or folder it was attempted on.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

impl PathError {
    /// What was to be written is there already.
    ///
    /// ```
    /// let error = secateur_files::PathError::exists("model");
    /// assert_eq!(error.to_string(), "model exists: choose another output, or remove it");
    /// ```
    pub fn exists(path: impl Into<PathBuf>) -> PathError {
        PathError::new(CREATE, path, io::ErrorKind::AlreadyExists)
    }

    /// An error from its parts.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> PathError {
        PathError { action, path: path.into(), source: source.into() }
    }
}

/// The action of making a file or folder.
pub(crate) const CREATE: &str = "create";

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.is_in_place().then(|| self.source.kind()) {
            Some(io::ErrorKind::AlreadyExists) => {
                write!(f, "{path} exists: choose another output, or remove it")
            }
            Some(_) => {
                let folder = self.path.parent().unwrap_or(&self.path).display();
                write!(f, "there is no folder {folder} for {path}: make it first, or choose another output")
            }
            None => write!(f, "cannot {} {path}", self.action),
        }
    }
}

impl std::error::Error for PathError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        (!self.is_in_place()).then_some(&self.source as &(dyn std::error::Error + 'static))
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

impl PathError {
    /// Whose turn it is. It is `missing` where there is no such file to read, or where a file is no text: neither is
    /// the system's fault. Whoever names an output names one that can be made.
    pub fn kind(&self, missing: ErrorKind) -> ErrorKind {
        use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound};
        let reads = matches!(self.action, "open" | "read" | "map" | "list");
        match self.source.kind() {
            _ if self.is_in_place() => ErrorKind::Usage,
            NotFound | NotADirectory | IsADirectory | InvalidData if reads => missing,
            _ => ErrorKind::System,
        }
    }

    /// Whether an output cannot be made because of what is in its place, or because its folder is not there.
    fn is_in_place(&self) -> bool {
        self.action == CREATE
            && matches!(self.source.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durable, DurableFolder, Journal};

    /// However an output is made: what is in the way, or missing, is told alike, and is the caller's to mend.
    #[test]
    fn outputs_that_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let (there, gone) = (folder.path().join("there"), folder.path().join("gone/out"));
        std::fs::create_dir(&there).unwrap();
        let error = DurableFolder::create(&there).unwrap_err();
        let expected = format!("{} exists: choose another output, or remove it", there.display());
        assert_eq!((error.to_string(), error.kind(ErrorKind::Input)), (expected, ErrorKind::Usage));
        assert!(std::error::Error::source(&error).is_none(), "nothing is left to say");

        let told = |error: PathError| {
            assert_eq!(error.kind(ErrorKind::Database), ErrorKind::Usage, "{error:?}");
            error.to_string()
        };
        let of_file = told(Durable::create(&gone).unwrap_err());
        assert_eq!(told(Durable::create(&there).unwrap_err()), told(PathError::exists(&there)));
        let parent = folder.path().join("gone");
        assert!(of_file.starts_with(&format!("there is no folder {} for ", parent.display())), "{of_file}");
        let crate::JournalError::Io(error) = Journal::open(&gone, [0; 32], 0).unwrap_err() else { panic!() };
        assert_eq!(told(error), of_file);

        let refused = PathError::new("create", "out", io::ErrorKind::PermissionDenied);
        assert_eq!(
            (refused.to_string(), refused.kind(ErrorKind::Input)),
            ("cannot create out".into(), ErrorKind::System)
        );
        for (kind, expected) in
            [(io::ErrorKind::NotFound, ErrorKind::Input), (io::ErrorKind::InvalidData, ErrorKind::Input)]
        {
            assert_eq!(PathError::new("read", "in", kind).kind(ErrorKind::Input), expected);
        }
    }
}
