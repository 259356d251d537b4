//! Encoders, indexes and modes side by side: quality, latency, size and cost.
//!
//! [`run()`] measures every data set with every encoder, index and mode, and gives a [`BenchReport`]. Quality has
//! bootstrap intervals. Latency is that of a whole query, from its text to the documents, split into its stages. It is
//! measured with one client, with several, and with queries that arrive at a fixed rate. What is measured is kept, so
//! that the same call goes on after an interruption.
//!
//! ```
//! use secateur::bench::{BenchOptions, run};
//! use secateur::SearchMode;
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("out");
//!
//! let mini = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"));
//! let options = BenchOptions {
//!     datasets: vec![mini.into()],
//!     modes: vec![SearchMode::Bm25],
//!     repetitions: 1,
//!     ..BenchOptions::default()
//! };
//! let report = run(&options, &out, &mut |_| {})?;
//! let cell = &report.cells[0];
//! let ndcg = cell.quality.as_ref().unwrap().means["nDCG@10"];
//! let interval = ndcg.interval.unwrap();
//! assert!(interval.low <= ndcg.mean && ndcg.mean <= interval.high);
//! assert!(cell.closed[0].latency.p50 <= cell.closed[0].latency.p95);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agreement;
mod build;
mod cell;
mod clients;
mod dataset;
mod encoder_facts;
mod encoding;
mod environment;
mod folder;
mod gate;
mod gpu_search;
mod index_spec;
mod layer_plots;
mod layers;
mod merge;
mod options;
mod pipeline;
mod plot;
mod plots;
mod result;
mod run;
mod stored;
mod summary;

use std::num::NonZeroUsize;

use crate::eval::Measure;

pub(crate) use clients::{percentiles, shuffle};
pub(crate) use dataset::has_relevant;
pub use environment::{Environment, Program};
pub use gate::{Gate, Verdict};
pub use gpu_search::{SearchSize, SearchSpeed, gpu_search};
pub use index_spec::{IndexSpec, InvalidIndex};
pub use options::{BenchDataset, BenchEncoder, BenchOptions, BenchReranker};
pub use pipeline::{Answer, Pipeline, STAGES};
pub use plot::{Axis, Plot, PlotPoint, Series};
pub use result::*;
pub use run::{BenchProgress, run};

const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
const HUNDRED: NonZeroUsize = NonZeroUsize::new(100).unwrap();

/// What a bench measures of answers: nDCG@10, Recall@100 and MRR@10.
pub const MEASURES: [Measure; 3] = [Measure::Ndcg(TEN), Measure::Recall(HUNDRED), Measure::Mrr(Some(TEN))];
