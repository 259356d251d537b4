//! `secateur prune search`: what to take out of a model, chosen by its answers.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{CostUnit, SearchOptions, SearchReport, Trial};
use secateur::report::{Align, Table, counted, grouped, three_digits};

use super::shrunk;
use crate::cli::as_json;
use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::{NOTHING_IS_KEPT, say_if_kept, shown};

const EXAMPLES: &str = "\
Attentions, MLPs and blocks are dropped, and MLPs are narrowed by quarters of their width. What importance alone would choose is \
measured first, then models with one change, then those that are expected to be best. nDCG@10 is that of a sample: some queries \
of the development split, their judged documents, and hard negatives by BM25.

Everything that was measured is kept in OUT.search, with search.json; the same command goes on after an interruption.

Examples:
  secateur prune search MODEL --budget gflop=0.67 --dev nfcorpus --out small
  secateur prune search MODEL --budget latency=0.5 --dev nfcorpus,scifact --dev-split train --scores scores.json --out small";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    options: SearchOptions,
    /// Print JSON: search.json.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        self.options.check()?;
        let model = model_directory(&self.model)?;
        self.strict.announce(&model, self.options.reading.load_options())?;
        let options = self.options.located()?;
        let kept = "what was measured is kept; run the same command again to go on";
        say_if_kept(kept, NOTHING_IS_KEPT, vec![SearchOptions::folder(&self.out)])?;
        let report = options.run(&model, &self.out, &mut shown())?;
        if self.json {
            return as_json(&report);
        }
        let (best, whole) = (report.best(), report.whole());
        Ok(format!(
            "{}{}\n{}: {} without {}\n{}\n{}",
            samples(&report),
            table(&report),
            self.out.display(),
            report.model,
            best.without,
            shrunk([whole.parameters, best.parameters]),
            verdict(&report)
        ))
    }
}

/// What was measured on.
fn samples(report: &SearchReport) -> String {
    let mut text = String::new();
    for sample in &report.samples {
        text += &format!(
            "{} {}: {} of {}, {} ({} judged, {} by BM25)\n",
            sample.dataset,
            sample.split,
            grouped(sample.num_queries),
            counted(sample.num_queries_in_all, "query"),
            counted(sample.num_documents, "document"),
            grouped(sample.num_judged),
            counted(sample.num_hard_negatives, "hard negative")
        );
    }
    text + "\n"
}

/// Everything that was tried: what keeps the budget first, and the best first.
fn table(report: &SearchReport) -> Table {
    let share = format!("{} share", report.budget.unit.name());
    let columns = [("without", Align::Left), ("tried by", Align::Left), ("parameters", Align::Right)];
    let mut table = Table::new(columns.into_iter().map(|(name, align)| (name.to_owned(), align)).chain([
        (share, Align::Right),
        ("budget".to_owned(), Align::Left),
        ("nDCG@10".to_owned(), Align::Right),
        ("of whole".to_owned(), Align::Right),
    ]));
    let mut trials: Vec<&Trial> = report.trials.iter().collect();
    trials.sort_by(|a, b| b.keeps_budget.cmp(&a.keeps_budget).then(b.ndcg_at_10.total_cmp(&a.ndcg_at_10)));
    for trial in trials {
        let without = if trial.without == "whole" { "nothing" } else { &trial.without };
        table.row([
            without.to_owned(),
            trial.origin.name().to_owned(),
            grouped(trial.parameters),
            format!("{:.3}", trial.share),
            if trial.keeps_budget { "kept" } else { "-" }.to_owned(),
            format!("{:.4}", trial.ndcg_at_10),
            format!("{:.1} %", 100.0 * trial.ndcg_at_10 / report.whole().ndcg_at_10),
        ]);
    }
    table
}

/// How good the choice is, against importance alone and the whole model.
fn verdict(report: &SearchReport) -> String {
    let (best, whole) = (report.best(), report.whole());
    let mut text = format!(
        "nDCG@10 on the sample: {:.4}, {:.1} % of the whole model's {:.4}\n",
        best.ndcg_at_10,
        100.0 * best.ndcg_at_10 / whole.ndcg_at_10,
        whole.ndcg_at_10
    );
    match (report.best_by_importance(), &report.gain) {
        (Some(other), Some(gain)) => {
            let p = gain.test.map_or_else(|| "-".to_owned(), |test| three_digits(test.p));
            text += &format!(
                "importance alone: {:.4}, without {}; the difference over queries is {:+.4} (paired t-test, p = {p}, the best of {} \
                 trials)\n",
                other.ndcg_at_10,
                other.without,
                gain.difference,
                report.trials.len()
            );
        }
        (Some(_), None) => text += "importance alone chooses the same\n",
        (None, _) => text += "importance alone keeps the budget in no way\n",
    }
    if let (CostUnit::Latency, Some(share)) = (report.budget.unit, report.measured_share) {
        text += &format!("latency, timed in turn: {} of the whole model's", three_digits(share));
        text += if share > report.budget.share { ", more than was asked for\n" } else { "\n" };
    }
    text
}
