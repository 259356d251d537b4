//! Why a command failed: the message and the exit code.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use crate::download::DownloadError;

pub use secateur::ErrorKind as Code;

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

    /// The exit code, as `secateur --help` documents it. clap exits with 2, too.
    pub fn exit_code(&self) -> u8 {
        match self.code {
            Code::System => 1,
            Code::Usage => 2,
            Code::Input => 3,
            Code::Database => 4,
        }
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

impl<E: Into<secateur::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = error.into();
        let text = match &error {
            // Where an option is no recipe's, it is the command line's.
            secateur::Error::InvalidOption { stage: None, option, problem } => {
                format!("--{option}: {problem}")
            }
            _ => message(&error),
        };
        Failure::new(error.kind(), text)
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Failure {
        Failure::new(error.kind(), message(&error))
    }
}
