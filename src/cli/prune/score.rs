//! `secateur prune score`: how much each sub-layer matters.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{ScoreOptions, Scores, SubLayer};
use secateur::report::{Align, Table, counted, drop_order};
use secateur_files::{Durable, Journal};

use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::index::check_file_out;
use crate::cli::locate::Locate;
use crate::cli::progress::{NOTHING_IS_KEPT, say_if_kept, shown};
use crate::cli::svg_file;

const EXAMPLES: &str = "\
Examples:
  secateur prune score MODEL --calibration c4.jsonl.gz --out scores.json
  secateur prune score MODEL --calibration scifact --calibration-format texts --plot order.svg --out scores.json";

#[derive(Args)]
#[command(mut_arg("calibration_blocks", |blocks| blocks.alias("blocks")),
    mut_arg("calibration_format", |format| format.alias("format")), after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The file of scores to write.
    #[arg(long, value_name = "FILE.json")]
    out: PathBuf,
    #[command(flatten)]
    strict: Strict,
    /// Draw the drop order as a heat map. The numbers behind it are in --out, and in the table that is printed.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file())]
    plot: Option<PathBuf>,
    #[command(flatten, next_help_heading = "What is measured")]
    options: ScoreOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        check_file_out(&self.out, &[])?;
        let model = model_directory(&self.model)?;
        self.strict.announce(&model, self.options.reading.load_options())?;
        if self.options.is_resumable() {
            let kept = "what was measured is kept; run the same command again to go on";
            say_if_kept(kept, NOTHING_IS_KEPT, vec![Journal::beside(&self.out)])?;
        }
        let scores = self.options.located()?.run(&model, &self.out, &mut shown())?;
        if let Some(plot) = &self.plot {
            Durable::write(plot, |file| write!(file, "{}", drop_order(&scores)))?;
        }
        Ok(format!("{}: {}", self.out.display(), summary(&scores)))
    }
}

fn summary(scores: &Scores) -> String {
    let mut table = Table::new(std::iter::once(("layer", Align::Right)).chain(
        SubLayer::ALL.into_iter().flat_map(|kind| [(kind.name(), Align::Right), ("dropped", Align::Right)]),
    ));
    let orders = SubLayer::ALL.map(|kind| (kind, scores.importance.drop_order(kind)));
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
        "{} on {} of {} tokens in all; \"dropped\" is the place in the order of dropping\n\n{table}",
        scores.model,
        counted(scores.num_sequences, "sequence"),
        scores.num_tokens,
    )
}
