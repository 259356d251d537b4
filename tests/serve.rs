//! `secateur serve`, asked over TCP: by clients that do as they should, and by those that do not. And `secateur mcp`.

pub mod client;
mod database;
mod embeddings;
mod hostile;
mod mcp;
mod page;
pub mod server;
