//! Tests of the readers and writers on whole files.

mod beir;
mod mini;
#[cfg(feature = "parquet")]
mod parquet;
mod shared;
mod support;
mod trec;
mod triples;
mod verify;
