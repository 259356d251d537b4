//! The calibration that a command asks for.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur::prune::{
    Calibration, CalibrationFormat, Drops, ImportanceMetric, ScoreSettings, ScoredTokens, Scores, gradient,
    score,
};
use secateur::{Encoder, LoadOptions, Texts};

use crate::cli::failure::Result;
use crate::cli::inputs::open_dataset;
use crate::cli::progress::Progress;

#[derive(Args, Clone)]
pub struct CalibrationArguments {
    /// Texts that the model reads: a file of one text a line, JSON lines with `text`, a BEIR folder, or the name of a
    /// downloaded data set.
    #[arg(long, value_name = "TEXTS")]
    pub calibration: Option<PathBuf>,
    /// How a sub-layer's input and output are compared.
    #[arg(long, value_enum, default_value_t = Metric::Cosine)]
    metric: Metric,
    /// Which tokens count.
    #[arg(long, value_enum, default_value_t = Tokens::All)]
    tokens: Tokens,
    /// Tokens of a block; 2,048, or as many as the model takes, unless given.
    #[arg(long, value_name = "T", value_parser = positive)]
    block_length: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Metric {
    /// 1 - cosine, the paper's.
    Cosine,
    /// The length of the difference.
    L2,
    /// What the loss of telling a title's text from others says of a factor on the sub-layer's output; for texts with titles.
    Gradient,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tokens {
    All,
    /// The last of each sequence.
    Last,
}

/// How calibration texts become sequences.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// Blocks of texts back to back, as language models are calibrated.
    Packed,
    /// Each text as the encoder reads it.
    Texts,
}

/// LLM-Drop's number of blocks.
pub const DEFAULT_BLOCKS: usize = 256;

pub fn positive(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

impl Format {
    /// At most `max_sequences` texts or blocks.
    pub fn calibration(self, max_sequences: usize, block_length: Option<usize>) -> Calibration {
        let format = match self {
            Format::Packed => CalibrationFormat::Packed,
            Format::Texts => CalibrationFormat::Texts,
        };
        Calibration { format, max_sequences, block_length }
    }
}

impl CalibrationArguments {
    fn settings(&self, format: Format, blocks: usize) -> ScoreSettings {
        ScoreSettings {
            metric: match self.metric {
                Metric::Cosine => ImportanceMetric::Cosine,
                Metric::L2 => ImportanceMetric::L2,
                Metric::Gradient => ImportanceMetric::Gradient,
            },
            tokens: match self.tokens {
                Tokens::All => ScoredTokens::All,
                Tokens::Last => ScoredTokens::Last,
            },
            calibration: format.calibration(blocks, self.block_length),
        }
    }

    /// Whether an interrupted measurement goes on where it stopped.
    pub fn is_resumable(&self) -> bool {
        !matches!(self.metric, Metric::Gradient)
    }

    /// Measures a model without `drops` on the texts of `path`.
    pub fn score(
        &self,
        model: &Path,
        drops: &Drops,
        path: &Path,
        (format, blocks): (Format, usize),
        journal: Option<&Path>,
    ) -> Result<Scores> {
        let settings = self.settings(format, blocks);
        let total = || Ok::<_, secateur::Error>(blocks as u64);
        if settings.metric == ImportanceMetric::Gradient {
            let pairs = texts(path)?.map(|text| text.map(|text| (text.title, text.text)));
            let progress = Progress::start("differentiating", "pairs", total)?;
            let pairs = pairs.map(|pair| pair.map_err(secateur::Error::from));
            let scores = gradient::score(model, drops, pairs, blocks, |done| progress.set(done))?;
            progress.finish();
            return Ok(scores);
        }
        let encoder = Encoder::load_dropped(model, &LoadOptions::default(), drops)?;
        let unit = if settings.calibration.format == CalibrationFormat::Packed { "blocks" } else { "texts" };
        let progress = Progress::start("scoring", unit, total)?;
        let scores = score(&encoder, passages(path)?, &settings, journal, |done| progress.set(done))?;
        progress.finish();
        Ok(scores)
    }
}

/// The texts of a file or folder, or of a downloaded data set.
pub fn texts(path: &Path) -> Result<Texts> {
    let downloaded = if path.exists() { None } else { Some(open_dataset(path)?) };
    Ok(Texts::open(downloaded.as_ref().map_or(path, |dataset| dataset.path()))?)
}

/// The same, title and text joined.
pub fn passages(path: &Path) -> Result<impl Iterator<Item = std::result::Result<String, secateur::Error>>> {
    Ok(texts(path)?.map(|text| Ok(text?.joined(" "))))
}
