//! The importance of sub-layers, measured and written to a file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_datasets::Texts;
use secateur_encoders::Encoder;
use secateur_encoders::prune::{
    Calibration, CalibrationFormat, ImportanceMetric, Remaining, ScoreSettings, ScoredTokens, Scores,
    gradient, score,
};
use secateur_files::{Durable, Journal};
use serde::{Deserialize, Serialize};

use super::{ReadingOptions, passages};
use crate::error::{Error, Result};
use crate::options::positive;
use crate::progress::Progress;

/// How the importance of sub-layers is measured. The keys of a recipe's `[score]` and the options of `secateur prune
/// score` are these.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ScoreOptions {
    /// Texts that the model reads: a file of one text a line, JSON lines with `text`, or a data set.
    #[arg(long, value_name = "TEXTS")]
    pub calibration: PathBuf,
    /// How importance is measured on them.
    #[command(flatten)]
    #[serde(flatten)]
    pub measure: MeasureOptions,
    /// How the model's files are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

/// How much of the texts is read, and how importance is measured on them. `prune score` measures the whole model so,
/// and an iterative drop what is left.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MeasureOptions {
    /// The most blocks that are read; texts, if they are not packed; pairs of title and text for the gradient.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BLOCKS, value_parser = positive)]
    pub calibration_blocks: NonZeroUsize,
    /// Tokens of a block [default: 2,048, or as many as the model takes].
    #[arg(long, value_name = "T", value_parser = positive)]
    pub block_length: Option<NonZeroUsize>,
    /// How texts become sequences.
    #[arg(long, value_enum, default_value_t = CalibrationFormat::Packed)]
    pub calibration_format: CalibrationFormat,
    /// How a sub-layer's input and output are compared.
    #[arg(long, value_enum, default_value_t = ImportanceMetric::Cosine)]
    pub metric: ImportanceMetric,
    /// Which tokens count.
    #[arg(long, value_enum, default_value_t = ScoredTokens::All)]
    pub tokens: ScoredTokens,
}

impl Default for MeasureOptions {
    fn default() -> MeasureOptions {
        MeasureOptions {
            calibration_blocks: DEFAULT_BLOCKS,
            block_length: None,
            calibration_format: CalibrationFormat::Packed,
            metric: ImportanceMetric::Cosine,
            tokens: ScoredTokens::All,
        }
    }
}

/// LLM-Drop's number of blocks.
pub(super) const DEFAULT_BLOCKS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

impl ScoreOptions {
    /// Refuses options without texts.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]
    pub fn check(&self) -> Result<()> {
        match self.calibration.as_os_str().is_empty() {
            true => Err(Error::option("calibration", "name the texts that the model reads")),
            false => Ok(()),
        }
    }

    /// Whether an interrupted measurement goes on where it stopped.
    pub fn is_resumable(&self) -> bool {
        self.measure.metric != ImportanceMetric::Gradient
    }

    /// Measures the model of a directory and writes the scores to the file `out`. Measurements are kept in
    /// OUT.journal until then, and the same call continues from there. The gradient has no journal.
    ///
    /// # Errors
    ///
    /// The model does not load; the texts have a fault or are too few; a file cannot be written.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Scores> {
        let model = model.as_ref();
        let out = out.as_ref();
        self.check()?;
        let journal = Journal::beside(out);
        let scores = self.measure(model, None, Some(&journal), on)?;
        Durable::write(out, |file| file.write_all(scores.to_json().as_bytes()))?;
        if self.is_resumable() {
            Journal::remove_unused(&journal);
        }
        Ok(scores)
    }

    /// Measures what remains of the model, all of it unless given.
    pub(super) fn measure(
        &self,
        model: &Path,
        remaining: Option<&Remaining>,
        journal: Option<&Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Scores> {
        let scores = self.scores(model, remaining, journal, on)?;
        let texts = self.calibration.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Scores { texts, ..scores })
    }

    fn scores(
        &self,
        model: &Path,
        remaining: Option<&Remaining>,
        journal: Option<&Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Scores> {
        let MeasureOptions { calibration_blocks, block_length, calibration_format: format, metric, tokens } =
            self.measure;
        let max_sequences = calibration_blocks.get();
        let total = || Some(max_sequences as u64);
        let options = self.reading.load_options();
        if metric == ImportanceMetric::Gradient {
            let pairs = Texts::open(&self.calibration)?.map(|text| {
                let text = text?;
                Ok::<_, Error>((text.title, text.text))
            });
            on(Progress::Begins { what: "differentiating", unit: "pair", total: &total });
            let done = |done| on(Progress::Done(done));
            return gradient::score(model, &options, remaining, pairs, max_sequences, done);
        }
        let block_length = block_length.map(NonZeroUsize::get);
        let settings = ScoreSettings {
            metric,
            tokens,
            calibration: Calibration { format, max_sequences, block_length },
        };
        let encoder = match remaining {
            Some(remaining) => Encoder::load_dropped(model, &options, remaining)?,
            None => Encoder::load(model, &options)?,
        };
        let unit = if format == CalibrationFormat::Packed { "block" } else { "text" };
        on(Progress::Begins { what: "scoring", unit, total: &total });
        score(&encoder, passages(&self.calibration)?, &settings, journal, |done| on(Progress::Done(done)))
    }
}
