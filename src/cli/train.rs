//! `secateur train`: fine-tune an encoder to retrieve.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secateur::train::{AdamW, Decay, Lora, Loss, Schedule, TrainSettings, Trained, Trainer};
use secateur::training::{RunOptions, RunOutcome, train};
use secateur::triples::{BatchOptions, Batches};
use secateur::{Encoder, LoadOptions, Pooling, Quantization};

use super::encoder::model_directory;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::number::grouped;
use super::progress::{Progress, say_on_interrupt};

/// Fine-tune an encoder with InfoNCE over in-batch and hard negatives, and with a teacher's scores where there are any.
#[derive(Args)]
#[command(after_help = "\
The folder --out gets model/ (a PEFT adapter, or with --full a whole model), best/ (by --dev), log.jsonl, loss.svg and
checkpoint.safetensors. A run that was interrupted goes on with --resume, and ends with the same weights.

Examples:
  secateur dataset triples nq-qed --split train --out nq.jsonl
  secateur train MODEL --data nq.jsonl --out run
  secateur train MODEL --data nq.jsonl boolq.jsonl --full --learning-rate 5e-5 --teacher BIGGER --out run
  secateur model merge run/model --out merged")]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// Training data: JSON lines in FlagEmbedding's or Tevatron's format, .gz and .zst too. All examples of a batch are from
    /// one file.
    #[arg(long, value_name = "FILES", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// The run's folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the folder's checkpoint.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    steps: Steps,
    #[command(flatten)]
    loss: LossArguments,
    /// A BEIR folder, or the name of a downloaded data set, to measure nDCG@10 on, with texts cut as in
    /// training; the best is kept in best/.
    #[arg(long, value_name = "DIRS", num_args = 1..)]
    dev: Vec<PathBuf>,
    /// The split of --dev; `dev` where there is one unless given.
    #[arg(long, value_name = "SPLIT", requires = "dev")]
    dev_split: Option<String>,
    /// Steps between two measurements.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "dev")]
    dev_every: usize,
    /// Steps between two checkpoints.
    #[arg(long, value_name = "N", default_value_t = 100)]
    save_every: usize,
}

/// What is trained.
#[derive(Args)]
struct What {
    /// Train every weight, in place of a low-rank adapter.
    #[arg(long, conflicts_with_all = ["rank", "alpha", "dropout", "targets", "quantize"])]
    full: bool,
    /// The adapter's rank.
    #[arg(long, default_value_t = 32)]
    rank: usize,
    /// The adapter's product is multiplied by alpha / rank.
    #[arg(long, default_value_t = 64.0)]
    alpha: f64,
    /// The share of its inputs that an adapter does not see.
    #[arg(long, default_value_t = 0.1)]
    dropout: f64,
    /// The ends of the names of the layers that are adapted; all linear layers of attentions and MLPs unless given.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Keep the frozen linear layers in fewer bits: nf4 (QLoRA).
    #[arg(long, value_name = "NF4")]
    quantize: Option<Quantization>,
    /// How token vectors become one; as the model says unless given.
    #[arg(long)]
    pooling: Option<Pooling>,
    /// Text to put before every query; as the model says unless given.
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,
    /// Text to put before every passage; as the model says unless given.
    #[arg(long, value_name = "TEXT")]
    passage_prompt: Option<String>,
}

