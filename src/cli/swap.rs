//! `secateur swap` and `secateur rollback`: another encoder for a live database, if it is good enough.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use secateur::eval::RuleSet;
use secateur::swap::{SwapOptions, SwapReport};
use secateur::{Database, SearchMode};

use super::encoder::{EncoderArguments, open_in_use};
use super::failure::{Failure, Result};
use super::inputs::open_dataset;
use super::progress::{say_on_interrupt, shown};
use super::{as_json, print};

const EXAMPLES: &str = "\
The documents get vectors of the new encoder, as a generation beside the one that serves. Both answer the queries of the data set. \
If the gate holds, the new generation serves from then on, and the old one stays for `secateur rollback`. Otherwise nothing changes, \
the new generation stays unused, and the exit code is 5. Run again after an interruption, it goes on.

A data set without judgments, such as queries of an application, needs --min-overlap.

Examples:
  secateur swap scifact.db --encoder minilm-effir --on scifact --max-ndcg-drop 0.01 --max-latency-ratio 1.0
  secateur swap shop.db --encoder default --on my-queries --min-overlap 0.8 --mode dense
  secateur rollback scifact.db";

const GATE: &str = "When the new encoder serves";
const MEASURED: &str = "What is measured";

#[derive(Args)]
#[command(
    mut_arg("encoder", |encoder| encoder.required(true).help("The new encoder: a model directory, OWNER/NAME of the Hugging Face hub, or `default`, the encoder in the box")),
    after_help = EXAMPLES
)]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// A BEIR folder with queries, or the name of a downloaded data set.
    #[arg(long = "on", value_name = "DATASET")]
    dataset: PathBuf,
    /// What to call the new generation; one of this name and encoder is used as it is [default: as the encoder].
    #[arg(long)]
    name: Option<String>,
    /// The most that the mean nDCG@10 may fall.
    #[arg(long, value_name = "DROP", allow_negative_numbers = true, help_heading = GATE)]
    max_ndcg_drop: Option<f64>,
    /// The least share of the first ten documents that both generations find.
    #[arg(long, value_name = "SHARE", help_heading = GATE)]
    min_overlap: Option<f64>,
    /// The most that the median latency of a query may be, as a multiple of the one of now.
    #[arg(long, value_name = "RATIO", allow_negative_numbers = true, help_heading = GATE)]
    max_latency_ratio: Option<f64>,
    /// How queries are answered: dense or hybrid [default: hybrid].
    #[arg(long, help_heading = MEASURED)]
    mode: Option<SearchMode>,
    /// Split of the judgments [default: the one that results are reported on].
    #[arg(long, help_heading = MEASURED)]
    split: Option<String>,
    /// How ties, missing queries and identical ids are treated.
    #[arg(long, default_value = "mteb", help_heading = MEASURED)]
    rules: RuleSet,
    /// Time at most this many queries.
    #[arg(long, value_name = "N", default_value_t = SwapOptions::default().timed_queries, help_heading = MEASURED)]
    timed_queries: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encoder: EncoderArguments,
}

#[derive(Args)]
#[command(after_help = "Example:\n  secateur rollback scifact.db")]
pub struct RollbackArguments {
    /// The database.
    database: PathBuf,
}

impl Arguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let dataset = open_dataset(&self.dataset)?;
        let mut database = open_in_use(&self.database, &self.encoder)?;
        let encoder = self.encoder.load_required()?;
        let options = SwapOptions {
            name: self.name,
            source: self.encoder.source(),
            mode: self.mode,
            split: self.split,
            rules: self.rules,
            max_ndcg_drop: self.max_ndcg_drop,
            min_overlap: self.min_overlap,
            max_latency_ratio: self.max_latency_ratio,
            timed_queries: self.timed_queries,
            ..SwapOptions::default()
        };
        say_on_interrupt(
            "the database serves as before; run the same command again, which goes on from what is encoded",
        )?;
        let report = options.swap(&mut database, &encoder, &dataset, &mut shown())?;
        let [old, new] = report.generations.each_ref().map(|side| side.generation.as_str());
        let path = self.database.display();
        let text = if self.json { as_json(&report)? } else { report.to_string() };
        if let Some(message) = refusal(&report) {
            print(out, &text)?;
            return Err(Failure::gate(format!(
                "{path} reads generation {old} as before: {message}. Generation {new} stays, so that it need not be encoded \
                 again; `secateur generation drop {path} {new}` removes it"
            )));
        }
        if self.json {
            return Ok(text);
        }
        Ok(format!(
            "{text}\n{path}: generation {new} is in use; `secateur rollback {path}` goes back to {old}\n"
        ))
    }
}

fn refusal(report: &SwapReport) -> Option<String> {
    (!report.is_switched).then(|| report.breaches.join("; "))
}

impl RollbackArguments {
    pub fn run(self) -> Result<String> {
        let mut database = Database::open(&self.database)?;
        let from = database.generation_in_use().unwrap_or_default().to_owned();
        let to = database.restore_generation()?;
        Ok(format!("{}: generation {to} is in use again, in place of {from}\n", self.database.display()))
    }
}
