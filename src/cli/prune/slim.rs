//! `secateur prune slim`: the neurons that matter least become zero.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use secateur::prune::{NeuronMask, NeuronScores, SlimOptions};
use secateur::report::{Align, Table, widths};
use secateur::train::Run;
use secateur_files::Durable;

use crate::cli::encoder::{announce, model_directory};
use crate::cli::failure::Result;
use crate::cli::locate::Locate;
use crate::cli::progress::{say_if_kept, shown};
use crate::cli::svg_file;

const EXAMPLES: &str = "\
Examples:
  secateur prune slim MODEL --sparsity 0.3 --train nq.jsonl --out masked       # a learned mask, as in the paper
  secateur prune slim MODEL --sparsity 0.3 --calibration texts.txt --out masked
  secateur train masked --data nq.jsonl --out run && secateur model merge run/model --out tuned
  secateur prune narrow tuned --mask masked/neuron_mask.json --out small";

#[derive(Args)]
#[command(
    group = ArgGroup::new("measure").required(true).args(["calibration", "scores", "train"]),
    after_help = EXAMPLES
)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The model directory to write: masked weights are zero, neuron_mask.json says which.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write the scores of the neurons to a file, to mask other shares with.
    #[arg(long, value_name = "FILE.json", conflicts_with = "scores")]
    save_scores: Option<PathBuf>,
    /// Draw the widths by layer.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file())]
    plot: Option<PathBuf>,
    #[command(flatten)]
    options: SlimOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let model = model_directory(&self.model)?;
        announce(&model, self.options.steps.strict, self.options.reading.load_options())?;
        let options = self.options.located()?;
        if !options.train.is_empty() {
            let kept = "the mask's last checkpoint is kept; run the same command again to go on";
            let checkpoint = Run::checkpoint_in(&SlimOptions::folder(&self.out));
            say_if_kept(
                kept,
                "before the mask's first checkpoint: the same command begins anew",
                vec![checkpoint],
            )?;
        }
        let slimmed = options.run(&model, &self.out, &mut shown())?;
        if let Some(file) = &self.save_scores {
            Durable::write(file, |out| out.write_all(slimmed.scores.to_json().as_bytes()))?;
        }
        if let Some(plot) = &self.plot {
            Durable::write(plot, |file| write!(file, "{}", widths(&slimmed.model, &slimmed.mask)))?;
        }
        let spread = if options.train.is_empty() { String::new() } else { spread(&slimmed.scores) };
        Ok(format!(
            "{}: {} with {:.1} % of its MLP neurons zero\n{spread}\n{}",
            self.out.display(),
            slimmed.model,
            100.0 * slimmed.mask.sparsity(),
            table(&slimmed.mask)
        ))
    }
}

/// How far a learned mask has moved from 1.
fn spread(scores: &NeuronScores) -> String {
    let mut mask: Vec<f64> = scores.layers.iter().flatten().flatten().copied().collect();
    mask.sort_by(f64::total_cmp);
    let at = |share: f64| mask[((mask.len() - 1) as f64 * share).round() as usize];
    let closed = mask.iter().filter(|z| **z <= 0.0).count();
    format!(
        "mask: least {:.4}, quartiles {:.4} {:.4} {:.4}, largest {:.4}; {closed} of {} closed\n",
        at(0.0),
        at(0.25),
        at(0.5),
        at(0.75),
        at(1.0),
        mask.len()
    )
}

/// The widths by layer.
pub fn table(mask: &NeuronMask) -> Table {
    let mut table = Table::new([("layer", Align::Right), ("width", Align::Right), ("kept", Align::Right)]);
    for (layer, mlp) in mask.layers.iter().enumerate() {
        let cells = match mlp {
            None => ["-".to_owned(), "dropped".to_owned()],
            Some(mlp) => [mlp.width.to_string(), (mlp.width - mlp.masked.len()).to_string()],
        };
        table.row(std::iter::once(layer.to_string()).chain(cells));
    }
    table
}
