//! `secateur prune`: score, drop, slim, compact, sparsify, sweep.

pub mod calibration;
mod compact;
mod drop;
mod score;
mod slim;
mod sparsify;
mod sweep;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use secateur::prune::ModelDirectory;

pub use compact::Arguments as CompactArguments;
pub use drop::Arguments as DropArguments;
pub use score::Arguments as ScoreArguments;
pub use slim::Arguments as SlimArguments;

use super::encoder::model_directory;
use super::failure::{Code, Failure, Result};

#[derive(Subcommand)]
pub enum Command {
    /// Measure how much each attention, MLP and block changes what passes through it.
    Score(score::Arguments),
    /// Make a model without its least important sub-layers.
    Drop(drop::Arguments),
    /// Make the MLP neurons that matter least zero.
    Slim(Box<slim::Arguments>),
    /// Remove the neurons that are masked.
    Compact(compact::Arguments),
    /// Make two of every four weights zero, as Wanda or SparseGPT does, to compare with.
    Sparsify(sparsify::Arguments),
    /// Measure variants of a model end to end, without retraining: parameters, speed, nDCG@10.
    Sweep(sweep::Arguments),
}

impl Command {
    pub fn run(self) -> Result<String> {
        match self {
            Command::Score(arguments) => arguments.run(),
            Command::Drop(arguments) => arguments.run(),
            Command::Slim(arguments) => arguments.run(),
            Command::Compact(arguments) => arguments.run(),
            Command::Sparsify(arguments) => arguments.run(),
            Command::Sweep(arguments) => arguments.run(),
        }
    }
}

/// The model that a command changes, and where it is; refuses an `out` that exists before anything is measured.
fn open_model(reference: &str, out: &Path) -> Result<(PathBuf, ModelDirectory)> {
    let path = model_directory(reference)?;
    let model = ModelDirectory::open(&path)?;
    if out.exists() {
        let message = format!("{} exists: choose another --out, or remove it", out.display());
        return Err(Failure::new(Code::System, message));
    }
    Ok((path, model))
}
