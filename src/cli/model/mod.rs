//! `secateur model`: inspect, check and merge models.

mod check;
mod inspect;
mod merge;

use std::io::Write;

use clap::Subcommand;

use super::failure::Result;

#[derive(Subcommand)]
pub enum Command {
    /// Say what a model is: layers, parameters, costs, sizes, pooling, prompts, special tokens.
    Inspect(inspect::Arguments),
    /// Compare a model's vectors with stored ones.
    Check(check::Arguments),
    /// Merge a LoRA adapter into its base and write the whole model.
    Merge(merge::Arguments),
}

impl Command {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        match self {
            Command::Inspect(arguments) => arguments.run(),
            Command::Check(arguments) => arguments.run(out),
            Command::Merge(arguments) => arguments.run(),
        }
    }
}
