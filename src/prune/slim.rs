//! A model whose least important MLP neurons are zero.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_encoders::prune::{
    Calibration, CalibrationFormat, ModelDirectory, NeuronMask, NeuronScores, PruneError,
    activation_magnitude,
};
use secateur_encoders::train::{Slim, Trained, Trainer};
use secateur_encoders::{Encoder, Fingerprint, LoadOptions};
use secateur_files::with_suffix;
use serde::{Deserialize, Serialize};

use super::score::DEFAULT_BLOCKS;
use super::{ReadingOptions, open_model, passages};
use crate::error::{Error, Result};
use crate::options::positive;
use crate::progress::Progress;
use crate::train::{LossOptions, StepOptions};

/// How many neurons become zero, and how they are chosen. The keys of a recipe's `[slim]` and the options of
/// `secateur prune slim` are these.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SlimOptions {
    /// The share of all MLP neurons that goes, over all layers together.
    #[arg(long, value_name = "SHARE")]
    pub sparsity: f64,
    /// The share of its neurons that each MLP keeps at least. One neuron always stays.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub floor: f64,
    /// Learn a mask of the neurons on these files of training data, separated by commas; the weights are frozen.
    /// Formats are those of `secateur train`.
    ///
    /// The mask's checkpoint and loss are kept in OUT.gates, from which an interrupted command goes on.
    #[arg(long, value_name = "FILES", num_args = 1.., value_delimiter = ',', help_heading = HOW)]
    pub train: Vec<PathBuf>,
    /// Score neurons by their mean activation on these texts: one text a line, JSON lines with `text`, or a data set.
    #[arg(long, value_name = "TEXTS", help_heading = HOW)]
    pub calibration: Option<PathBuf>,
    /// Scores of this model's neurons: {"model", "fingerprint", "layers": [[number, ...] or null, ...]}.
    #[arg(long, value_name = "FILE.json", help_heading = HOW)]
    pub scores: Option<PathBuf>,
    /// How calibration texts become sequences.
    #[arg(long, alias = "format", value_enum, default_value_t = CalibrationFormat::Texts, help_heading = HOW)]
    pub calibration_format: CalibrationFormat,
    /// The most texts (or blocks, if they are packed) that are read.
    #[arg(long, alias = "blocks", value_name = "N", default_value_t = DEFAULT_BLOCKS, value_parser = positive, help_heading = HOW)]
    pub calibration_blocks: NonZeroUsize,
    /// Tokens of a block [default: 2,048, or as many as the model takes].
    #[arg(long, value_name = "T", value_parser = positive, help_heading = HOW)]
    pub block_length: Option<NonZeroUsize>,
    /// How much kept neurons cost: the weight of the mean over all neurons of sigmoid(5 ReLU(z)), z being the mask.
    ///
    /// The paper's lambda is this divided by the number of neurons; its 1e-8 for Mistral-7B with 16 MLPs is 0.0023.
    #[arg(long, value_name = "WEIGHT", requires = "train", conflicts_with = "lambda", help_heading = HOW)]
    pub pressure: Option<f64>,
    /// The same as the paper says it, the weight of the sum.
    #[arg(long, value_name = "WEIGHT", requires = "train", help_heading = HOW)]
    pub lambda: Option<f64>,
    /// How a mask is learned.
    #[command(flatten)]
    #[serde(flatten)]
    pub steps: StepOptions,
    /// What is minimized while a mask is learned.
    #[command(flatten)]
    #[serde(flatten)]
    pub loss: LossOptions,
    /// How the model's files are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

const HOW: &str = "How neurons are chosen";

/// What was slimmed.
#[derive(Clone, Debug, PartialEq)]
pub struct Slimmed {
    /// What the model is called whose neurons were masked.
    pub model: String,
    /// What was found of each neuron.
    pub scores: NeuronScores,
    /// Which neurons are zero.
    pub mask: NeuronMask,
}

impl Default for SlimOptions {
    fn default() -> SlimOptions {
        SlimOptions {
            sparsity: 0.0,
            floor: 0.0,
            train: Vec::new(),
            calibration: None,
            scores: None,
            calibration_format: CalibrationFormat::Texts,
            calibration_blocks: DEFAULT_BLOCKS,
            block_length: None,
            pressure: None,
            lambda: None,
            steps: StepOptions::default(),
            loss: LossOptions::default(),
            reading: ReadingOptions::default(),
        }
    }
}

