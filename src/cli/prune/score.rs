//! `secateur prune score`: how much each sub-layer matters.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{Drops, Part, Scores};
use secateur::report::{Align, Table, drop_order};
use secateur::{atomic_write, with_suffix};

use super::calibration::{CalibrationArguments, DEFAULT_BLOCKS, Format, positive};
use crate::cli::encoder::model_directory;
use crate::cli::failure::{Code, Failure, Result};
use crate::cli::progress::say_on_interrupt;

#[derive(Args)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    #[command(flatten)]
    calibration: CalibrationArguments,
    /// Packed blocks, as language models are calibrated, or each text as the encoder reads it.
    #[arg(long, value_enum, default_value_t = Format::Packed)]
    format: Format,
    /// The most blocks that are read; texts, if they are not packed; pairs of title and text for the gradient.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BLOCKS, value_parser = positive)]
    blocks: usize,
    /// The file of scores to write.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    /// Draw the drop order as a heat map.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let Some(texts) = &self.calibration.calibration else {
            return Err(Failure::new(Code::Usage, "name the texts that the model reads with --calibration"));
        };
        let model = model_directory(&self.model)?;
        if self.calibration.is_resumable() {
            say_on_interrupt("what was measured is kept; run the same command again to go on")?;
        }
        let journal = with_suffix(&self.out, ".journal");
        let reading = (self.format, self.blocks);
        let scores = self.calibration.score(&model, &Drops::default(), texts, reading, Some(&journal))?;
        atomic_write(&self.out, |file| file.write_all(scores.to_json().as_bytes()))?;
        if self.calibration.is_resumable() {
            std::fs::remove_file(&journal).map_err(|source| Failure::write(&journal, &source))?;
        }
        if let Some(plot) = &self.plot {
            atomic_write(plot, |file| write!(file, "{}", drop_order(&scores)))?;
        }
        Ok(summary(&scores, &self))
    }
}

fn summary(scores: &Scores, arguments: &Arguments) -> String {
    let mut table = Table::new(std::iter::once(("layer", Align::Right)).chain(
        Part::ALL.into_iter().flat_map(|part| [(part.name(), Align::Right), ("dropped", Align::Right)]),
    ));
    let orders = Part::ALL.map(|part| (part, scores.importance.drop_order(part)));
    for layer in 0..scores.importance.attention.len() {
        let cells = orders.iter().flat_map(|(part, order)| {
            let score = scores.importance.of(*part)[layer];
            let place = order.iter().position(|other| *other == layer).map(|place| place + 1);
            [
                score.map_or_else(|| "-".to_owned(), |score| format!("{score:.6}")),
                place.map_or_else(|| "-".to_owned(), |place| place.to_string()),
            ]
        });
        table.row(std::iter::once(layer.to_string()).chain(cells));
    }
    format!(
        "{}: {} on {} of {} tokens in all; \"dropped\" is the place in the order of dropping\n\n{table}",
        arguments.out.display(),
        scores.model,
        match scores.num_sequences {
            1 => "1 sequence".to_owned(),
            count => format!("{count} sequences"),
        },
        scores.num_tokens,
    )
}
