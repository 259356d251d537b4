//! The HTTP server: embeddings, reranking and a database, for programs that know the routes of others. Agents search
//! the database over the Model Context Protocol, at a route or over standard input and output.
//!
//! The crate knows no model and no database. Three traits say what it asks for: [`Embedder`], [`Scorer`] and
//! [`Collection`]; the executable implements them. What they compute is computed on threads of this crate's
//! [batches](Limits), never on those that read and write sockets.
//!
//! Unlike the other libraries this one starts threads: a server waits for many things at a time.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod access;
mod apart;
mod app;
mod batch;
mod body;
mod budget;
mod collection;
mod connection;
mod event;
mod fault;
mod guard;
mod input;
mod input_json;
mod limits;
mod listen;
mod mcp;
mod metrics;
mod model;
mod peer;
mod request_id;
mod routes;
mod slow_writes;
mod stdio;
mod stop;

pub use access::{Access, Hosts};
pub use app::Served;
pub use collection::{
    Change, Changed, Collection, FoundHit, HitPlace, Listed, NewDocument, SearchAnswer, SearchRequest, Span,
};
pub use event::{Event, Tell};
pub use fault::Fault;
pub use limits::Limits;
pub use listen::run;
pub use model::{Embedder, EmbedderFacts, Kind, Scorer};
pub use stdio::run_stdio;
pub use stop::Stop;
