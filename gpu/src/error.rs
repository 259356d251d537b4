//! What can go wrong with a GPU.

/// The result of what a GPU is asked for.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none that could be used. The text says what was found and what was not.
    #[error("{0}")]
    NotUsable(String),
    /// The memory is full, after all that was kept for later has been given back.
    #[error(
        "the GPU's memory is full: {wanted} bytes were asked for, {free} of {total} are free; give --batch-tokens a \
         smaller number, or end other programs on this GPU"
    )]
    OutOfMemory {
        /// Bytes that were asked for.
        wanted: usize,
        /// Bytes that are free.
        free: usize,
        /// Bytes that the device has.
        total: usize,
    },
    /// The driver or a library refused something.
    #[error("the GPU failed at {what}: {source_text}")]
    Failed {
        /// What it was asked for.
        what: String,
        /// Its answer.
        source_text: String,
    },
}

impl Error {
    pub(crate) fn failed(what: impl Into<String>, source: impl std::fmt::Display) -> Error {
        Error::Failed { what: what.into(), source_text: source.to_string() }
    }

    /// Whether less at a time may help.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::OutOfMemory { .. })
    }
}
