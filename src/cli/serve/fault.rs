//! What is wrong with a request, of what the library says is wrong.

use secateur::index::Error as IndexError;
use secateur::{Error, ErrorKind, message_with_causes};
use secateur_serve::Fault;

/// The fault that an error is for whoever asked.
pub fn of(error: &Error) -> Fault {
    let message = message_with_causes(error);
    match error {
        Error::Index(IndexError::DuplicateDocument { .. } | IndexError::Locked { .. }) => {
            Fault::conflict(message)
        }
        Error::Index(IndexError::UnknownDocument { .. } | IndexError::UnknownGeneration { .. }) => {
            Fault::not_found(message)
        }
        Error::Index(
            IndexError::InvalidFilter { .. } | IndexError::UnknownField { .. } | IndexError::FieldKind { .. },
        ) => Fault::invalid_field("filter", message),
        // Of the kind of the database, but asked for by the request.
        Error::NoVectors { .. }
        | Error::NoEncoder { .. }
        | Error::VectorsOfAnEncoder { .. }
        | Error::Index(
            IndexError::DimensionMismatch { .. }
            | IndexError::NotFinite { .. }
            | IndexError::VectorTooLong { .. }
            | IndexError::ComponentTooLarge { .. }
            | IndexError::VectorPresence { .. }
            | IndexError::NoVectors
            | IndexError::SeveralGenerations { .. },
        ) => Fault::invalid(message),
        error => match error.kind() {
            ErrorKind::Usage | ErrorKind::Input => Fault::invalid(message),
            ErrorKind::System | ErrorKind::Database => Fault::internal(message),
        },
    }
}

/// The fault that an error of the index is.
pub fn of_index(error: IndexError) -> Fault {
    of(&error.into())
}
