//! Pruning: which parts of an encoder matter least, and smaller models without them (EffiR, arXiv 2512.20612).
//!
//! Each stage is an options value with one call, from a model directory to a file or a new directory:
//!
//! | stage | call | gives |
//! |---|---|---|
//! | score | [`ScoreOptions::run`] | the importance of each attention, MLP and block |
//! | drop | [`DropOptions::run`] | a model without the least important of them |
//! | slim | [`SlimOptions::run`] | a model whose least important neurons are zero |
//! | narrow | [`narrow()`] | a model without those neurons |
//! | sparsify | [`SparsifyOptions::run`] | a model with two of every four weights zero, to compare with |
//! | sweep | [`SweepOptions::run`] | what variants of a model are worth, end to end |
//! | trace | [`TraceOptions::run`] | how similar a query and documents are after each layer |
//! | search | [`SearchOptions::run`] | the best part of a model that keeps a budget, by a development split |
//!
//! [`crate::effir`] runs them in a row. What they are made of comes from `secateur_encoders`: [`ModelDirectory`],
//! [`Scores`], [`Variant`], [`NeuronScores`], [`NeuronMask`].

mod drop;
mod narrow;
mod reading;
mod score;
mod search;
mod slim;
mod sparsify;
mod sweep;
mod trace;

use std::path::Path;

use secateur_datasets::Texts;

pub use drop::{DropOptions, Dropped, NamedLayers, ParameterCount};
pub use narrow::{Narrowed, narrow};
pub use reading::ReadingOptions;
pub use score::{MeasureOptions, ScoreOptions};
pub use search::{
    CostUnit, Gain, Origin, SEARCH_FORMAT, SampleFacts, Sampling, SearchBudget, SearchOptions, SearchReport,
    Timings, Trial,
};
pub use secateur_encoders::prune::*;
pub use slim::{SlimOptions, Slimmed};
pub use sparsify::SparsifyOptions;
pub use sweep::{SweepOptions, SweptVariant};
pub use trace::{Trace, TraceOptions, TracedDocument};

use crate::error::{Error, Result};

/// Opens the model that a stage changes; refuses an `out` that exists before anything is measured.
fn open_model(model: &Path, reading: &ReadingOptions, out: &Path) -> Result<ModelDirectory> {
    let model = ModelDirectory::open_with(model, &reading.load_options())?;
    match out.exists() {
        true => Err(Error::OutputExists { path: out.to_owned() }),
        false => Ok(model),
    }
}

/// The texts of a file or a data set, title and text joined.
fn passages(path: &Path) -> Result<impl Iterator<Item = Result<String>> + use<>> {
    Ok(Texts::open(path)?.map(|text| Ok(text?.joined(" "))))
}

/// Reads the scores of a model's sub-layers.
fn read_scores(path: &Path, model: &ModelDirectory) -> Result<Scores> {
    let scores = Scores::read(path)?;
    scores.check(path, &model.name(), model.fingerprint())?;
    Ok(scores)
}
