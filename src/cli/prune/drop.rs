//! `secateur prune drop`: a model without some of its sub-layers.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::DropOptions;

use super::shrunk;
use crate::cli::encoder::model_directory;
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::shown;

const EXAMPLES: &str = "\
Examples:
  secateur prune score MODEL --calibration c4.jsonl.gz --out scores.json
  secateur prune drop MODEL --scores scores.json --mlp 3 --out small
  secateur prune drop MODEL --scores scores.json --target-params 15M --out small
  secateur prune drop MODEL --layers mlp:3,attention:0-2 --out small";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    options: DropOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        let dropped = self.options.located()?.run(&model, &self.out, &mut shown())?;
        let out = self.out.display();
        let mut said =
            format!("{out}: {} without {}\n{}\n", dropped.model, dropped.losses, shrunk(dropped.parameters));
        if let Some(plan) = &dropped.plan {
            said += &format!("{plan}\n");
            if plan.sparsity > 0.0 {
                // Rounded up, so that the budget is kept.
                let sparsity = (plan.sparsity * 1e5).ceil() / 1e5;
                said += &format!("next: secateur prune slim {out} --sparsity {sparsity}\n");
            }
        }
        Ok(said)
    }
}
