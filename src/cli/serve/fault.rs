//! What is wrong with a request, of what the library says is wrong.

use secateur::error::message_with_causes;
use secateur::index::Error as IndexError;
use secateur::shards::ShardError;
use secateur::{Error, ErrorKind};
use secateur_serve::Fault;

/// The fault that an error is for whoever asked.
pub fn of(error: &Error) -> Fault {
    let message = message(error);
    match error {
        Error::Io(_) => Fault::internal(message),
        Error::Index(IndexError::DuplicateDocument { .. } | IndexError::Locked { .. }) => {
            Fault::conflict(message)
        }
        Error::MissingDocuments { .. }
        | Error::Index(IndexError::UnknownDocument { .. } | IndexError::UnknownGeneration { .. }) => {
            Fault::not_found(message)
        }
        // A request is a transaction.
        Error::Index(IndexError::RepeatedDocument { .. }) => Fault::invalid_field("documents", message),
        Error::Index(
            IndexError::InvalidFilter { .. } | IndexError::UnknownField { .. } | IndexError::FieldKind { .. },
        ) => Fault::invalid_field("filter", message),
        Error::Shards(ShardError::BadQuestion { field, problem }) => Fault::invalid_field(*field, problem),
        // Of the kind of the database, but asked for by the request.
        Error::NoVectors { .. }
        | Error::NoEncoder { .. }
        | Error::VectorsOfAnEncoder { .. }
        | Error::Index(
            IndexError::VectorPresence { .. } | IndexError::NoVectors | IndexError::SeveralGenerations { .. },
        ) => Fault::invalid(message),
        error => match error.kind() {
            ErrorKind::Usage | ErrorKind::Input => Fault::invalid(message),
            ErrorKind::System | ErrorKind::Database => Fault::internal(message),
        },
    }
}

/// What is wrong. Clients need not know where the database lies, so what is said to them does not name it.
fn message(error: &Error) -> String {
    match error {
        Error::Index(IndexError::Locked { holder, .. }) => {
            let holder = holder.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"));
            format!("the database is being written by {holder}: try again later")
        }
        Error::NoVectors { .. } => "the database has no vectors, only words: search with bm25".to_owned(),
        Error::NoEncoder { .. } => {
            "no encoder makes the vectors of the database: search with bm25, or with a vector".to_owned()
        }
        Error::VectorsOfAnEncoder { name, .. } => {
            format!("{name} makes the vectors of the database: send documents without vectors")
        }
        Error::Index(IndexError::RepeatedDocument { id }) => {
            format!(
                "document {id:?} is twice in the request: send it once, or upsert it: the last one counts then"
            )
        }
        error => message_with_causes(error),
    }
}

/// The fault that an error of the index is.
pub fn of_index(error: IndexError) -> Fault {
    of(&error.into())
}
