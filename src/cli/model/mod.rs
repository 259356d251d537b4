//! `secateur model`: inspect, check, create, merge, quantize and export models.

mod check;
mod create;
mod export;
mod inspect;
mod merge;
mod quantize;

use std::io::Write;

use clap::Subcommand;

use super::failure::Result;

const EXAMPLES: &str = "\
Examples:
  secateur model inspect sentence-transformers/all-MiniLM-L6-v2
  secateur model merge run/model --out merged
  secateur model export merged --to sentence-transformers --out stock";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Say what a model is: layers, parameters, costs, sizes, pooling, prompts, special tokens.
    Inspect(inspect::Arguments),
    /// Compare a model's vectors with stored ones.
    Check(check::Arguments),
    /// Write a new model: a configuration with random weights and a vocabulary of given texts.
    Create(create::Arguments),
    /// Merge a LoRA adapter into its base and write the whole model.
    Merge(merge::Arguments),
    /// Write a model with its linear layers in 4 bits, as bitsandbytes does.
    Quantize(quantize::Arguments),
    /// Write a model, pruned or whole, as transformers, sentence-transformers or vLLM read it.
    Export(export::Arguments),
}

impl Command {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        match self {
            Command::Inspect(arguments) => arguments.run(),
            Command::Check(arguments) => arguments.run(out),
            Command::Create(arguments) => arguments.run(),
            Command::Merge(arguments) => arguments.run(),
            Command::Quantize(arguments) => arguments.run(),
            Command::Export(arguments) => arguments.run(),
        }
    }
}
