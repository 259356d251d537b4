//! `secateur tune`: how many candidates searches of an HNSW index have to keep.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use secateur::index::search::{Recall, RecallCurve};
use secateur::report::{counted, three_digits};
use serde_json::json;

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::searched::{Opening, open_searched};

const EXAMPLES: &str = "\
Examples:
  secateur tune my.db scifact --target-recall 0.95
  secateur tune my.db scifact --dry-run --json";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// A database with an HNSW index, a set of shards, or a .json file that names the servers of a set.
    database: PathBuf,
    /// A BEIR folder whose queries are asked, or the name of a downloaded data set.
    dataset: PathBuf,
    /// The share of the true hits that is to be found, on average over the queries.
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = share)]
    target_recall: f64,
    /// Hits asked for each query.
    #[arg(short, long, default_value = "10", value_parser = super::positive)]
    k: NonZeroUsize,
    /// The most queries asked: the first ones.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = crate::cli::positive)]
    num_queries: NonZeroUsize,
    /// The generation that is tuned [default: the one in use].
    #[arg(long, value_name = "NAME")]
    generation: Option<String>,
    /// Measure only.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encoder: EncoderArguments,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is expected".to_owned()),
    }
}

impl Arguments {
    /// What is tuned.
    pub fn path(&self) -> &Path {
        &self.database
    }

    pub fn run(self) -> Result<String> {
        let opening = Opening { generation: self.generation.as_deref(), needs_encoder: true, partial: false };
        let mut database = open_searched(&self.database, opening, &self.encoder)?;
        if !self.dry_run {
            database.check_keeps()?;
        }
        let dataset = open_dataset(&self.dataset)?;
        let mut texts = Vec::new();
        for query in dataset.queries()?.take(self.num_queries.get()) {
            texts.push(query?.text);
        }
        if texts.is_empty() {
            let message = format!("{} has no queries: name a data set that has", dataset.path().display());
            return Err(Failure::new(Code::Input, message));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let curve = database.tune(&texts, self.k.get(), self.target_recall)?;
        if !self.dry_run {
            database.keep_curve(self.generation.as_deref(), &curve)?;
        }
        Ok(if self.json { as_json(&curve) } else { self.as_text(&curve) })
    }

    fn as_text(&self, curve: &RecallCurve) -> String {
        let mut text = table(curve);
        text.push_str("times of all queries at once, without encoding, taken once: other work on the machine adds to them\n");
        let what = if self.dry_run { "is enough for" } else { "is set, the least for" };
        text.push_str(&format!("\nef {} {what} a recall of {}\n", curve.ef_search, self.target_recall));
        text
    }
}

fn is_timed(curve: &RecallCurve) -> bool {
    curve.points.iter().any(|point| point.seconds.is_some())
}

/// A line for each ef.
pub(super) fn table(curve: &RecallCurve) -> String {
    let mut text = format!(
        "{}, recall@{} against exact search\n\n    ef    mean  5th percentile{}\n",
        counted(curve.num_queries, "query"),
        curve.k,
        if is_timed(curve) { "  a query" } else { "" }
    );
    for Recall { ef_search, mean, percentile_5, seconds } in &curve.points {
        let time =
            seconds.map_or_else(String::new, |seconds| format!("  {} ms", three_digits(seconds * 1000.0)));
        text.push_str(&format!("{ef_search:>6}  {mean:.4}          {percentile_5:.4}{time}\n"));
    }
    text
}

fn as_json(curve: &RecallCurve) -> String {
    let point = |point: &Recall| json!({ "ef": point.ef_search, "mean": point.mean, "percentile_5": point.percentile_5, "seconds": point.seconds });
    let points: Vec<_> = curve.points.iter().map(point).collect();
    format!("{:#}\n", json!({ "ef": curve.ef_search, "points": points }))
}
