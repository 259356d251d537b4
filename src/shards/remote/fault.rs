//! Why a server of a shard gave no answer that can be used.

use secateur_files::ErrorKind;

use crate::error::Error;
use crate::shard_error::ShardError;

/// Why a server of a shard gave no answer that can be used. Each message names its address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each field is the part of the message that it is called after")]
pub enum Fault {
    /// There is no connection, or it broke.
    #[error("{url} cannot be asked: {problem}; is `secateur serve` running there?")]
    Broken { url: String, problem: String },
    /// The time is up.
    #[error("{url} gave no answer within {seconds} s; give it a larger `timeout`, or name another replica")]
    Slow { url: String, seconds: String },
    /// The request is refused.
    #[error("{url} refuses the request ({status}): {message}")]
    Refused { url: String, status: u16, message: String },
    /// The server cannot answer now, or does not know what is asked.
    #[error("{url} does not answer as a shard ({status}): {message}")]
    Failed { url: String, status: u16, message: String },
    /// The answer is longer than any.
    #[error("{url} answers with more than {most} bytes; it is no shard, or documents are larger than that")]
    Long { url: String, most: u64 },
    /// The answer cannot be read.
    #[error(
        "{url} gives an answer that cannot be read: {problem}; it runs another version of secateur, or is no shard"
    )]
    Garbled { url: String, problem: String },
    /// The server is in another state than was asked about.
    #[error("{url} is in another state: {message}")]
    Moved { url: String, message: String },
}

impl Fault {
    /// Whether other servers of the shard would answer in the same way.
    pub fn is_final(&self) -> bool {
        // Keys and sizes of requests are of one server; what is asked is the same to all.
        matches!(self, Fault::Refused { status: 400, .. })
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Fault::Refused { .. } => ErrorKind::Usage,
            Fault::Broken { .. } | Fault::Slow { .. } => ErrorKind::System,
            _ => ErrorKind::Database,
        }
    }

    /// As shards tell it.
    pub fn into_error(self) -> Error {
        match self {
            Fault::Moved { .. } => ShardError::Moved,
            fault => ShardError::NoAnswer { kind: fault.kind(), source: Box::new(fault) },
        }
        .into()
    }
}
