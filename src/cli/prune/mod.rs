//! `secateur prune`: score, drop, slim, narrow, sparsify, sweep, search, trace.

mod drop;
mod narrow;
mod score;
mod search;
mod slim;
mod sparsify;
mod sweep;
mod trace;

use clap::Subcommand;

use super::failure::Result;

const EXAMPLES: &str = "\
Examples:
  secateur prune score MODEL --calibration texts.jsonl --out scores.json
  secateur prune drop MODEL --scores scores.json --mlp 3 --out dropped
  secateur prune slim dropped --sparsity 0.3 --calibration texts.jsonl --out masked
  secateur prune narrow masked --out narrow

`secateur effir` does all of it from a recipe, and trains what is left.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Measure how much each attention, MLP and block changes what passes through it.
    Score(score::Arguments),
    /// Make a model without its least important sub-layers.
    Drop(Box<drop::Arguments>),
    /// Make the least important MLP neurons zero.
    Slim(Box<slim::Arguments>),
    /// Remove the neurons that are zero: the model becomes narrower.
    #[command(alias = "compact")]
    Narrow(narrow::Arguments),
    /// Make two of every four weights zero, as Wanda or SparseGPT does, to compare with.
    Sparsify(sparsify::Arguments),
    /// Measure variants of a model end to end, without retraining: parameters, speed, nDCG@10.
    Sweep(sweep::Arguments),
    /// Find the best part of a model that keeps a budget, by its answers to a development split.
    Search(Box<search::Arguments>),
    /// Follow a query and documents through the layers: how similar they are after each.
    Trace(trace::Arguments),
}

impl Command {
    pub fn run(self) -> Result<String> {
        match self {
            Command::Score(arguments) => arguments.run(),
            Command::Drop(arguments) => arguments.run(),
            Command::Slim(arguments) => arguments.run(),
            Command::Narrow(arguments) => arguments.run(),
            Command::Sparsify(arguments) => arguments.run(),
            Command::Sweep(arguments) => arguments.run(),
            Command::Search(arguments) => arguments.run(),
            Command::Trace(arguments) => arguments.run(),
        }
    }
}

/// "parameters: 77,376 before, 70,392 after (91.0 %)".
fn shrunk([before, after]: [usize; 2]) -> String {
    use secateur::report::grouped;
    let share = 100.0 * after as f64 / before as f64;
    format!("parameters: {} before, {} after ({share:.1} %)", grouped(before), grouped(after))
}
