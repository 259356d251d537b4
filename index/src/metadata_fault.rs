//! What can be wrong with metadata.

use secateur_files::ErrorKind;

/// What is wrong with the metadata of a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataFault {
    /// It is not a JSON object.
    #[error("the metadata is {got}, expected a JSON object such as {{\"year\": 2015}}")]
    NoObject {
        /// What it is.
        got: &'static str,
    },
    /// It is a JSON object with a number that is too large, or too deep, or with a string that is none.
    #[error(
        "{} cannot be read back ({problem}): change it, or write the value as a string",
        field.as_ref().map_or_else(|| "the metadata".to_owned(), |field| format!("the field {field:?} of the metadata"))
    )]
    Unreadable {
        /// The field of the metadata in which that is, where it can be told.
        field: Option<String>,
        /// What the parser found.
        problem: String,
    },
    /// The same in a database: earlier versions took it.
    #[error(
        "the metadata in the database cannot be read ({problem}), which the version that stored it did not see: \
         delete the document by its id, or upsert it with other metadata"
    )]
    Stored {
        /// What the parser found.
        problem: String,
    },
}

impl MetadataFault {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MetadataFault::NoObject { .. } | MetadataFault::Unreadable { .. } => ErrorKind::Input,
            MetadataFault::Stored { .. } => ErrorKind::Database,
        }
    }
}
