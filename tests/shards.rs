//! Sets of shards: they answer as one database of the same documents does, and what is wrong with one is told.

mod building;
mod errors;
mod executable;
#[cfg(unix)]
mod faults;
#[cfg(all(unix, feature = "serve"))]
mod remote;
mod same_answers;
mod tuning;

use std::path::Path;
use std::sync::Arc;

use secateur::{Encoder, LoadOptions};

use crate::support::model;

/// A tiny model, loaded.
fn encoder(folder: &Path) -> Arc<Encoder> {
    Arc::new(Encoder::load(model::tiny(folder), &LoadOptions::default()).unwrap())
}
