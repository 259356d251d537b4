//! What the stage of training is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use secateur_encoders::train::{Decay, Loss, Trained};
use secateur_encoders::{Device, Pooling, Precision, Quantization};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::options::{above_zero, positive};

/// What [`TrainOptions::run`] is told. The keys of a recipe's `[train]` and the options of `secateur train` are these.
///
/// Paths are those of model directories, data sets and files: nothing is looked up anywhere else.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TrainOptions {
    /// Files of training data, separated by commas: JSON lines in FlagEmbedding's or Tevatron's format, .gz and .zst
    /// too.
    ///
    /// All examples of a batch are from one file.
    #[arg(long, value_name = "FILES", num_args = 1.., value_delimiter = ',', required = true)]
    pub data: Vec<PathBuf>,
    /// What is trained of the model.
    #[command(flatten)]
    #[serde(flatten)]
    pub what: WhatOptions,
    /// How steps are taken.
    #[command(flatten)]
    #[serde(flatten)]
    pub steps: StepOptions,
    /// What is minimized.
    #[command(flatten)]
    #[serde(flatten)]
    pub loss: LossOptions,
    /// Data sets to measure nDCG@10 on, separated by commas, with texts cut as in training; the best model is kept in
    /// best/.
    #[arg(long, value_name = "DATASETS", num_args = 1.., value_delimiter = ',', help_heading = "Measuring on the way")]
    pub dev: Vec<PathBuf>,
    /// The split of the --dev data sets [default: dev, where there is one].
    #[arg(long, value_name = "SPLIT", requires = "dev", help_heading = "Measuring on the way")]
    pub dev_split: Option<String>,
    /// Steps between two measurements.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        requires = "dev",
        help_heading = "Measuring on the way"
    )]
    pub dev_every: usize,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Measuring on the way")]
    pub save_every: usize,
}

/// What of a model is trained.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[command(next_help_heading = "What is trained")]
pub struct WhatOptions {
    /// Train every weight, in place of a low-rank adapter.
    #[arg(long, conflicts_with_all = ["rank", "alpha", "dropout", "targets", "quantize"])]
    pub full: bool,
    /// The adapter's rank [default: 32].
    #[arg(long)]
    pub rank: Option<usize>,
    /// The adapter's product is multiplied by alpha / rank [default: 64].
    #[arg(long)]
    pub alpha: Option<f64>,
    /// The share of its inputs that an adapter does not see [default: 0.1].
    #[arg(long)]
    pub dropout: Option<f64>,
    /// The ends of the names of the layers that are adapted, separated by commas [default: all linear layers of
    /// attentions and MLPs].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub targets: Vec<String>,
    /// Keep the frozen linear layers in fewer bits (QLoRA).
    #[arg(long)]
    pub quantize: Option<Quantization>,
    /// How it reads texts.
    #[command(flatten, next_help_heading = "How the encoder reads texts")]
    #[serde(flatten)]
    pub encoding: EncodingOptions,
}

/// How an encoder reads texts, where its directory's word is not the last.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EncodingOptions {
    /// How token vectors become one [default: as the model says].
    #[arg(long)]
    pub pooling: Option<Pooling>,
    /// Text to put before every query [default: as the model says].
    #[arg(long, value_name = "TEXT")]
    pub query_prompt: Option<String>,
    /// Text to put before every passage [default: as the model says].
    #[arg(long, value_name = "TEXT")]
    pub passage_prompt: Option<String>,
}

