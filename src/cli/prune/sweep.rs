//! `secateur prune sweep`: the paper's Table 1 for a model.

use std::path::PathBuf;

use clap::Args;
use secateur::measure::Measurement;
use secateur::prune::{SweepOptions, SweptVariant};
use secateur::report::{Align, Table, TradeOff, three_digits, trade_offs};
use secateur_files::Durable;
use serde_json::{Value, json};

use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::{NOTHING_IS_KEPT, say_if_kept, shown};
use crate::cli::svg_file;

const EXAMPLES: &str = "\
nDCG@10 is measured by MTEB's rules.

Examples:
  secateur prune sweep MODEL --scores scores.json --variants full,2M,2B,last-2B --datasets scifact,nfcorpus --out table
  secateur prune sweep MODEL --scores scores.json --variants full,1M,2M --datasets scifact --out table --plot table.svg";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    #[command(flatten)]
    options: SweepOptions,
    /// The folder of results, one file a variant and data set. Those that are there are not measured again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Draw parameters against nDCG@10, a point a variant.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file())]
    plot: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        self.strict.announce(&model, self.options.reading.load_options())?;
        let options = self.options.located()?;
        let kept = "finished results are kept; run the same command again to go on";
        say_if_kept(kept, NOTHING_IS_KEPT, vec![self.out.clone()])?;
        let swept = options.run(&model, &self.out, &mut shown())?;
        if let Some(plot) = &self.plot {
            let drawing = trade_offs(&title(&self.model, &swept), &points(&swept)).to_string();
            Durable::write(plot, |file| file.write_all(drawing.as_bytes()))?;
        }
        Ok(match self.json {
            true => format!("{:#}\n", as_json(&swept)),
            false => format!("{}\n{NOTE}\n", table(&swept)),
        })
    }
}

const NOTE: &str = "nDCG@10 by MTEB's rules. Times are of one run and are kept with the results: other work on the machine adds to them.";

/// The model, and what its variants were measured on.
fn title(model: &str, swept: &[SweptVariant]) -> String {
    let datasets = swept.first().map(|one| &one.measured[..]).unwrap_or_default();
    let names: Vec<&str> = datasets.iter().map(|(name, _)| name.as_str()).collect();
    format!("{model} on {}, without retraining", names.join(", "))
}

fn points(swept: &[SweptVariant]) -> Vec<TradeOff> {
    let point = |one: &SweptVariant| TradeOff {
        name: one.variant.to_string(),
        num_parameters: one.num_parameters,
        ndcg_at_10: mean(one, |measured| measured.ndcg_at_10),
    };
    swept.iter().map(point).collect()
}

/// The mean over the data sets.
fn mean(one: &SweptVariant, value: fn(&Measurement) -> f64) -> f64 {
    one.measured.iter().map(|(_, measured)| value(measured)).sum::<f64>() / one.measured.len() as f64
}

/// All documents by all the time that they took.
fn documents_per_second(one: &SweptVariant) -> f64 {
    let all = || one.measured.iter().map(|(_, measured)| measured);
    let documents: usize = all().map(|measured| measured.num_documents).sum();
    let seconds: f64 =
        all().map(|measured| measured.num_documents as f64 / measured.documents_per_second).sum();
    documents as f64 / seconds
}

fn as_json(swept: &[SweptVariant]) -> Value {
    let variant = |one: &SweptVariant| {
        json!({
            "variant": one.variant.to_string(),
            "parameters": one.num_parameters,
            "ndcg_at_10": mean(one, |measured| measured.ndcg_at_10),
            "documents_per_second": documents_per_second(one),
            "milliseconds_per_query": mean(one, |measured| measured.milliseconds_per_query),
            "datasets": one.measured.iter().map(|(name, measured)| (name.clone(), json!(measured)))
                .collect::<serde_json::Map<_, _>>(),
        })
    };
    swept.iter().map(variant).collect()
}

/// A column a variant, as the paper's Table 1.
fn table(swept: &[SweptVariant]) -> Table {
    let variants = swept.iter().map(|one| (one.variant.to_string(), Align::Right));
    let mut table = Table::new(std::iter::once((String::new(), Align::Left)).chain(variants));
    let mut row = |name: &str, value: &dyn Fn(&SweptVariant) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(swept.iter().map(value)));
    };
    row("parameters", &|one| rounded(one.num_parameters));
    let datasets = swept.first().map(|one| &one.measured[..]).unwrap_or_default();
    for (number, (dataset, _)) in datasets.iter().enumerate() {
        row(&format!("{dataset} nDCG@10"), &|one| format!("{:.4}", one.measured[number].1.ndcg_at_10));
    }
    row("average", &|one| format!("{:.4}", mean(one, |measured| measured.ndcg_at_10)));
    row("documents/s", &|one| three_digits(documents_per_second(one)));
    row("ms/query", &|one| three_digits(mean(one, |measured| measured.milliseconds_per_query)));
    table
}

/// Millions or billions, as the paper prints them.
fn rounded(parameters: usize) -> String {
    match parameters as f64 {
        n if n >= 1e9 => format!("{}B", three_digits(n / 1e9)),
        n => format!("{}M", three_digits(n / 1e6)),
    }
}
