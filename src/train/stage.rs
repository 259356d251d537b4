//! The stage of training: a model directory and files of examples in, a run's folder out.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::triples::{BatchOptions, Batches, Examples};
use secateur_encoders::train::{
    AdamW, Lora, Loss, Schedule, TeacherVectors, TrainSettings, Trained, Trainer,
};
use secateur_encoders::{Device, Encoder, LoadOptions, Notice};

use super::options::{EncodingOptions, LossOptions, StepOptions, TrainOptions, WhatOptions};
use super::run::{Run, RunOutcome};
use super::vectors::texts;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// What has come of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// The trained model, or the adapter.
    pub model: PathBuf,
    /// Numbers that were trained.
    pub num_trained: usize,
    /// Steps of the whole run.
    pub num_steps: usize,
    /// The last loss, and the best model by the dev data sets.
    pub outcome: RunOutcome,
    /// What the model's files do not say, and what was assumed.
    pub notices: Vec<Notice>,
}

impl TrainOptions {
    /// Trains the model of a directory. The folder `out` gets what [`Run::take_steps`] writes, and at the end
    /// `model/`: a PEFT adapter, or with `full` a whole model. If `out` holds the checkpoint of the same run, the run
    /// continues.
    ///
    /// # Errors
    ///
    /// The errors of [`TrainOptions::check`] and [`Run::take_steps`]. The run has ended: `out` has its `model/`. The
    /// model does not load or cannot be trained in this way. A dev data set lacks the split.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<TrainReport> {
        let trained_model = out.as_ref().join("model");
        self.check()?;
        match trained_model.exists() {
            true => Err(Error::OutputExists { path: trained_model }),
            false => self.run_to_end(model.as_ref(), out.as_ref(), on),
        }
    }

    /// [`TrainOptions::run`] that takes a run that has ended for what it is: its report is given again, without a loss.
    ///
    /// # Errors
    ///
    /// As [`TrainOptions::run`]; the run that has ended is one with other options. `out` has a `model/` and no
    /// checkpoint of a run.
    pub fn resume(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<TrainReport> {
        let out = out.as_ref();
        self.check()?;
        match Run::checkpoint_in(out).exists() {
            true => self.run_to_end(model.as_ref(), out, on),
            false => self.run(model, out, on),
        }
    }

    /// Takes the steps that are left, and writes the model unless it is there.
    fn run_to_end(&self, model: &Path, out: &Path, on: &mut dyn FnMut(Progress<'_>)) -> Result<TrainReport> {
        let trained_model = out.join("model");
        self.check_model(model)?;
        let mut batches = self.steps.batches(&self.data)?;
        let settings = self.steps.settings(self.what.trained(), self.loss.loss(), batches.per_epoch());
        let StepOptions { strict, device, .. } = self.steps;
        let options = LoadOptions { strict, device, ..self.what.load_options() };
        let mut trainer = Trainer::load_with(model, settings, &options)?;
        self.steps.tell_device(&trainer, on);
        trainer = self.loss.give_teacher(trainer, &self.steps, &self.data)?;
        let dev = self.open_dev()?;
        let run = Run {
            save_every: self.save_every,
            dev: &dev,
            dev_every: self.dev_every,
            ..self.steps.run_in(out)
        };
        let outcome = run.observed(&mut trainer, &mut batches, on)?;
        // A model beside a checkpoint of all steps was made of it.
        if outcome.loss.is_some() || !trained_model.exists() {
            trainer.write(&trained_model)?;
        }
        Ok(TrainReport {
            model: trained_model,
            num_trained: trainer.num_trained(),
            num_steps: trainer.settings().schedule.num_steps,
            outcome,
            notices: trainer.notices().to_vec(),
        })
    }

    /// Refuses a model that lacks what is to be trained, before data and weights are read.
    pub(crate) fn check_model(&self, model: &Path) -> Result<()> {
        match self.what.trained() {
            Trained::Lora(lora) => Ok(lora.check(model, &self.what.load_options())?),
            Trained::Full | Trained::Slim(_) => Ok(()),
        }
    }

    /// The data sets to measure on, and their splits.
    pub(crate) fn open_dev(&self) -> Result<Vec<(BeirFolder, Option<String>)>> {
        self.dev.iter().map(|path| self.open_dev_set(path)).collect()
    }

    fn open_dev_set(&self, path: &Path) -> Result<(BeirFolder, Option<String>)> {
        let dataset = BeirFolder::open(path)?;
        let splits = dataset.splits()?;
        let split = match &self.dev_split {
            Some(split) => split.clone(),
            None if splits.iter().any(|split| split == "dev") => "dev".to_owned(),
            None => {
                let problem = format!(
                    "{} has no split dev; name one of {}, and never the one that the result is judged by",
                    dataset.path().display(),
                    splits.join(", ")
                );
                return Err(Error::option("dev-split", problem));
            }
        };
        dataset.qrels(&split)?;
        Ok((dataset, Some(split)))
    }
}

impl WhatOptions {
    pub(super) fn trained(&self) -> Trained {
        if self.full {
            return Trained::Full;
        }
        let default = Lora::default();
        Trained::Lora(Lora {
            rank: self.rank.unwrap_or(default.rank),
            alpha: self.alpha.unwrap_or(default.alpha),
            dropout: self.dropout.unwrap_or(default.dropout),
            targets: self.targets.clone(),
        })
    }

    fn load_options(&self) -> LoadOptions {
        LoadOptions { quantize: self.quantize, ..self.encoding.load_options(LoadOptions::default()) }
    }
}

impl EncodingOptions {
    /// The `options` of loading with this word on how texts are read.
    pub fn load_options(&self, options: LoadOptions) -> LoadOptions {
        LoadOptions {
            pooling: self.pooling,
            query_prompt: self.query_prompt.clone(),
            passage_prompt: self.passage_prompt.clone(),
            ..options
        }
    }
}

impl StepOptions {
    /// Tells which device was chosen, where the choice was left to us.
    pub(crate) fn tell_device(&self, trainer: &Trainer, on: &mut dyn FnMut(Progress<'_>)) {
        if self.device == Device::Auto {
            on(Progress::ComputesOn(trainer.computes_on()));
        }
    }

    /// The run in `out`, without a dev data set.
    pub(crate) fn run_in<'a>(&self, out: &'a Path) -> Run<'a> {
        Run {
            out,
            accumulate: self.accumulate.get(),
            num_negatives: self.negatives,
            seed: self.seed,
            save_every: 100,
            dev: &[],
            dev_every: 0,
            strict: self.strict,
        }
    }

    pub(crate) fn batches(&self, data: &[PathBuf]) -> Result<Batches> {
        let options = BatchOptions {
            batch_size: self.batch_size,
            window: self.window,
            seed: self.seed,
            drop_last: false,
        };
        Ok(Batches::open(data, &options)?)
    }

    /// What the trainer is told, with as many batches an epoch as the data has.
    pub(crate) fn settings(&self, trained: Trained, loss: Loss, batches_per_epoch: u64) -> TrainSettings {
        let per_step = self.accumulate.get() as f64;
        let epochs = self.epochs.unwrap_or(1.0);
        let of_epochs = || (epochs * batches_per_epoch as f64 / per_step).ceil().max(1.0) as usize;
        let (default_rate, default_steps) = match trained {
            Trained::Lora(_) => (1e-4, None),
            Trained::Full => (2e-5, None),
            // The paper says how many steps, not how far a mask moves in one.
            Trained::Slim(_) => (1e-3, Some(500)),
        };
        let num_steps = self.steps.or(default_steps).unwrap_or_else(of_epochs);
        let settings = TrainSettings::new(trained, num_steps);
        TrainSettings {
            loss,
            optimizer: AdamW {
                learning_rate: self.learning_rate.unwrap_or(default_rate),
                weight_decay: self.weight_decay,
                max_gradient_norm: self.max_gradient_norm,
                ..AdamW::default()
            },
            schedule: Schedule {
                warmup_steps: self.warmup.unwrap_or(settings.schedule.warmup_steps),
                num_steps,
                decay: self.decay,
            },
            query_max_length: self.query_length,
            passage_max_length: self.passage_length,
            batch_tokens: self.batch_tokens.map(NonZeroUsize::get),
            gradient_cache: self.gradient_cache,
            recompute: self.recompute,
            bf16_weights: self.bf16_weights,
            precision: self.precision,
            seed: self.seed,
            ..settings
        }
    }
}

