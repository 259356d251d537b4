//! `secateur bench`: encoders, indexes and modes side by side.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use secateur::bench::{
    BenchDataset, BenchEncoder, BenchOptions, BenchProgress, BenchReport, BenchReranker, Environment, Gate,
    IndexSpec, Program, run,
};
use secateur::database::EncoderSource;
use secateur::encode::{CrossEncoder, Device};
use secateur::eval::RuleSet;
use secateur::report::{bench_text, three_digits, write_bench};
use secateur::{LoadOptions, SearchMode};

use super::encoder::{kept_models, located, model_directory};
use super::failure::{Code, Failure, Result, say};
use super::inputs::{dataset_cache, hub, open_dataset};
use super::progress::{NOTHING_IS_KEPT, say_if_kept, say_on_interrupt, show_download, shown};
use super::{as_json, bench_gpu, print};
use crate::download::{Fetcher, Suite, SuiteDataset};

const EXAMPLES: &str = "\
A data set is a BEIR folder or the name of a downloaded one. A folder without judgments holds an application's own queries: \
all but quality is measured, and the answers are compared with those of the first encoder.

An index is a kind, perhaps with what differs from its defaults: flat, hnsw, flat-f16, hnsw-1bit, hnsw-ef50. An encoder is named \
as elsewhere, or as NAME=MODEL to be called NAME.

What is measured is kept in --out; the same command goes on after an interruption.

Examples:
  secateur bench scifact --encoders default --indexes flat,hnsw
  secateur bench scifact nfcorpus --encoders full=sentence-transformers/all-MiniLM-L6-v2,small=./pruned --modes dense,hybrid
  secateur bench --suite beir13 --encoders A,B --modes dense --indexes flat
  secateur bench my-folder --encoders A,B --rate 20 --concurrency 8 --out my-bench";

/// Measure encoders, indexes and modes side by side: quality, latency, size and cost.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// BEIR folders, or names of downloaded data sets.
    #[arg(value_name = "DATASET", required_unless_present = "suite")]
    datasets: Vec<PathBuf>,
    /// Data sets that are reported on together, in place of others; what is missing is downloaded.
    #[arg(long, conflicts_with = "datasets")]
    suite: Option<Suite>,
    /// Encoders, separated by commas, the one first that the others are compared with.
    #[arg(long, value_name = "MODELS", value_delimiter = ',')]
    encoders: Vec<String>,
    /// How vectors are indexed, separated by commas [default: flat,hnsw].
    #[arg(long, value_name = "INDEXES", value_delimiter = ',')]
    indexes: Vec<IndexSpec>,
    /// Which index answers, separated by commas [default: dense,bm25,hybrid, or bm25 without encoders].
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    modes: Vec<SearchMode>,
    /// A cross-encoder that ranks the best documents anew.
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,
    /// How many documents of each query it reads.
    #[arg(long, value_name = "K", default_value_t = 100, requires = "rerank")]
    rerank_top: usize,
    /// The folder of what is measured and built.
    #[arg(long, value_name = "DIR", default_value = "bench")]
    out: PathBuf,
    /// An earlier bench, as its results.json or its folder. End with exit code 5 if this one is worse than the limits
    /// allow, or lacks a combination.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The most that nDCG@10 may fall in any combination.
    #[arg(long, value_name = "DROP", requires = "baseline", allow_negative_numbers = true)]
    max_ndcg_drop: Option<f64>,
    /// The most that the median latency may be, as a multiple of the earlier one.
    #[arg(long, value_name = "RATIO", requires = "baseline", allow_negative_numbers = true)]
    max_latency_ratio: Option<f64>,
    /// Print JSON: results.json.
    #[arg(long)]
    json: bool,
    /// Remove the databases of a data set when it is done.
    #[arg(long)]
    discard: bool,
    #[command(flatten)]
    measuring: Measuring,
}

/// What else is measured.
#[derive(Subcommand)]
enum Instead {
    /// Measure how fast and how exactly a GPU computes.
    Gpu(bench_gpu::Arguments),
}

