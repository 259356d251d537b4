//! `secateur prune sweep`: the paper's Table 1 for a model.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur::beir::BeirFolder;
use secateur::prune::{Drops, ModelDirectory, Variant};
use secateur::report::{Align, Table};
use secateur::{Cell, Encoder, LoadOptions, atomic_write, measure_encoder};
use serde::{Deserialize, Serialize};

use super::drop::read_scores;
use crate::cli::encoder::model_directory;
use crate::cli::failure::{Failure, Result};
use crate::cli::inputs::open_dataset;
use crate::cli::progress::{Progress, say_on_interrupt};

#[derive(Args)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// What to drop: full, 8M (MLPs), 8A (attentions), 8B (blocks), 16M8A, last-2B; separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', required = true)]
    variants: Vec<Variant>,
    /// BEIR folders, or names of downloaded data sets.
    #[arg(long, value_name = "DIR", num_args = 1.., value_delimiter = ',', required = true)]
    datasets: Vec<PathBuf>,
    /// The scores of this model, from `prune score`.
    #[arg(long, value_name = "FILE.json")]
    scores: Option<PathBuf>,
    /// The folder of results, one file a variant and data set. Those that are there are not measured again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// The file of a result.
#[derive(Serialize, Deserialize)]
struct Record {
    model: String,
    /// Of the whole model.
    fingerprint: String,
    variant: String,
    /// Layers without their attention, and without their MLP.
    dropped_attention: Vec<usize>,
    dropped_mlp: Vec<usize>,
    num_parameters: usize,
    dataset: String,
    threads: usize,
    #[serde(flatten)]
    cell: Cell,
}

/// A variant of the model.
struct Choice {
    variant: Variant,
    drops: Drops,
    num_parameters: usize,
    cells: Vec<Cell>,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let path = model_directory(&self.model)?;
        let model = ModelDirectory::open(&path)?;
        let scores = self.scores.as_deref().map(|scores| read_scores(scores, &model)).transpose()?;
        let importance = scores.as_ref().map(|scores| &scores.importance);
        let datasets =
            self.datasets.iter().map(|dataset| open_dataset(dataset)).collect::<Result<Vec<_>>>()?;
        // Everything that can be wrong is found before the first hour of work.
        let choose = |variant: &Variant| -> Result<Choice> {
            let drops = variant.choose(model.architecture(), importance, &Drops::default())?;
            let num_parameters = drops.applied_to(model.architecture()).parameters().total();
            Ok(Choice { variant: *variant, drops, num_parameters, cells: Vec::new() })
        };
        let mut choices = self.variants.iter().map(choose).collect::<Result<Vec<_>>>()?;
        for dataset in &datasets {
            dataset.qrels(&dataset.default_split()?)?;
        }
        std::fs::create_dir_all(&self.out).map_err(|source| Failure::write(&self.out, &source))?;
        say_on_interrupt("finished results are kept; run the same command again to go on")?;
        for choice in &mut choices {
            let mut encoder = None;
            for dataset in &datasets {
                let cell = self.cell(&path, &model, choice, dataset, &mut encoder)?;
                choice.cells.push(cell);
            }
        }
        Ok(table(&datasets, &choices).to_string())
    }

    /// A result that is there, or a new one. The encoder is loaded when it is first needed.
    fn cell(
        &self,
        path: &Path,
        model: &ModelDirectory,
        choice: &Choice,
        dataset: &BeirFolder,
        encoder: &mut Option<Encoder>,
    ) -> Result<Cell> {
        let file = self.out.join(format!("{}.{}.json", choice.variant, dataset.name()));
        let fingerprint = model.fingerprint().to_string();
        let (dropped_attention, dropped_mlp) =
            (choice.drops.attention.iter().copied().collect(), choice.drops.mlp.iter().copied().collect());
        // A file of another model, of other scores or of an older version is measured anew.
        if let Ok(bytes) = std::fs::read(&file)
            && let Ok(record) = serde_json::from_slice::<Record>(&bytes)
            && record.fingerprint == fingerprint
            && (&record.dropped_attention, &record.dropped_mlp) == (&dropped_attention, &dropped_mlp)
        {
            return Ok(record.cell);
        }
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(Encoder::load_dropped(path, &LoadOptions::default(), &choice.drops)?),
        };
        let progress =
            Progress::start("encoding", "documents", || dataset.info().map(|info| info.documents))?;
        let cell = measure_encoder(&*encoder, dataset, None, |done| progress.set(done))?;
        progress.finish();
        let record = Record {
            model: model.name(),
            fingerprint,
            variant: choice.variant.to_string(),
            dropped_attention,
            dropped_mlp,
            num_parameters: choice.num_parameters,
            dataset: dataset.name().to_owned(),
            threads: rayon::current_num_threads(),
            cell,
        };
        atomic_write(&file, |out| {
            serde_json::to_writer_pretty(&mut *out, &record)?;
            writeln!(out)
        })?;
        Ok(record.cell)
    }
}

/// A column a variant, as the paper's Table 1.
fn table(datasets: &[BeirFolder], choices: &[Choice]) -> Table {
    let variants = choices.iter().map(|choice| (choice.variant.to_string(), Align::Right));
    let mut table = Table::new(std::iter::once((String::new(), Align::Left)).chain(variants));
    let mut row = |name: &str, value: &dyn Fn(&Choice) -> String| {
        table.row(std::iter::once(name.to_owned()).chain(choices.iter().map(value)));
    };
    row("parameters", &|choice| rounded(choice.num_parameters));
    for (number, dataset) in datasets.iter().enumerate() {
        row(&format!("{} nDCG@10", dataset.name()), &|choice| {
            format!("{:.4}", choice.cells[number].ndcg_at_10)
        });
    }
    let mean = |choice: &Choice, value: fn(&Cell) -> f64| {
        choice.cells.iter().map(value).sum::<f64>() / choice.cells.len() as f64
    };
    row("average", &|choice| format!("{:.4}", mean(choice, |cell| cell.ndcg_at_10)));
    row("documents/s", &|choice| {
        let documents: usize = choice.cells.iter().map(|cell| cell.num_documents).sum();
        let seconds: f64 =
            choice.cells.iter().map(|cell| cell.num_documents as f64 / cell.documents_per_second).sum();
        format!("{:.1}", documents as f64 / seconds)
    });
    row("ms/query", &|choice| format!("{:.2}", mean(choice, |cell| cell.milliseconds_per_query)));
    table
}

/// Millions or billions, as the paper prints them.
fn rounded(parameters: usize) -> String {
    match parameters as f64 {
        n if n >= 1e9 => format!("{:.1}B", n / 1e9),
        n => format!("{:.1}M", n / 1e6),
    }
}
