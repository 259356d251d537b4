//! Why a command failed: the message and the exit code.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use crate::download::DownloadError;

/// The exit codes, as `secateur --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The system: disk, network, memory.
    System = 1,
    /// The command line; clap exits with the same code.
    Usage = 2,
    /// A data set, a run, judgments or a model.
    Input = 3,
    /// A database: damaged, locked, of another encoder or of a newer version.
    Database = 4,
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// Standard output, or a file of the command's, cannot be written.
    pub fn write(path: &Path, source: &io::Error) -> Failure {
        Failure::new(Code::System, format!("cannot write {}: {source}", path.display()))
    }
}

/// An error's message and those of its sources that the message does not repeat.
fn message(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Whether the system refused because there is no such file to read, which is not the system's fault.
fn is_no_such_input(action: &str, source: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
    matches!(action, "open" | "read" | "map" | "list")
        && matches!(source.kind(), NotFound | NotADirectory | IsADirectory)
}

impl From<secateur::Error> for Failure {
    fn from(error: secateur::Error) -> Failure {
        use secateur::{DatasetError, EncoderError, Error, IndexError};
        let code = match &error {
            Error::Dataset(DatasetError::Io { action, source, .. })
            | Error::Encoder(EncoderError::Io { action, source, .. })
            | Error::Io { action, source, .. }
                if is_no_such_input(action, source) =>
            {
                Code::Input
            }
            Error::Index(IndexError::Io { action, source, .. }) if is_no_such_input(action, source) => {
                Code::Database
            }
            Error::SameFile { .. }
            | Error::InvalidOption { .. }
            | Error::InvalidRecipe { .. }
            | Error::OtherRecipe { .. }
            | Error::InvalidDepth { .. }
            | Error::Index(IndexError::InvalidParameter { .. } | IndexError::GenerationName { .. })
            | Error::Encoder(
                EncoderError::TooManyDrops { .. }
                | EncoderError::NoSuchSubLayer { .. }
                | EncoderError::ScoresRequired { .. }
                | EncoderError::BudgetOutOfReach { .. },
            ) => Code::Usage,
            Error::Index(IndexError::DuplicateDocument { .. } | IndexError::DocumentSize { .. }) => {
                Code::Input
            }
            Error::Index(IndexError::Io { .. } | IndexError::NoFaiss)
            | Error::Dataset(DatasetError::Io { .. })
            | Error::Encoder(EncoderError::Io { .. } | EncoderError::Device { .. })
            | Error::OutputExists { .. }
            | Error::Io { .. } => Code::System,
            Error::Index(_)
            | Error::EncoderMismatch { .. }
            | Error::EncoderRequired { .. }
            | Error::NoVectors { .. }
            | Error::MinedDocument { .. } => Code::Database,
            _ => Code::Input,
        };
        let text = match &error {
            // Where an option is no recipe's, it is the command line's.
            Error::InvalidOption { stage: None, option, problem } => format!("--{option}: {problem}"),
            _ => message(&error),
        };
        Failure::new(code, text)
    }
}

impl From<secateur::DatasetError> for Failure {
    fn from(error: secateur::DatasetError) -> Failure {
        secateur::Error::from(error).into()
    }
}

impl From<secateur::EncoderError> for Failure {
    fn from(error: secateur::EncoderError) -> Failure {
        secateur::Error::from(error).into()
    }
}

impl From<secateur::eval::Error> for Failure {
    fn from(error: secateur::eval::Error) -> Failure {
        secateur::Error::from(error).into()
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Failure {
        let code = match error {
            DownloadError::Io { .. } | DownloadError::Network { .. } | DownloadError::Status { .. } => {
                Code::System
            }
            _ => Code::Input,
        };
        Failure::new(code, message(&error))
    }
}
