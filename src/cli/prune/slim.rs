//! `secateur prune slim`: the neurons that matter least become zero.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur::prune::{ModelDirectory, NeuronMask, NeuronScores, activation_magnitude};
use secateur::report::{Align, Table, widths};
use secateur::train::{Gates, Trained, Trainer};
use secateur::{Encoder, LoadOptions, atomic_write, with_suffix};

use super::calibration::{Format, passages, positive};
use super::open_model;
use crate::cli::failure::Result;
use crate::cli::progress::{Progress, say_on_interrupt};
use crate::cli::train::{LossArguments, Steps, take_steps};

#[derive(Args)]
#[command(
    group = clap::ArgGroup::new("measure").required(true).args(["calibration", "scores", "train"]),
    after_help = "\
Examples:
  secateur prune slim MODEL --sparsity 0.3 --train nq.jsonl --out masked       # learned gates, as in the paper
  secateur prune slim MODEL --sparsity 0.3 --calibration texts.txt --out masked
  secateur train masked --data nq.jsonl --out run && secateur model merge run/model --out tuned
  secateur prune compact tuned --mask masked/neuron_mask.json --out small"
)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The share of all MLP neurons that goes, over all layers together.
    #[arg(long, value_name = "SHARE")]
    sparsity: f64,
    /// The share of its neurons that each MLP keeps at least. One neuron always stays.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    floor: f64,
    /// Score neurons by their mean activation on these texts: a file of one text a line, JSON lines with `text`, a BEIR
    /// folder, or the name of a downloaded data set.
    #[arg(long, value_name = "TEXTS")]
    calibration: Option<PathBuf>,
    /// Each text as the encoder reads it, or packed blocks, as language models are calibrated.
    #[arg(long, value_enum, default_value_t = Format::Texts)]
    format: Format,
    /// The most texts (or blocks, if they are packed) that are read.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = positive)]
    blocks: usize,
    /// Tokens of a block; 2,048, or as many as the model takes, unless given.
    #[arg(long, value_name = "T", value_parser = positive)]
    block_length: Option<usize>,
    /// Scores of this model's neurons: {"model", "fingerprint", "layers": [[number, ...] or null, ...]}.
    #[arg(long, value_name = "FILE.json")]
    scores: Option<PathBuf>,
    /// Learn a gate for each neuron on this training data, in the formats of `secateur train`; the weights are frozen. The
    /// gates' checkpoint and loss are kept in OUT.gates, from which an interrupted command goes on.
    #[arg(long, value_name = "FILES", num_args = 1..)]
    train: Vec<PathBuf>,
    /// How much open gates cost: the weight of the mean over all neurons of sigmoid(5 ReLU(z)). lambda of the paper is this
    /// divided by the number of neurons; its 1e-8 for Mistral-7B with 16 MLPs is 0.0023.
    #[arg(long, value_name = "WEIGHT", requires = "train", conflicts_with = "lambda")]
    pressure: Option<f64>,
    /// The same as the paper says it, the weight of the sum.
    #[arg(long, value_name = "WEIGHT", requires = "train")]
    lambda: Option<f64>,
    #[command(flatten)]
    steps: Steps,
    #[command(flatten)]
    loss: LossArguments,
    /// Write the scores to a file, to mask other shares with.
    #[arg(long, value_name = "FILE.json", conflicts_with = "scores")]
    save_scores: Option<PathBuf>,
    /// The model directory to write: masked weights are zero, neuron_mask.json says which.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Draw the widths by layer.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let (path, model) = open_model(&self.model, &self.out)?;
        let scores = match (&self.scores, &self.calibration) {
            (Some(file), _) => {
                let scores = NeuronScores::read(file)?;
                scores.check(file, &model)?;
                scores
            }
            (None, Some(texts)) => self.measure(&Encoder::load(&path, &LoadOptions::default())?, texts)?,
            (None, None) => self.learn(&path, &model)?,
        };
        let mask = scores.mask(self.sparsity, self.floor)?;
        model.write_masked(&mask, &self.out)?;
        if let Some(file) = &self.save_scores {
            atomic_write(file, |out| out.write_all(scores.to_json().as_bytes()))?;
        }
        if let Some(plot) = &self.plot {
            atomic_write(plot, |file| write!(file, "{}", widths(&model.name(), &mask)))?;
        }
        let spread = if self.train.is_empty() { String::new() } else { spread(&scores) };
        Ok(format!(
            "{}: {} with {:.1} % of its MLP neurons zero\n{spread}\n{}",
            self.out.display(),
            model.name(),
            100.0 * mask.sparsity(),
            table(&mask)
        ))
    }

    /// Trains gates.
    fn learn(&self, path: &Path, model: &ModelDirectory) -> Result<NeuronScores> {
        let mut gates = Gates::default();
        let widths = model.architecture().layers.iter().filter_map(|layer| layer.intermediate_size);
        let num_neurons = widths.sum::<usize>() as f64;
        if let Some(pressure) = self.pressure.or(self.lambda.map(|lambda| lambda * num_neurons)) {
            gates.pressure = pressure;
        }
        let mut batches = self.steps.batches(&self.train)?;
        let settings = self.steps.settings(Trained::Gates(gates), self.loss.loss(), &batches);
        let mut trainer = Trainer::load(path, settings)?;
        if let Some(teacher) = self.loss.teacher()? {
            trainer = trainer.with_teacher(teacher)?;
        }
        say_on_interrupt("the gates' last checkpoint is kept; run the same command again to go on")?;
        let folder = with_suffix(&self.out, ".gates");
        take_steps(&mut trainer, &mut batches, &self.steps.run_options(&folder))?;
        Ok(trainer.neuron_scores())
    }

    fn measure(&self, encoder: &Encoder, texts: &Path) -> Result<NeuronScores> {
        let calibration = self.format.calibration(self.blocks, self.block_length);
        let total = self.blocks as u64;
        let progress = Progress::start("scoring", "sequences", || Ok::<_, secateur::Error>(total))?;
        let scores =
            activation_magnitude(encoder, passages(texts)?, &calibration, |done| progress.set(done))?;
        progress.finish();
        Ok(scores)
    }
}

/// How far the gates have moved from 1.
fn spread(scores: &NeuronScores) -> String {
    let mut gates: Vec<f64> = scores.layers.iter().flatten().flatten().copied().collect();
    gates.sort_by(f64::total_cmp);
    let at = |share: f64| gates[((gates.len() - 1) as f64 * share).round() as usize];
    let closed = gates.iter().filter(|z| **z <= 0.0).count();
    format!(
        "gates: least {:.4}, quartiles {:.4} {:.4} {:.4}, largest {:.4}; {closed} of {} closed\n",
        at(0.0),
        at(0.25),
        at(0.5),
        at(0.75),
        at(1.0),
        gates.len()
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
