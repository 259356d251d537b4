//! The integration tests: the library against other programs' records, and the executable as users run it.

mod backends;
mod bad_input;
mod bench;
#[cfg(unix)]
mod bench_faults;
mod commit;
mod compact;
mod compare;
mod components;
mod create;
mod demo;
#[cfg(unix)]
mod documents;
mod evaluation;
mod examples;
mod export;
mod filters;
mod generation;
mod hnsw;
mod hybrid;
mod layouts;
mod mini;
mod model;
mod page;
mod passages;
mod prune;
mod prune_search;
mod prune_trace;
mod quantize;
mod queries;
mod regression;
mod report;
mod rerank;
mod resume;
#[cfg(all(unix, feature = "serve"))]
mod serve;
mod shards;
mod slim;
mod support;
mod swap;
mod teacher_vectors;
mod train;
mod training_data;
mod triples;
mod verbs;
