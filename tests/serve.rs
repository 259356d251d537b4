//! `secateur serve`, asked over TCP: by clients that do as they should, and by those that do not.

mod client;
mod database;
mod embeddings;
mod hostile;
mod page;
mod server;
