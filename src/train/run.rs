//! A run from its first step to its last, or from where it was interrupted.

use std::path::{Path, PathBuf};
use std::time::Instant;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::triples::{Batches, TrainingExample};
use secateur_encoders::train::{Example, StepReport, Trainer};
use secateur_files::{Durable, disk};
use serde::{Deserialize, Serialize};

use super::log::{Log, LogLine};
use crate::error::Result;
use crate::measure;
use crate::number::counted;
use crate::progress::Progress;
use crate::training_error::{TrainingError, no_gradient};

/// A training run: where it is kept, how steps are made of examples, and what is measured on the way.
#[derive(Debug)]
pub struct Run<'a> {
    /// The run's folder.
    pub out: &'a Path,
    /// Batches whose gradients make a step.
    pub accumulate: usize,
    /// The most negatives of an example that a step looks at.
    pub num_negatives: usize,
    /// Decides which positive and which negatives of an example a step looks at.
    pub seed: u64,
    /// Steps between two checkpoints.
    pub save_every: usize,
    /// Data sets to measure on, by their default split or by the one given.
    pub dev: &'a [(BeirFolder, Option<String>)],
    /// Steps between two measurements.
    pub dev_every: usize,
    /// Whether a step without a gradient is an error.
    pub strict: bool,
}

/// What has become of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// The loss of the last step, if any was taken.
    pub loss: Option<f64>,
    /// Steps of this call whose gradient was zero, so that nothing was learned.
    pub without_gradient: usize,
    /// Those of them with a batch of one query that had nothing but its own passage.
    pub lone_queries: usize,
    /// The step with the best mean nDCG@10 over the dev sets, and that.
    pub best: Option<(usize, f64)>,
}

/// What the checkpoint remembers of the run.
#[derive(Serialize, Deserialize)]
struct Notes {
    /// The hash of the batches' data.
    data: String,
    best: Option<(usize, f64)>,
}

/// The files of a run's folder.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn checkpoint(&self) -> PathBuf {
        Run::checkpoint_in(self.0)
    }

    fn best(&self) -> PathBuf {
        self.0.join("best")
    }
}

impl RunOutcome {
    /// What to tell of steps without a gradient, if there were any.
    pub fn without_gradient(&self) -> Option<String> {
        let steps = self.without_gradient;
        let reason = no_gradient(self.lone_queries > 0);
        (steps > 0).then(|| format!("{} had no gradient: {reason}", counted(steps, "step")))
    }
}

