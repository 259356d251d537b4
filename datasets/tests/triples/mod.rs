//! Training examples: what is read and written, how streams are mixed, which batches are drawn.

mod batches;
mod formats;
mod from_beir;
mod shuffle;