/// What is measured, and how.
#[derive(Args)]
#[command(next_help_heading = "What is measured")]
struct Measuring {
    /// Split of the judgments [default: the one that results are reported on].
    #[arg(long)]
    split: Option<String>,
    /// How ties, missing queries and identical ids are treated.
    #[arg(long, default_value = "mteb")]
    rules: RuleSet,
    /// Answer at most this many queries of each data set [default: all].
    #[arg(long, value_name = "N")]
    max_queries: Option<usize>,
    /// Documents that a timed search asks for. Measures look at 100.
    #[arg(short, long, default_value_t = BenchOptions::default().k)]
    k: usize,
    /// Time at most this many queries of each data set.
    #[arg(long, value_name = "N", default_value_t = BenchOptions::default().timed_queries)]
    timed_queries: usize,
    /// Queries that are answered before any is timed.
    #[arg(long, value_name = "N", default_value_t = BenchOptions::default().warm_up)]
    warm_up: usize,
    /// How often each of them is timed.
    #[arg(long, value_name = "N", default_value_t = BenchOptions::default().repetitions)]
    repetitions: usize,
    /// Clients that ask at the same time [default: as many as there are threads, at least 2].
    #[arg(long, value_name = "N")]
    concurrency: Option<usize>,
    /// Queries a second that arrive, whether earlier ones are answered or not [default: half of what the clients get].
    #[arg(long, value_name = "QUERIES")]
    rate: Option<f64>,
    /// Decides which queries are timed, and in which order.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Recommend what answers 19 of 20 queries within this time.
    #[arg(long, value_name = "MS", default_value_t = BenchOptions::default().within)]
    within: f64,
    /// Where encoders compute and flat indexes are searched: cpu, cuda:N for the GPU of that number, or auto for a GPU
    /// if there is one.
    #[arg(long, default_value_t, hide_default_value = true)]
    device: Device,
}

impl Arguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        if let Some(Instead::Gpu(arguments)) = self.instead {
            return arguments.run(out);
        }
        let options = self.options()?;
        options.check()?;
        let kept = "what was measured is kept; run the same command again to go on";
        let places = ["parts", "work"].map(|name| self.out.join(name));
        say_if_kept(kept, NOTHING_IS_KEPT, places.into())?;
        // A baseline that cannot be read, or not be compared with, is found before hours of work.
        let baseline = self.baseline.as_deref().map(BenchReport::read).transpose()?;
        let gate = Gate { max_ndcg_drop: self.max_ndcg_drop, max_latency_ratio: self.max_latency_ratio };
        if let Some(baseline) = &baseline {
            gate.fits(baseline, &Environment::here(program()), &options)?;
        }
        let report = measured(&options, &self.out)?;
        write_bench(&report, &self.out)?;
        let text = match self.json {
            true => as_json(&report)?,
            false => format!("{}\nreport: {}\n", bench_text(&report), self.out.join("report.html").display()),
        };
        if let Some(baseline) = &baseline {
            let verdict = gate.check(baseline, &report);
            if !verdict.breaches.is_empty() {
                print(out, &text)?;
                let message = format!("worse than the baseline: {}", verdict.breaches.join("; "));
                return Err(Failure::gate(message));
            }
        }
        Ok(text)
    }

    fn options(&self) -> Result<BenchOptions> {
        let Measuring { device, .. } = self.measuring;
        let of_encoders = self.encoders.iter().map(|encoder| self::encoder(encoder, device));
        let encoders = of_encoders.collect::<Result<Vec<BenchEncoder>>>()?;
        let modes = match (self.modes.is_empty(), encoders.is_empty()) {
            (false, _) => self.modes.clone(),
            (true, true) => vec![SearchMode::Bm25],
            (true, false) => SearchMode::ALL.to_vec(),
        };
        if !self.indexes.is_empty() && modes.iter().all(|mode| *mode == SearchMode::Bm25) {
            let message = "--indexes does nothing in mode bm25: leave it out, or name --encoders";
            return Err(Failure::new(Code::Usage, message));
        }
        let indexes = match self.indexes.is_empty() {
            true => ["flat", "hnsw"].iter().filter_map(|name| name.parse().ok()).collect(),
            false => self.indexes.clone(),
        };
        let measuring = &self.measuring;
        Ok(BenchOptions {
            datasets: self.datasets()?,
            split: measuring.split.clone(),
            encoders,
            indexes,
            modes,
            reranker: self.reranker()?,
            rules: measuring.rules,
            max_queries: measuring.max_queries,
            k: measuring.k,
            timed_queries: measuring.timed_queries,
            warm_up: measuring.warm_up,
            repetitions: measuring.repetitions,
            concurrency: measuring.concurrency,
            rate: measuring.rate,
            seed: measuring.seed,
            within: measuring.within,
            discard: self.discard,
            command: std::env::args()
                .skip(1)
                .fold("secateur".to_owned(), |all, part| format!("{all} {part}")),
            program: program(),
        })
    }

    /// The data sets that are named, or those of the suite.
    fn datasets(&self) -> Result<Vec<BenchDataset>> {
        let Some(suite) = self.suite else {
            let opened = |given: &PathBuf| Ok(BenchDataset::from(open_dataset(given)?.path().to_owned()));
            return self.datasets.iter().map(opened).collect();
        };
        say_on_interrupt("what was downloaded is kept; run the same command again to go on")?;
        let bar = ProgressBar::no_length();
        let datasets =
            suite.download(&dataset_cache()?, hub, &Fetcher::default(), &mut |name, progress| {
                bar.set_message(name.to_owned());
                show_download(&bar, progress);
            })?;
        bar.finish_and_clear();
        let of_suite =
            |SuiteDataset { path, name, part_of }| BenchDataset { path, name: Some(name), part_of };
        Ok(datasets.into_iter().map(of_suite).collect())
    }

    fn reranker(&self) -> Result<Option<BenchReranker>> {
        let Some(reference) = &self.rerank else { return Ok(None) };
        let model = model_directory(reference)?;
        let name = (!Path::new(reference).exists()).then(|| reference.clone());
        let (device, cache) = (self.measuring.device, kept_models());
        let options = LoadOptions { name, device, cache, ..LoadOptions::default() };
        if !CrossEncoder::is_in(&model, &options)? {
            let message = format!("--rerank: {} is no cross-encoder; give it to --encoders", model.display());
            return Err(Failure::new(Code::Input, message));
        }
        Ok(Some(BenchReranker { model, options, top: self.rerank_top }))
    }
}