impl SlimOptions {
    /// Refuses options that say no way to choose neurons, or several, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]
    pub fn check(&self) -> Result<()> {
        let ways = [!self.train.is_empty(), self.calibration.is_some(), self.scores.is_some()]
            .into_iter()
            .filter(|way| *way);
        if ways.count() != 1 {
            return Err(Error::option(
                "train",
                "choose neurons by one of `train`, `calibration` and `scores`",
            ));
        }
        let pressures = [("pressure", self.pressure), ("lambda", self.lambda)];
        let given: Vec<&'static str> =
            pressures.into_iter().filter(|(_, weight)| weight.is_some()).map(|(name, _)| name).collect();
        match given[..] {
            ["pressure", "lambda"] => {
                return Err(Error::option("lambda", "`pressure` says the same already"));
            }
            [option] if self.train.is_empty() => {
                return Err(Error::option(option, "only `train` learns a mask"));
            }
            _ => {}
        }
        for (option, sparsity, floor) in [("sparsity", self.sparsity, 0.0), ("floor", 0.0, self.floor)] {
            NeuronScores::check_shares(sparsity, floor)
                .map_err(|error| Error::option(option, error.to_string()))?;
        }
        let pressure = self.pressure.or(self.lambda).unwrap_or(Slim::default().pressure);
        let trained = Trained::Slim(Slim { pressure });
        self.steps.check(trained, &self.loss).map_err(|error| match error {
            Error::InvalidOption { option: "pressure", problem, .. } if self.lambda.is_some() => {
                Error::option("lambda", problem)
            }
            other => other,
        })
    }

    /// Refuses MLPs of these widths where there is none, or where they cannot lose so many neurons. Widths that differ
    /// are not those of other MLPs that may be left, so they are not judged.
    pub(crate) fn check_widths(&self, widths: &[Option<usize>]) -> Result<()> {
        if widths.iter().all(Option::is_none) {
            let problem = "no MLP is left that has neurons to slim: drop fewer MLPs, or do not slim";
            return Err(Error::option("sparsity", problem));
        }
        let mut there = widths.iter().flatten();
        let first = there.next();
        if there.any(|width| Some(width) != first) {
            return Ok(());
        }
        let layers = widths.iter().map(|width| width.map(|width| vec![0.0; width])).collect();
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let alike = NeuronScores { model: String::new(), fingerprint, layers };
        match alike.mask(self.sparsity, self.floor) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::option("sparsity", error.to_string())),
        }
    }

    /// The folder of the run in which the mask of `out` is learned: OUT.gates.
    pub fn folder(out: &Path) -> PathBuf {
        with_suffix(out, ".gates")
    }

    /// Writes the model of a directory with its least important neurons zero to the new directory `out`;
    /// neuron_mask.json in it says which. If a mask is learned, OUT.gates is the folder of that run, and the same
    /// call continues it.
    ///
    /// # Errors
    ///
    /// The errors of [`SlimOptions::check`]. `out` exists. The share is no share, or more than the floor leaves. The
    /// errors of training, of the texts and of the scores.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Slimmed> {
        let model = model.as_ref();
        let out = out.as_ref();
        self.check()?;
        let opened = open_model(model, &self.reading, out)?;
        if opened.architecture().layers.iter().all(|layer| layer.intermediate_size.is_none()) {
            return Err(secateur_encoders::Error::from(PruneError::NoMlp { model: opened.name() }).into());
        }
        let scores = match (&self.scores, &self.calibration) {
            (Some(file), _) => {
                let scores = NeuronScores::read(file)?;
                scores.check(file, &opened)?;
                scores
            }
            (None, Some(texts)) => self.measure(model, texts, on)?,
            (None, None) => self.learn(model, &opened, out, on)?,
        };
        let mask = scores.mask(self.sparsity, self.floor)?;
        opened.write_masked(&mask, out)?;
        Ok(Slimmed { model: opened.name(), scores, mask })
    }

    /// Trains a mask.
    fn learn(
        &self,
        path: &Path,
        model: &ModelDirectory,
        out: &Path,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<NeuronScores> {
        let mut slim = Slim::default();
        let widths = model.architecture().layers.iter().filter_map(|layer| layer.intermediate_size);
        let num_neurons = widths.sum::<usize>() as f64;
        if let Some(pressure) = self.pressure.or(self.lambda.map(|lambda| lambda * num_neurons)) {
            slim.pressure = pressure;
        }
        let mut batches = self.steps.batches(&self.train)?;
        let settings = self.steps.settings(Trained::Slim(slim), self.loss.loss(), batches.per_epoch());
        let device = self.steps.device;
        let options = LoadOptions { device, ..self.reading.load_options() };
        let mut trainer = Trainer::load_with(path, settings, &options)?;
        self.steps.tell_device(&trainer, on);
        trainer = self.loss.give_teacher(trainer, &self.steps, &self.train)?;
        let folder = SlimOptions::folder(out);
        self.steps.run_in(&folder).observed(&mut trainer, &mut batches, on)?;
        Ok(trainer.neuron_scores()?)
    }

    /// Measures activations.
    fn measure(&self, path: &Path, texts: &Path, on: &mut dyn FnMut(Progress<'_>)) -> Result<NeuronScores> {
        let encoder = Encoder::load(path, &self.reading.load_options())?;
        let max_sequences = self.calibration_blocks.get();
        let block_length = self.block_length.map(NonZeroUsize::get);
        let calibration = Calibration { format: self.calibration_format, max_sequences, block_length };
        on(Progress::Begins { what: "scoring", unit: "sequence", total: &|| Some(max_sequences as u64) });
        activation_magnitude(&encoder, passages(texts)?, &calibration, |done| on(Progress::Done(done)))
    }
}
