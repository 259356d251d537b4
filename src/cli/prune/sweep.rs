//! `secateur prune sweep`: the paper's Table 1 for a model.

use std::path::PathBuf;

use clap::Args;
use secateur::measure::Measurement;
use secateur::prune::{SweepOptions, SweptVariant};
use secateur::report::{Align, Table, three_digits};

use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::{say_on_interrupt, shown};

const EXAMPLES: &str = "\
nDCG@10 is measured by MTEB's rules. Lists of values take commas, or the option again.

Example:
  secateur prune sweep MODEL --scores scores.json --variants full,2M,2B,last-2B --datasets scifact,nfcorpus --out table";

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
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        self.strict.announce(&model, self.options.reading.load_options())?;
        let options = self.options.located()?;
        say_on_interrupt("finished results are kept; run the same command again to go on")?;
        Ok(table(&options.run(&model, &self.out, &mut shown())?).to_string())
    }
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
    let mean = |one: &SweptVariant, value: fn(&Measurement) -> f64| {
        one.measured.iter().map(|(_, measured)| value(measured)).sum::<f64>() / one.measured.len() as f64
    };
    row("average", &|one| format!("{:.4}", mean(one, |measured| measured.ndcg_at_10)));
    row("documents/s", &|one| {
        let all = || one.measured.iter().map(|(_, measured)| measured);
        let documents: usize = all().map(|measured| measured.num_documents).sum();
        let seconds: f64 =
            all().map(|measured| measured.num_documents as f64 / measured.documents_per_second).sum();
        three_digits(documents as f64 / seconds)
    });
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
