//! `secateur prune narrow`: masked neurons are removed.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{ReadingOptions, narrow};

use super::shrunk;
use super::slim::table;
use crate::cli::encoder::model_directory;
use crate::cli::failure::Result;

const EXAMPLES: &str = "\
Examples:
  secateur prune slim MODEL --sparsity 0.3 --calibration texts.txt --out masked
  secateur prune narrow masked --out small
  secateur prune narrow tuned --mask masked/neuron_mask.json --out small";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A directory that `prune slim` wrote, or with --mask any model.
    model: String,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The mask [default: the model directory's own neuron_mask.json].
    #[arg(long, value_name = "FILE.json")]
    mask: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        let narrowed = narrow(&model, self.mask.as_deref(), &self.reading, &self.out)?;
        Ok(format!(
            "{}: {} without its masked neurons\n{}\n\n{}",
            self.out.display(),
            narrowed.model,
            shrunk(narrowed.parameters),
            table(&narrowed.mask),
        ))
    }
}
