//! What is assumed where the files of a model say nothing, so that nothing stands in for them in silence.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Something that a model's files do not say, and what is assumed in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The file that should say it.
    pub path: PathBuf,
    /// What it does not say, and what is assumed.
    pub text: String,
}

impl Notice {
    pub(crate) fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Notice {
        Notice { path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}