impl LossOptions {
    pub(crate) fn loss(&self) -> Loss {
        let default_temperature = if self.has_teacher() { 0.02 } else { 1.0 };
        Loss {
            temperature: self.temperature,
            contrastive_weight: self.contrastive_weight,
            distillation_weight: self.distillation_weight,
            alignment_weight: self.alignment_weight,
            teacher_temperature: self.teacher_temperature.unwrap_or(default_temperature),
            student_temperature: self.student_temperature,
        }
    }

    /// The trainer with its teacher, if there is one: a model on the device that trains, or its vectors. Each text of
    /// `data` must then have one.
    pub(crate) fn give_teacher(
        &self,
        trainer: Trainer,
        steps: &StepOptions,
        data: &[PathBuf],
    ) -> Result<Trainer> {
        if !self.teacher_vectors.is_empty() {
            let vectors = TeacherVectors::open(&self.teacher_vectors)?;
            check_texts(&vectors, data, steps.negatives)?;
            return Ok(trainer.with_teacher_vectors(vectors)?);
        }
        let Some(directory) = &self.teacher else { return Ok(trainer) };
        let options =
            LoadOptions { max_length: self.teacher_length, device: steps.device, ..LoadOptions::default() };
        Ok(trainer.with_teacher(Encoder::load(directory, &options)?)?)
    }
}

/// Finds a text without a vector before the training begins, rather than at the step that reads it.
fn check_texts(vectors: &TeacherVectors, data: &[PathBuf], num_negatives: usize) -> Result<()> {
    for file in data {
        for example in Examples::open(file, None)? {
            for (kind, text) in texts(example?, num_negatives > 0) {
                vectors.check(&text, kind)?;
            }
        }
    }
    Ok(())
}
