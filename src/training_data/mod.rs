//! Files of training examples made better: hard negatives from a database, scores of a teacher.
//!
//! Both are long work over a file of any size, so both stream, keep what was done in a journal beside the output, and
//! go on from there when they are called again; the output is the same, byte for byte, as without an interruption.

mod journal;
mod mine;
mod rewrite;
mod teach;
mod teacher;

pub use mine::{MineOptions, MineReport, mine};
pub use teach::teach;
pub use teacher::Teacher;