/// Steps, and what each does.
#[derive(Args)]
pub struct Steps {
    /// Steps to take; as many as --epochs need, or 500 for gates, unless given.
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Passes over the data.
    #[arg(long, value_name = "N", default_value_t = 1.0, conflicts_with = "steps")]
    epochs: f64,
    /// Queries of a batch.
    #[arg(long, value_name = "N", default_value = "32")]
    batch_size: NonZeroUsize,
    /// Batches whose gradients make a step; queries are compared within their own batch.
    #[arg(long, value_name = "N", default_value = "1")]
    accumulate: NonZeroUsize,
    /// The most hard negatives of each query.
    #[arg(long, value_name = "N", default_value_t = 7)]
    negatives: usize,
    /// The highest learning rate; 1e-4 for adapters, 2e-5 for all weights, 1e-3 for gates unless given.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Steps during which the learning rate rises; 100, or a tenth of all if those are fewer, unless given.
    #[arg(long, value_name = "N")]
    warmup: Option<usize>,
    /// How the learning rate goes down after that.
    #[arg(long, value_enum, default_value_t = DecayName::Linear)]
    decay: DecayName,
    /// What matrices lose of themselves at each step, times the learning rate.
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Longer gradients are scaled down to this length.
    #[arg(long, default_value_t = 1.0)]
    max_gradient_norm: f64,
    /// Cut queries to this many tokens.
    #[arg(long, value_name = "TOKENS")]
    query_length: Option<usize>,
    /// Cut passages to this many tokens.
    #[arg(long, value_name = "TOKENS")]
    passage_length: Option<usize>,
    /// Tokens that each thread computes together.
    #[arg(long, value_name = "TOKENS", default_value_t = 512)]
    batch_tokens: usize,
    /// Compute a batch's vectors first and its gradients part by part: less memory, a third more time.
    #[arg(long)]
    gradient_cache: bool,
    /// Keep the inputs of layers only and compute the rest again: less memory, a third more time.
    #[arg(long)]
    recompute: bool,
    /// Hold the model's matrices in bf16: half the memory. What is trained of them is kept in f32, too.
    #[arg(long)]
    bf16_weights: bool,
    /// Lines of each file that are in memory, to be drawn from.
    #[arg(long, value_name = "LINES", default_value_t = 10_000)]
    window: usize,
    /// Decides everything that is random.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// What is minimized.
#[derive(Args)]
pub struct LossArguments {
    /// Divides the cosines of InfoNCE.
    #[arg(long, default_value_t = 0.02)]
    temperature: f64,
    /// The weight of InfoNCE.
    #[arg(long, default_value_t = 1.0)]
    contrastive_weight: f64,
    /// The weight of the distance to the teacher's ranking.
    #[arg(long, default_value_t = 1.0)]
    distillation_weight: f64,
    /// The weight of the distance between each text's vector and the teacher's; needs a --teacher of the same dimension.
    #[arg(long, default_value_t = 0.0)]
    alignment_weight: f64,
    /// Divides the teacher's scores; 1, or 0.02 for the cosines of --teacher, unless given.
    #[arg(long)]
    teacher_temperature: Option<f64>,
    /// Divides the cosines that are compared with the teacher's scores.
    #[arg(long, default_value_t = 0.02)]
    student_temperature: f64,
    /// An encoder whose ranking of all passages of a batch is learned, in place of the scores in the data.
    #[arg(long, value_name = "MODEL")]
    teacher: Option<String>,
    /// Cut what the teacher reads to this many tokens; as long as it can read unless given.
    #[arg(long, value_name = "TOKENS", requires = "teacher")]
    teacher_length: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DecayName {
    /// It stays.
    Constant,
    /// In a line to 0.
    Linear,
    /// In half a wave to 0.
    Cosine,
}

impl Steps {
    /// Of a run in `out`, without a dev set.
    pub fn run_options<'a>(&self, out: &'a Path) -> RunOptions<'a> {
        RunOptions {
            out,
            accumulate: self.accumulate.get(),
            num_negatives: self.negatives,
            seed: self.seed,
            save_every: 100,
            dev: &[],
            dev_every: 0,
        }
    }

    pub fn batches(&self, data: &[PathBuf]) -> Result<Batches> {
        let options = BatchOptions {
            batch_size: self.batch_size,
            window: self.window,
            seed: self.seed,
            drop_last: false,
        };
        Ok(Batches::open(data, &options)?)
    }

    pub fn settings(&self, trained: Trained, loss: Loss, batches: &Batches) -> TrainSettings {
        let per_step = self.accumulate.get() as f64;
        let of_epochs = || (self.epochs * batches.per_epoch() as f64 / per_step).ceil().max(1.0) as usize;
        let (default_rate, default_steps) = match trained {
            Trained::Lora(_) => (1e-4, None),
            Trained::Full => (2e-5, None),
            // The paper says how many steps, not how far a gate moves in one.
            Trained::Gates(_) => (1e-3, Some(500)),
        };
        let num_steps = self.steps.or(default_steps).unwrap_or_else(of_epochs);
        let mut settings = TrainSettings::new(trained, num_steps);
        settings.loss = loss;
        settings.optimizer = AdamW {
            learning_rate: self.learning_rate.unwrap_or(default_rate),
            weight_decay: self.weight_decay,
            max_gradient_norm: self.max_gradient_norm,
            ..AdamW::default()
        };
        settings.schedule = Schedule {
            warmup_steps: self.warmup.unwrap_or(settings.schedule.warmup_steps),
            num_steps,
            decay: match self.decay {
                DecayName::Constant => Decay::Constant,
                DecayName::Linear => Decay::Linear,
                DecayName::Cosine => Decay::Cosine,
            },
        };
        settings.query_max_length = self.query_length;
        settings.passage_max_length = self.passage_length;
        settings.batch_tokens = self.batch_tokens;
        settings.gradient_cache = self.gradient_cache;
        settings.recompute = self.recompute;
        settings.bf16_weights = self.bf16_weights;
        settings.seed = self.seed;
        settings
    }
}

