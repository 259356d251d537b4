//! The Model Context Protocol: tools by which agents search a database and read it. No tool changes anything.
//!
//! `tools.json` describes the tools, and each has a file that answers. How messages come and go is told elsewhere:
//! `route.rs` has them over HTTP, and `stdio.rs` of the crate over standard input and output.

mod arguments;
mod described;
mod fetch;
mod list;
mod route;
mod search;
mod shown;
mod tools;

pub use route::methods;
pub use tools::Tools;
