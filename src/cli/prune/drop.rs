//! `secateur prune drop`: a model without some of its sub-layers.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur::prune::{Budget, Drops, Layout, ModelDirectory, Part, Scores, Variant};

use super::calibration::{self, CalibrationArguments, positive};
use super::open_model;
use crate::cli::failure::{Code, Failure, Result};
use crate::cli::number::grouped;

#[derive(Args)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    #[command(flatten)]
    counts: CountArguments,
    /// Drop MLPs until the model has at most this many parameters, such as 3.4B; says what is left for `prune slim`.
    #[arg(long, value_name = "N", value_parser = parameters, conflicts_with_all = COUNTS)]
    target_params: Option<usize>,
    /// Drop MLPs until a token costs at most this many GFLOP in the linear layers; says what is left for `prune slim`.
    #[arg(long, value_name = "X", conflicts_with_all = COUNTS, conflicts_with = "target_params")]
    target_gflop: Option<f64>,
    /// Sub-layers to drop by name, whatever their importance: mlp:3, attention:0-2 or block:5, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    layers: Vec<Named>,
    /// The scores of this model, from `prune score`.
    #[arg(long, value_name = "FILE.json", conflicts_with = "iterative")]
    scores: Option<PathBuf>,
    /// Measure anew after each sub-layer that is dropped, on the texts of --calibration.
    #[arg(long, requires = "calibration")]
    iterative: bool,
    #[command(flatten)]
    calibration: CalibrationArguments,
    /// Packed blocks, as language models are calibrated, or each text as the encoder reads it.
    #[arg(long, value_enum, default_value_t = calibration::Format::Packed)]
    calibration_format: calibration::Format,
    /// The most blocks (or texts, if they are not packed) that are read.
    #[arg(long, value_name = "N", default_value_t = calibration::DEFAULT_BLOCKS, value_parser = positive)]
    calibration_blocks: usize,
    /// The model directory to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How config.json says what is dropped.
    #[arg(long, value_enum, default_value_t = LayoutName::Secateur)]
    format: LayoutName,
}

const COUNTS: [&str; 5] = ["mlp", "attention", "blocks", "last_blocks", "iterative"];

/// "3.4B", "80M", "1200000".
fn parameters(text: &str) -> std::result::Result<usize, String> {
    let (digits, factor) = match text.strip_suffix(['B', 'b', 'G']) {
        Some(digits) => (digits, 1e9),
        None => text.strip_suffix(['M', 'm']).map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    match digits.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * factor).round() as usize),
        _ => Err("expected a number, such as 3.4B, 80M or 1200000".to_owned()),
    }
}

/// How many sub-layers go.
#[derive(Args)]
pub struct CountArguments {
    /// Drop this many MLPs, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive)]
    mlp: Option<usize>,
    /// Drop this many attentions, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive)]
    attention: Option<usize>,
    /// Drop this many blocks, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive)]
    blocks: Option<usize>,
    /// Drop this many blocks at the end.
    #[arg(long, value_name = "N", value_parser = positive)]
    last_blocks: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LayoutName {
    /// What this program and its library read.
    Secateur,
    /// The lists of LLM-Drop, which this program reads too.
    LlmDrop,
}

/// A part of one layer, or of several in a row.
#[derive(Clone, Debug)]
struct Named {
    part: Part,
    first: usize,
    last: usize,
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Named, String> {
        let wrong = || {
            format!("{text:?} is not a sub-layer; expected mlp:N, attention:N or block:N, or N-M for several")
        };
        let (part, layers) = text.split_once(':').ok_or_else(wrong)?;
        let part =
            Part::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(part)).ok_or_else(wrong)?;
        let (first, last) = layers.split_once('-').unwrap_or((layers, layers));
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let named = Named { part, first: number(first)?, last: number(last)? };
        if named.first > named.last { Err(wrong()) } else { Ok(named) }
    }
}

impl CountArguments {
    fn variant(&self) -> Variant {
        Variant {
            last_blocks: self.last_blocks.unwrap_or(0),
            blocks: self.blocks.unwrap_or(0),
            mlp: self.mlp.unwrap_or(0),
            attention: self.attention.unwrap_or(0),
        }
    }
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let (path, model) = open_model(&self.model, &self.out)?;
        let mut drops = Drops::default();
        for named in &self.layers {
            for layer in named.first..=named.last {
                drops.insert(model.architecture(), named.part, layer)?;
            }
        }
        let variant = self.counts.variant();
        let parameters = self.target_params.map(Budget::Parameters);
        let budget = parameters.or(self.target_gflop.map(Budget::Gflop));
        if variant.is_full() && drops.is_empty() && budget.is_none() {
            let message = "say what to drop: --mlp, --attention, --blocks, --last-blocks, --layers, --target-params or --target-gflop";
            return Err(Failure::new(Code::Usage, message));
        }
        let mut advice = String::new();
        let drops = if let Some(budget) = budget {
            let Some(scores) = &self.scores else {
                return Err(Failure::new(
                    Code::Usage,
                    "a target needs the model's --scores, from `prune score`",
                ));
            };
            let plan = budget.plan(model.architecture(), &read_scores(scores, &model)?.importance, &drops)?;
            advice = format!("{plan}\n");
            if plan.sparsity > 0.0 {
                // Rounded up, so that the budget is kept.
                let sparsity = (plan.sparsity * 1e5).ceil() / 1e5;
                let out = self.out.display();
                advice.push_str(&format!("next: secateur prune slim {out} --sparsity {sparsity}\n"));
            }
            plan.drops
        } else if self.iterative {
            self.one_by_one(&path, &model, variant, drops)?
        } else {
            let scores = self.scores.as_deref().map(|scores| read_scores(scores, &model)).transpose()?;
            let importance = scores.as_ref().map(|scores| &scores.importance);
            variant.choose(model.architecture(), importance, &drops)?
        };
        let layout = match self.format {
            LayoutName::Secateur => Layout::Secateur,
            LayoutName::LlmDrop => Layout::LlmDrop,
        };
        model.write_dropped(&drops, layout, &self.out)?;
        let left = drops.applied_to(model.architecture());
        let (before, after) = (model.architecture().parameters().total(), left.parameters().total());
        Ok(format!(
            "{}: {} without {drops}\nparameters: {} before, {} after ({:.1} %)\n{advice}",
            self.out.display(),
            model.name(),
            grouped(before),
            grouped(after),
            100.0 * after as f64 / before as f64,
        ))
    }

    /// The same count, with a measurement of the model that is left before each step.
    fn one_by_one(
        &self,
        path: &Path,
        model: &ModelDirectory,
        variant: Variant,
        mut drops: Drops,
    ) -> Result<Drops> {
        let Some(texts) = &self.calibration.calibration else {
            return Err(Failure::new(Code::Usage, "--iterative needs --calibration"));
        };
        for step in variant.steps() {
            let importance = if step.needs_scores() {
                let reading = (self.calibration_format, self.calibration_blocks);
                Some(self.calibration.score(path, &drops, texts, reading, None)?.importance)
            } else {
                None
            };
            drops = step.choose(model.architecture(), importance.as_ref(), &drops)?;
        }
        Ok(drops)
    }
}

/// Reads the scores of a model.
pub fn read_scores(path: &Path, model: &ModelDirectory) -> Result<Scores> {
    let scores = Scores::read(path)?;
    scores.check(path, &model.name(), model.fingerprint())?;
    Ok(scores)
}
