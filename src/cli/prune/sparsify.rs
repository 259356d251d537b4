//! `secateur prune sparsify`: two of every four weights zero, to compare with.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::SparsifyOptions;

use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::shown;

const EXAMPLES: &str = "\
Example:
  secateur prune sparsify MODEL --method wanda --calibration texts.txt --out sparse";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    strict: Strict,
    #[command(flatten)]
    options: SparsifyOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        self.strict.announce(&model, self.options.reading.load_options())?;
        let name = self.options.located()?.run(&model, &self.out, &mut shown())?;
        Ok(format!(
            "{}: {name} with 2 of every 4 weights of its linear layers zero\n\
             The files are as large as before, and dense products take as long.\n",
            self.out.display(),
        ))
    }
}