impl Run<'_> {
    /// The checkpoint of the run in a folder. There is none before the first multiple of `save_every` steps.
    pub fn checkpoint_in(folder: &Path) -> PathBuf {
        folder.join("checkpoint.safetensors")
    }

    /// The same as [`Run::take_steps`], told as the progress of a stage.
    pub(crate) fn observed(
        &self,
        trainer: &mut Trainer,
        batches: &mut Batches,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<RunOutcome> {
        let num_steps = trainer.settings().schedule.num_steps as u64;
        on(Progress::Begins { what: "training", unit: "step", total: &|| Some(num_steps) });
        self.take_steps(trainer, batches, |report| on(Progress::Step(report)))
    }

    /// Takes the steps that the trainer's schedule has, and leaves in the folder `out`:
    ///
    /// | | |
    /// |---|---|
    /// | `checkpoint.safetensors` | the state after the last multiple of `save_every` steps; a run that finds it goes on from it |
    /// | `log.jsonl` | a [`LogLine`] a step and a measurement |
    /// | `loss.svg` | the same, drawn |
    /// | `best/` | what is trained, when its mean nDCG@10 on the dev sets was highest; not for neuron masks |
    ///
    /// A run that is interrupted and called again ends with the same weights, bit for bit. `observe` is called with
    /// every step.
    ///
    /// # Errors
    ///
    /// The data or the dev sets have a fault. Training diverges; the last checkpoint is kept. The folder holds the
    /// checkpoint of another run. A file cannot be written.
    pub fn take_steps(
        &self,
        trainer: &mut Trainer,
        batches: &mut Batches,
        mut observe: impl FnMut(&StepReport),
    ) -> Result<RunOutcome> {
        let folder = Folder(self.out);
        disk::create_folders(self.out)?;
        // What the batches hold, and how steps are made of them.
        let mut hash = blake3::Hasher::new();
        hash.update(&batches.fingerprint());
        for number in [self.accumulate as u64, self.num_negatives as u64, self.seed] {
            hash.update(&number.to_le_bytes());
        }
        if let Some(teacher) = trainer.teacher() {
            hash.update(teacher);
        }
        let data = hash.finalize().to_hex().to_string();
        let mut best = None;
        if folder.checkpoint().exists() {
            let notes: Notes =
                serde_json::from_str(&trainer.resume(folder.checkpoint())?).map_err(|source| {
                    let path = folder.checkpoint();
                    secateur_encoders::Error::Json { path, source: source.into() }
                })?;
            if notes.data != data {
                return Err(TrainingError::OtherTrainingData { path: folder.checkpoint() }.into());
            }
            best = notes.best;
        }
        let mut log = Log::open(&self.out.join("log.jsonl"), trainer.num_steps())?;
        let num_steps = trainer.settings().schedule.num_steps;
        batches.seek((trainer.num_steps() * self.accumulate) as u64);
        let (mut loss, mut without_gradient, mut lone_queries) = (None, 0, 0);
        while trainer.num_steps() < num_steps {
            let start = Instant::now();
            let parts = (0..self.accumulate)
                .map(|_| {
                    let batch = batches.next().ok_or(TrainingError::NoTrainingData)??;
                    let examples = batch.examples.iter().enumerate();
                    examples
                        .map(|(place, example)| {
                            let seed = [self.seed, batch.number, place as u64];
                            example_of(example, self.num_negatives, &seed, trainer)
                        })
                        .collect()
                })
                .collect::<Result<Vec<Vec<Example>>>>()?;
            let parts: Vec<&[Example]> = parts.iter().map(Vec::as_slice).collect();
            let report = trainer.step(&parts)?;
            loss = Some(report.loss);
            if report.gradient_norm == 0.0 {
                let is_lone = parts.iter().any(|part| is_lone(part));
                if self.strict {
                    return Err(TrainingError::NoGradient { step: report.step, is_lone }.into());
                }
                without_gradient += 1;
                lone_queries += usize::from(is_lone);
            }
            log.add(LogLine::of_step(&report, start.elapsed().as_secs_f64()))?;
            observe(&report);
            let due = |every: usize| report.step % every.max(1) == 0 || report.step == num_steps;
            if due(self.save_every) {
                trainer.check_finite(&parts[0][0])?;
            }
            if !self.dev.is_empty() && due(self.dev_every) {
                let mean = measure_on(trainer, self.dev, &mut log)?;
                if best.is_none_or(|(_, score)| mean > score) {
                    best = Some((report.step, mean));
                    keep_best(trainer, &folder)?;
                }
            }
            if due(self.save_every) {
                let notes = Notes { data: data.clone(), best };
                let notes = serde_json::to_string(&notes).expect("notes can be written as JSON");
                trainer.save(folder.checkpoint(), &notes)?;
                let drawing = log.drawing(&self.out.display().to_string()).to_string();
                Durable::write(&self.out.join("loss.svg"), |out| out.write_all(drawing.as_bytes()))?;
            }
        }
        Ok(RunOutcome { loss, without_gradient, lone_queries, best })
    }
}

/// Whether a batch is one query with nothing but its own passage.
fn is_lone(part: &[Example]) -> bool {
    matches!(part, [example] if example.passages.len() == 1)
}

/// What a step sees of an example.
fn example_of(
    example: &TrainingExample,
    num_negatives: usize,
    seed: &[u64],
    trainer: &Trainer,
) -> Result<Example> {
    let own = trainer.query_prompt();
    if let Some(prompt) = example.prompt.as_deref().filter(|prompt| *prompt != own) {
        return Err(TrainingError::OtherPrompt { found: prompt.to_owned(), expected: own.to_owned() }.into());
    }
    let group = example.group(num_negatives, seed);
    Ok(Example { query: group.query, passages: group.passages, scores: group.scores })
}

/// The mean nDCG@10 over the dev sets.
fn measure_on(trainer: &Trainer, dev: &[(BeirFolder, Option<String>)], log: &mut Log) -> Result<f64> {
    let mut sum = 0.0;
    for (dataset, split) in dev {
        let measured = measure::measure(trainer, dataset, split.as_deref(), &mut |_| ())?;
        sum += measured.ndcg_at_10;
        log.add(LogLine::Dev {
            step: trainer.num_steps(),
            dataset: dataset.name().to_owned(),
            ndcg_at_10: measured.ndcg_at_10,
        })?;
    }
    Ok(sum / dev.len() as f64)
}

/// Replaces the best model so far by the present one. A slimming run has no best model: its mask only makes sense at
/// the end.
fn keep_best(trainer: &Trainer, folder: &Folder<'_>) -> Result<()> {
    if trainer.is_slimming() {
        return Ok(());
    }
    let best = folder.best();
    let [new, old] = [".new", ".old"].map(|end| secateur_files::with_suffix(&best, end));
    disk::remove_if_there(&new)?;
    disk::remove_if_there(&old)?;
    trainer.write(&new)?;
    if best.exists() {
        disk::rename(&best, &old)?;
    }
    disk::rename(&new, &best)?;
    disk::sync_name(&best)?;
    Ok(disk::remove_if_there(&old)?)
}