/// How many steps are taken, and what each does.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[command(next_help_heading = "Steps")]
pub struct StepOptions {
    /// Steps to take [default: as many as --epochs need; 500 for neuron masks].
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// Passes over the data [default: 1].
    #[arg(long, value_name = "N", conflicts_with = "steps")]
    pub epochs: Option<f64>,
    /// Queries of a batch.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.batch_size, value_parser = positive)]
    pub batch_size: NonZeroUsize,
    /// Batches whose gradients make a step; queries are compared within their own batch.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.accumulate, value_parser = positive)]
    pub accumulate: NonZeroUsize,
    /// The most hard negatives of each query.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.negatives)]
    pub negatives: usize,
    /// The highest learning rate [default: 1e-4 for adapters, 2e-5 for all weights, 1e-3 for neuron masks].
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Steps during which the learning rate rises [default: 100, or a tenth of all if that is less].
    #[arg(long, value_name = "N")]
    pub warmup: Option<usize>,
    /// How the learning rate goes down after that.
    #[arg(long, value_enum, default_value_t = DEFAULT.decay)]
    pub decay: Decay,
    /// What matrices lose of themselves at each step, times the learning rate.
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT.weight_decay)]
    pub weight_decay: f64,
    /// Longer gradients are scaled down to this length.
    #[arg(long, value_name = "LENGTH", default_value_t = DEFAULT.max_gradient_norm)]
    pub max_gradient_norm: f64,
    /// Cut queries to this many tokens [default: as the model says].
    #[arg(long, value_name = "TOKENS")]
    pub query_length: Option<usize>,
    /// Cut passages to this many tokens [default: as the model says].
    #[arg(long, value_name = "TOKENS")]
    pub passage_length: Option<usize>,
    /// Decides everything that is random.
    #[arg(long, value_name = "N", default_value_t = DEFAULT.seed)]
    pub seed: u64,
    /// Where to compute: cpu, cuda:N for the GPU of that number, or auto for a GPU if there is one.
    #[arg(long, default_value_t = DEFAULT.device)]
    pub device: Device,
    /// What linear layers multiply, forward and back: f32, or bf16, which is fast on processors with AMX. There
    /// attention multiplies bf16 as well.
    ///
    /// Sums and what is trained are f32 all the same. A GPU always multiplies bf16.
    #[arg(long, value_enum, default_value_t = DEFAULT.precision)]
    pub precision: Precision,
    /// Tokens that each thread, or a GPU, computes together [default: 512, or 16,384 on a GPU].
    #[arg(long, value_name = "TOKENS", value_parser = positive, help_heading = MEMORY)]
    pub batch_tokens: Option<NonZeroUsize>,
    /// Compute a batch's vectors first and its gradients part by part: less memory, a third more time.
    #[arg(long, help_heading = MEMORY)]
    pub gradient_cache: bool,
    /// Keep the inputs of layers only and compute the rest again: less memory, a third more time.
    #[arg(long, help_heading = MEMORY)]
    pub recompute: bool,
    /// Hold the model's matrices in bf16, as a GPU always does: half the memory. What is trained is kept in f32, too.
    #[arg(long, help_heading = MEMORY)]
    pub bf16_weights: bool,
    /// Lines of each file that are in memory, to be drawn from.
    #[arg(long, value_name = "LINES", default_value_t = DEFAULT.window, help_heading = MEMORY)]
    pub window: usize,
    /// End the training at a step without a gradient, from which nothing is learned. Refuse a model whose files leave
    /// open how texts are encoded.
    #[arg(long)]
    pub strict: bool,
}

const MEMORY: &str = "Memory";

/// What steps are unless something else is said.
const DEFAULT: StepOptions = StepOptions {
    steps: None,
    epochs: None,
    batch_size: NonZeroUsize::new(32).unwrap(),
    accumulate: NonZeroUsize::MIN,
    negatives: 7,
    learning_rate: None,
    warmup: None,
    decay: Decay::Linear,
    weight_decay: 0.0,
    max_gradient_norm: 1.0,
    query_length: None,
    passage_length: None,
    seed: 42,
    device: Device::Cpu,
    precision: Precision::F32,
    batch_tokens: None,
    gradient_cache: false,
    recompute: false,
    bf16_weights: false,
    window: 10_000,
    strict: false,
};

/// What is minimized: [`Loss`], and where a teacher's part in it comes from.
#[derive(clap::Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[command(next_help_heading = "Loss")]
pub struct LossOptions {
    /// Divides the cosines of InfoNCE.
    #[arg(long, default_value_t = Loss::default().temperature)]
    pub temperature: f64,
    /// The weight of InfoNCE.
    #[arg(long, value_name = "WEIGHT", default_value_t = Loss::default().contrastive_weight)]
    pub contrastive_weight: f64,
    /// An encoder whose ranking of all passages of a batch is learned, in place of the scores in the data.
    #[arg(long, value_name = "MODEL")]
    pub teacher: Option<PathBuf>,
    /// Cut what the teacher reads to this many tokens [default: as long as it can read].
    #[arg(long, value_name = "TOKENS", requires = "teacher")]
    pub teacher_length: Option<usize>,
    /// Files of a teacher's vectors, separated by commas, which `secateur teach --vectors` wrote, in place of a
    /// --teacher that reads each batch.
    ///
    /// A text that they lack is an error. The teacher read as much of a text as `teach --max-length` said.
    #[arg(long, value_name = "FILES", num_args = 1.., value_delimiter = ',', conflicts_with = "teacher")]
    pub teacher_vectors: Vec<PathBuf>,
    /// The weight of the distance to the teacher's ranking.
    #[arg(long, value_name = "WEIGHT", default_value_t = Loss::default().distillation_weight)]
    pub distillation_weight: f64,
    /// The weight of the distance between each text's vector and the teacher's; needs a --teacher of the same
    /// dimension, or its --teacher-vectors.
    #[arg(long, value_name = "WEIGHT", default_value_t = Loss::default().alignment_weight)]
    pub alignment_weight: f64,
    /// Divides the teacher's scores [default: 1; 0.02 for cosines, of --teacher or --teacher-vectors].
    #[arg(long, value_name = "TEMPERATURE")]
    pub teacher_temperature: Option<f64>,
    /// Divides the cosines that are compared with the teacher's scores.
    #[arg(long, value_name = "TEMPERATURE", default_value_t = Loss::default().student_temperature)]
    pub student_temperature: f64,
}

