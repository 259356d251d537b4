//! `secateur prune slim`: the neurons that matter least become zero.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{Calibration, CalibrationFormat, NeuronMask, NeuronScores, activation_magnitude};
use secateur::report::{Align, Table, widths};
use secateur::{Encoder, LoadOptions, atomic_write};

use super::calibration::{Format, passages, positive};
use super::open_model;
use crate::cli::failure::{Code, Failure, Result};
use crate::cli::progress::Progress;

#[derive(Args)]
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
    #[arg(long, value_name = "TEXTS", required_unless_present = "scores", conflicts_with = "scores")]
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
            (None, None) => return Err(Failure::new(Code::Usage, "give --calibration or --scores")),
        };
        let mask = scores.mask(self.sparsity, self.floor)?;
        model.write_masked(&mask, &self.out)?;
        if let Some(file) = &self.save_scores {
            atomic_write(file, |out| out.write_all(scores.to_json().as_bytes()))?;
        }
        if let Some(plot) = &self.plot {
            atomic_write(plot, |file| write!(file, "{}", widths(&model.name(), &mask)))?;
        }
        Ok(format!(
            "{}: {} with {:.1} % of its MLP neurons zero\n\n{}",
            self.out.display(),
            model.name(),
            100.0 * mask.sparsity(),
            table(&mask)
        ))
    }

    fn measure(&self, encoder: &Encoder, texts: &std::path::Path) -> Result<NeuronScores> {
        let calibration = Calibration {
            format: match self.format {
                Format::Packed => CalibrationFormat::Packed,
                Format::Texts => CalibrationFormat::Texts,
            },
            max_sequences: self.blocks,
            block_length: self.block_length,
        };
        let total = self.blocks as u64;
        let progress = Progress::start("scoring", "sequences", || Ok::<_, secateur::Error>(total))?;
        let scores =
            activation_magnitude(encoder, passages(texts)?, &calibration, |done| progress.set(done))?;
        progress.finish();
        Ok(scores)
    }
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
