//! Training runs: examples in, a folder with a model, its loss and its measures out.

mod log;
mod run;

pub use log::{LogLine, read_log};
pub use run::{RunOptions, RunOutcome, train};
