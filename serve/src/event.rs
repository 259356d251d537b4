//! What those who run a server may want to know.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::fault::Fault;

/// What those who run a server may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It listens at this address.
    Listening(SocketAddr),
    /// A new state of the database is searched.
    Reloaded,
    /// A new state of the database is there, and cannot be searched.
    NotReloaded(Fault),
    /// A request failed, and not by its own fault.
    Failed {
        /// The request's id.
        request: String,
        /// Its method and path.
        what: String,
        /// What was wrong.
        fault: Fault,
    },
    /// It takes no more connections, and answers what it has begun.
    Ending,
}

/// Where events go.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;
