//! What a recipe says.

use std::path::{Path, PathBuf};

use secateur_encoders::{Device, LoadOptions};
use serde::{Deserialize, Serialize};

use super::stage::Stage;
use crate::error::{Error, Result};
use crate::prune::{DropOptions, ModelDirectory, ScoreOptions, SlimOptions};
use crate::train::TrainOptions;

/// A model and what is done to it. Stages that are absent are left out.
///
/// In a file of TOML or JSON, `model` names the encoder, and the tables are the stages. Their keys are the options of
/// the commands `prune score`, `prune drop`, `prune slim` and `train`, with `-` or `_` between words.
///
/// ```
/// use secateur::effir::Recipe;
/// use secateur::prune::{DropOptions, ScoreOptions};
///
/// let recipe: Recipe = "
///     model = \"models/all-MiniLM-L6-v2\"
///     [score]
///     calibration = \"texts.jsonl\"
///     [drop]
///     mlp = 3
///     [evaluate]
///     datasets = [\"data/scifact\"]
/// "
/// .parse()?;
/// recipe.check()?;
/// assert_eq!(recipe.score, Some(ScoreOptions { calibration: "texts.jsonl".into(), ..ScoreOptions::default() }));
/// assert_eq!(recipe.drop.unwrap_or_default().mlp.map(|mlp| mlp.get()), Some(3));
/// # Ok::<(), secateur::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recipe {
    /// The encoder to begin with: what the report and the model card call it, and its directory unless that is given.
    pub model: String,
    /// Measure the importance of sub-layers.
    pub score: Option<ScoreOptions>,
    /// Drop sub-layers, by the importance that was measured where it was.
    pub drop: Option<DropOptions>,
    /// Make neurons zero; they are removed at the end.
    pub slim: Option<SlimOptions>,
    /// Train what is left.
    pub train: Option<TrainOptions>,
    /// Measure what has come of it.
    pub evaluate: EvaluateOptions,
    /// The directory of the model, where `model` is not its path.
    #[serde(skip)]
    pub directory: Option<PathBuf>,
    /// The file that the recipe was read from, for messages.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The text that the recipe was read from. It is kept beside the results and quoted in the model card.
    #[serde(skip)]
    pub source: Option<String>,
}

/// What the model is measured on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EvaluateOptions {
    /// BEIR folders.
    pub datasets: Vec<PathBuf>,
    /// Whether the model is measured as it was, too.
    pub baseline: bool,
}

impl Recipe {
    /// Refuses options that contradict each other, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], with the stage.
    pub fn check(&self) -> Result<()> {
        if let Some(options) = &self.score {
            in_stage("score", options.check())?;
        }
        if let Some(options) = &self.drop {
            if self.score.is_some() && options.scores.is_some() {
                let problem = "the scores are those of the recipe's [score]";
                in_stage("drop", Err(Error::option("scores", problem)))?;
            }
            in_stage("drop", self.drop_by(options, "scores.json".into()).check())?;
        }
        if let Some(options) = &self.slim {
            if !(options.sparsity > 0.0 && options.sparsity < 1.0) {
                let problem = format!(
                    "it is {}; say which share of the neurons goes, above 0 and below 1",
                    options.sparsity
                );
                in_stage("slim", Err(Error::option("sparsity", problem)))?;
            }
            in_stage("slim", options.check())?;
        }
        if let Some(options) = &self.train {
            in_stage("train", options.check())?;
        }
        Ok(())
    }

    /// Refuses what a later stage would refuse of the model that the recipe starts from, after the stages before it.
    /// Stages that are done in the folder `out` are not asked.
    pub(super) fn check_model(&self, out: &Path, start: &ModelDirectory) -> Result<()> {
        let is_left = |stage: Stage| !stage.is_done_in(out);
        let mut left = start.architecture().remaining();
        if let Some(drop) = &self.drop {
            left = match is_left(Stage::Drop) {
                true => in_stage("drop", drop.check_model(start))?,
                false => ModelDirectory::open(Stage::Drop.made_in(out))?.architecture().remaining(),
            };
        }
        if let Some(slim) = self.slim.as_ref().filter(|_| is_left(Stage::Slim)) {
            in_stage("slim", slim.check_widths(&left.intermediate_sizes))?;
        }
        if let Some(train) = self.train.as_ref().filter(|_| is_left(Stage::Train)) {
            train.check_model(start.path())?;
            in_stage("train", train.open_dev())?;
        }
        Ok(())
    }

    /// The first of the model and the tables that is another one in `other`, up to that of the stage `last`.
    pub(super) fn difference(&self, other: &Recipe, last: Stage) -> Option<String> {
        if self.model != other.model {
            return Some("model".to_owned());
        }
        let tables = [
            (Stage::Score, self.score == other.score),
            (Stage::Drop, self.drop == other.drop),
            (Stage::Slim, self.slim == other.slim),
            (Stage::Train, self.train == other.train),
            (Stage::Evaluate, self.evaluate == other.evaluate),
        ];
        let differs = tables.into_iter().find(|(stage, is_same)| *stage <= last && !is_same);
        differs.map(|(stage, _)| format!("[{stage}]"))
    }

    /// The same with its training, of neuron masks and of what is left, on a device.
    #[must_use]
    pub fn on_device(mut self, device: Device) -> Recipe {
        let slim = self.slim.as_mut().map(|slim| &mut slim.steps);
        let train = self.train.as_mut().map(|train| &mut train.steps);
        slim.into_iter().chain(train).for_each(|steps| steps.device = device);
        self
    }

    /// The directory of the model that the recipe starts from.
    pub fn model_directory(&self) -> &Path {
        self.directory.as_deref().unwrap_or(Path::new(&self.model))
    }

    /// How the files of the model that the recipe starts from are read: what any stage ignores is not there.
    pub fn load_options(&self) -> LoadOptions {
        let stages = [
            self.score.as_ref().map(|options| &options.reading),
            self.drop.as_ref().map(|options| &options.reading),
            self.slim.as_ref().map(|options| &options.reading),
        ];
        let ignored = stages.into_iter().flatten().flat_map(|reading| reading.ignore_setting.clone());
        LoadOptions { ignore_settings: ignored.collect(), ..LoadOptions::default() }
    }

    /// The options of dropping, with the file of the scores that the recipe measures, if it does.
    pub(super) fn drop_by(&self, options: &DropOptions, scores: PathBuf) -> DropOptions {
        let scores = if self.score.is_some() { Some(scores) } else { options.scores.clone() };
        DropOptions { scores, ..options.clone() }
    }

    /// The text that the recipe was read from, or else the recipe as JSON.
    pub(super) fn text(&self) -> String {
        let as_json = || serde_json::to_string_pretty(self).expect("a recipe can be written as JSON") + "\n";
        self.source.clone().unwrap_or_else(as_json)
    }
}

/// Says of a problem in which stage it is.
fn in_stage<T>(stage: &'static str, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::InvalidOption { option, problem, .. } => {
            Error::InvalidOption { stage: Some(stage), option, problem }
        }
        other => other,
    })
}