/// An encoder as `MODEL` or `NAME=MODEL`.
fn encoder(given: &str, device: Device) -> Result<BenchEncoder> {
    let (name, model) = match given.split_once('=') {
        Some((name, model)) if !Path::new(given).exists() => (name.to_owned(), model),
        _ => {
            let last = Path::new(given).file_name().map(|name| name.to_string_lossy().into_owned());
            (last.unwrap_or_else(|| given.to_owned()), given)
        }
    };
    if name.is_empty() || model.is_empty() {
        let message = format!("--encoders: {given:?} is neither MODEL nor NAME=MODEL");
        return Err(Failure::new(Code::Usage, message));
    }
    let options = LoadOptions { device, ..LoadOptions::default() };
    let EncoderSource { model, options } = located(&EncoderSource { model: model.to_owned(), options })?;
    let options = LoadOptions { name: Some(name.clone()), ..options };
    Ok(BenchEncoder { name, source: EncoderSource { model, options } })
}

/// The program that measures.
pub fn program() -> Program {
    std::env::current_exe().map_or_else(|_| Program::default(), |path| Program::in_file(&path))
}

/// Measures, and says on standard error what is done.
fn measured(options: &BenchOptions, out: &Path) -> Result<BenchReport> {
    let mut show = shown();
    let report = run(options, out, &mut |told| match told {
        BenchProgress::Work(progress) => show(progress),
        BenchProgress::Cell { cell, was_kept, done, total, left } => {
            let key = &cell.key;
            let score = cell.quality.as_ref().and_then(|quality| quality.means.get("nDCG@10"));
            let score = score.map_or_else(String::new, |score| format!("nDCG@10 {:.4}, ", score.mean));
            let p50 = three_digits(cell.closed.first().map_or(0.0, |load| load.latency.p50));
            let kept = if was_kept { ", kept from before" } else { "" };
            let left = left
                .filter(|_| done < total)
                .map_or_else(String::new, |left| format!("; {} left", duration(left.as_secs())));
            say(&format!("{done}/{total}  {}, {}: {score}{p50} ms{kept}{left}", key.dataset, key.system()));
        }
        _ => {}
    })?;
    Ok(report)
}

/// A time that people can use.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
