//! Why a command failed: the message and the exit code.

use std::io::{self, Write};
use std::path::Path;

use secateur::error::message_with_causes;
use secateur::shards::told_of_sets;
use serde_json::json;

use crate::download::DownloadError;

pub use secateur::ErrorKind as Code;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// Whether nothing failed but a measurement is worse than was asked for.
    pub is_gate: bool,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), is_gate: false }
    }

    /// A measurement is worse than was asked for: an exit code of its own, for programs that decide by it.
    pub fn gate(message: impl Into<String>) -> Failure {
        Failure { is_gate: true, ..Failure::new(Code::Input, message) }
    }

    /// The same failure, told by another message that is made of its own.
    pub fn told(self, tell: impl FnOnce(&str) -> String) -> Failure {
        Failure { message: tell(&self.message), ..self }
    }

    /// The exit code, as `secateur --help` documents it. clap exits with 2, too.
    pub fn exit_code(&self) -> u8 {
        match self.code {
            _ if self.is_gate => 5,
            Code::System => 1,
            Code::Usage => 2,
            Code::Input => 3,
            Code::Database => 4,
        }
    }

    /// The failure for programs that read JSON, in one line.
    pub fn as_json(&self) -> String {
        let kind = match self.code {
            _ if self.is_gate => "gate",
            Code::System => "system",
            Code::Usage => "usage",
            Code::Input => "input",
            Code::Database => "database",
        };
        let json = json!({ "error": { "kind": kind, "code": self.exit_code(), "message": self.message } });
        json.to_string()
    }

    /// Standard output, or a file of the command's, cannot be written.
    pub fn write(path: &Path, source: &io::Error) -> Failure {
        Failure::new(Code::System, format!("cannot write {}: {source}", path.display()))
    }
}

/// What clap says of a command line, without its usage and its advice.
pub fn of_command_line(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    Failure::new(Code::Usage, first.trim_start_matches("error: ").trim())
}

/// Says on standard error what deserves a look, and goes on.
pub fn warn(message: &str) {
    say(&format!("warning: {message}"));
}

/// Says something on standard error.
pub fn say(message: &str) {
    // There is nobody left to tell if standard error is closed.
    let _ = writeln!(io::stderr(), "{message}");
}

impl<E: Into<secateur::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        let error = told_of_sets(error.into());
        let text = match &error {
            // Where an option is no recipe's, it is the command line's.
            secateur::Error::InvalidOption { stage: None, option, problem } => {
                format!("--{option}: {problem}")
            }
            _ => message_with_causes(&error),
        };
        Failure::new(error.kind(), text)
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Failure {
        Failure::new(error.kind(), message_with_causes(&error))
    }
}