impl LossArguments {
    pub fn loss(&self) -> Loss {
        let default_temperature = if self.teacher.is_some() { 0.02 } else { 1.0 };
        Loss {
            temperature: self.temperature,
            contrastive_weight: self.contrastive_weight,
            distillation_weight: self.distillation_weight,
            alignment_weight: self.alignment_weight,
            teacher_temperature: self.teacher_temperature.unwrap_or(default_temperature),
            student_temperature: self.student_temperature,
        }
    }

    pub fn teacher(&self) -> Result<Option<Encoder>> {
        let Some(reference) = &self.teacher else {
            if self.alignment_weight != 0.0 {
                let message = "--alignment-weight needs the vectors of a --teacher".to_owned();
                return Err(Failure::new(Code::Usage, message));
            }
            return Ok(None);
        };
        let options = LoadOptions { max_length: self.teacher_length, ..LoadOptions::default() };
        Ok(Some(Encoder::load(&model_directory(reference)?, &options)?))
    }
}

/// Runs a training with a bar.
pub fn take_steps(
    trainer: &mut Trainer,
    batches: &mut Batches,
    options: &RunOptions<'_>,
) -> Result<RunOutcome> {
    let num_steps = trainer.settings().schedule.num_steps as u64;
    let progress = Progress::start("training", "steps", || Ok::<_, Failure>(num_steps))?;
    let outcome = train(trainer, batches, options, |report| {
        progress.say(&format!("loss {:.4}", report.loss));
        progress.set(report.step);
    })?;
    progress.finish();
    Ok(outcome)
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let directory = model_directory(&self.model)?;
        let checkpoint = self.out.join("checkpoint.safetensors");
        if checkpoint.exists() && !self.resume {
            let message = format!(
                "{} is a run's: go on with it by --resume, or choose another --out",
                self.out.display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let model = self.out.join("model");
        if model.exists() {
            let message = format!("{} exists: the run has ended", model.display());
            return Err(Failure::new(Code::System, message));
        }
        let mut batches = self.steps.batches(&self.data)?;
        let trained = if self.what.full {
            Trained::Full
        } else {
            let What { rank, alpha, dropout, targets, .. } = &self.what;
            Trained::Lora(Lora { rank: *rank, alpha: *alpha, dropout: *dropout, targets: targets.clone() })
        };
        let settings = self.steps.settings(trained, self.loss.loss(), &batches);
        let options = LoadOptions {
            pooling: self.what.pooling,
            query_prompt: self.what.query_prompt.clone(),
            passage_prompt: self.what.passage_prompt.clone(),
            quantize: self.what.quantize,
            ..LoadOptions::default()
        };
        let mut trainer = Trainer::load_with(&directory, settings, &options)?;
        if let Some(teacher) = self.loss.teacher()? {
            trainer = trainer.with_teacher(teacher)?;
        }
        let mut dev = Vec::new();
        for path in &self.dev {
            let dataset = open_dataset(path)?;
            let split = match &self.dev_split {
                Some(split) => split.clone(),
                None if dataset.splits()?.iter().any(|split| split == "dev") => "dev".to_owned(),
                None => {
                    let message = format!(
                        "{} has no split dev; name one of {} with --dev-split, and never the one that the result is \
                         judged by",
                        dataset.path().display(),
                        dataset.splits()?.join(", ")
                    );
                    return Err(Failure::new(Code::Usage, message));
                }
            };
            dataset.qrels(&split)?;
            dev.push((dataset, Some(split)));
        }
        say_on_interrupt(
            "the last checkpoint is kept; run the same command again to go on, `train` with --resume",
        )?;
        let num_steps = trainer.settings().schedule.num_steps;
        let options = RunOptions {
            save_every: self.save_every,
            dev: &dev,
            dev_every: self.dev_every,
            ..self.steps.run_options(&self.out)
        };
        let outcome = take_steps(&mut trainer, &mut batches, &options)?;
        trainer.write(&model)?;
        let mut said = format!(
            "{}: {} trained numbers, {num_steps} steps",
            model.display(),
            grouped(trainer.num_trained())
        );
        if let Some(loss) = outcome.loss {
            said += &format!(", loss {loss:.4}");
        }
        if let Some((step, score)) = outcome.best {
            said += &format!("\n{}: nDCG@10 {score:.4} after step {step}", self.out.join("best").display());
        }
        Ok(said + "\n")
    }
}