impl Default for TrainOptions {
    fn default() -> TrainOptions {
        TrainOptions {
            data: Vec::new(),
            what: WhatOptions::default(),
            steps: StepOptions::default(),
            loss: LossOptions::default(),
            dev: Vec::new(),
            dev_split: None,
            dev_every: 100,
            save_every: 100,
        }
    }
}

impl Default for StepOptions {
    fn default() -> StepOptions {
        DEFAULT
    }
}

impl Default for LossOptions {
    fn default() -> LossOptions {
        let loss = Loss::default();
        LossOptions {
            temperature: loss.temperature,
            contrastive_weight: loss.contrastive_weight,
            teacher: None,
            teacher_length: None,
            teacher_vectors: Vec::new(),
            distillation_weight: loss.distillation_weight,
            alignment_weight: loss.alignment_weight,
            teacher_temperature: None,
            student_temperature: loss.student_temperature,
        }
    }
}

impl TrainOptions {
    /// Refuses options that contradict each other, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]
    pub fn check(&self) -> Result<()> {
        if self.data.is_empty() {
            return Err(Error::option("data", "name at least one file of training examples"));
        }
        let what = &self.what;
        let of_adapters = [
            ("rank", what.rank.is_some()),
            ("alpha", what.alpha.is_some()),
            ("dropout", what.dropout.is_some()),
            ("targets", !what.targets.is_empty()),
            ("quantize", what.quantize.is_some()),
        ];
        if let Some((option, _)) = of_adapters.into_iter().find(|(_, is_given)| what.full && *is_given) {
            return Err(Error::option(option, "it is an adapter's, and `full` trains every weight instead"));
        }
        if self.dev_split.is_some() && self.dev.is_empty() {
            return Err(Error::option("dev-split", "there is no `dev` data set that it could be of"));
        }
        self.steps.check(self.what.trained(), &self.loss)
    }
}

impl StepOptions {
    /// Refuses options of steps that train `trained` by a loss: what contradicts itself, and what the trainer refuses.
    pub(crate) fn check(&self, trained: Trained, loss: &LossOptions) -> Result<()> {
        if self.steps.is_some() && self.epochs.is_some() {
            return Err(Error::option("epochs", "`steps` says already how long training takes"));
        }
        above_zero("epochs", self.epochs.unwrap_or(1.0))?;
        if self.precision == Precision::Int8 {
            return Err(Error::option("precision", "a model is not trained in int8: choose f32 or bf16"));
        }
        loss.check()?;
        // How many batches there are is not known yet, and decides nothing here.
        self.settings(trained, loss.loss(), 1).check().map_err(as_option)
    }
}

/// The options whose numbers are settings of the trainer, which has `_` between words.
const SETTINGS: [&str; 14] = [
    "steps",
    "temperature",
    "contrastive-weight",
    "distillation-weight",
    "alignment-weight",
    "teacher-temperature",
    "student-temperature",
    "learning-rate",
    "weight-decay",
    "max-gradient-norm",
    "rank",
    "alpha",
    "dropout",
    "pressure",
];

/// What is wrong with a setting, by the name of its option.
fn as_option(error: secateur_encoders::Error) -> Error {
    let secateur_encoders::Error::InvalidSetting { setting, found, expected } = &error else {
        return error.into();
    };
    let name = setting.replace('_', "-");
    let name = if name == "num-steps" { "steps" } else { &name };
    match SETTINGS.into_iter().find(|option| *option == name) {
        Some(option) => Error::option(option, format!("it is {found}; it must be {expected}")),
        None => error.into(),
    }
}

impl LossOptions {
    fn check(&self) -> Result<()> {
        match &self.teacher {
            Some(_) if !self.teacher_vectors.is_empty() => {
                Err(Error::option("teacher-vectors", "there is a `teacher` already: name one of the two"))
            }
            None if self.alignment_weight != 0.0 && !self.has_teacher() => Err(Error::option(
                "alignment-weight",
                "it needs the vectors of a `teacher` (--teacher), or a file of them (--teacher-vectors)",
            )),
            None if self.teacher_length.is_some() => {
                Err(Error::option("teacher-length", "there is no `teacher` to cut texts for"))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a teacher, as a model or as vectors.
    pub(crate) fn has_teacher(&self) -> bool {
        self.teacher.is_some() || !self.teacher_vectors.is_empty()
    }
}
