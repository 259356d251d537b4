//! A model in training: steps, vectors on the way, and what it has become.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::gates::Gates;
use super::lora::{self, Lora};
use super::loss::{LossValue, Target};
use super::optimizer::Moments;
use super::pass::{Keep, MicroBatch, Pass};
use super::random::Random;
use super::settings::{TrainSettings, Trained};
use crate::checkpoint::Checkpoint;
use crate::device::batches;
use crate::encoder::{Encoder, LoadOptions, TextKind};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::loaded::{Loaded, name_of};
use crate::model::{AdapterShape, Architecture, NeuronAxis, Transformer};
use crate::ops::Spans;
use crate::ops::fused::Fused;
use crate::ops::recorded::{Dropout, Gradients, Parameter, Recorded, Sizes, sizes};
use crate::prune::{ModelDirectory, NeuronMask, NeuronScores};
use crate::tokenize::Tokenizer;

/// A query and the passages that it is compared with, apart from those of the other queries of its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The query.
    pub query: String,
    /// The passage that answers it, then passages that do not.
    pub passages: Vec<String>,
    /// A teacher's score of each passage; higher is better.
    pub scores: Option<Vec<f32>>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The step, counted from 1.
    pub step: usize,
    /// What was minimized.
    pub loss: f64,
    /// InfoNCE.
    pub contrastive: f64,
    /// The distance to the teacher, where there was one.
    pub distillation: Option<f64>,
    /// The length of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Tokens that were computed.
    pub num_tokens: usize,
}

/// A model in training, on the CPU in f32.
///
/// ```no_run
/// use secateur_encoders::train::{Example, Lora, TrainSettings, Trained, Trainer};
/// let settings = TrainSettings::new(Trained::Lora(Lora::default()), 100);
/// let mut trainer = Trainer::load("models/all-MiniLM-L6-v2".as_ref(), settings)?;
/// let example = |query: &str, answer: &str| Example {
///     query: query.to_owned(),
///     passages: vec![answer.to_owned()],
///     scores: None,
/// };
/// let batch = [example("When are roses pruned?", "In late winter."), example("Is rye a grass?", "It is.")];
/// let report = trainer.step(&[&batch])?;
/// println!("{} {}", report.step, report.loss);
/// trainer.write("roses".as_ref())?;
/// # Ok::<(), secateur_encoders::Error>(())
/// ```
pub struct Trainer {
    pub(super) directory: PathBuf,
    pub(super) settings: TrainSettings,
    pub(super) loaded: Loaded,
    pub(super) fingerprint: Fingerprint,
    /// Of queries and of passages, which may be cut to different lengths.
    tokenizers: [Tokenizer; 2],
    /// Tokens at the beginning of a query and of a passage that a mean leaves out.
    skipped: [usize; 2],
    model: Transformer<Recorded>,
    pub(super) parameters: Vec<Parameter>,
    sizes: Sizes,
    pub(super) moments: Moments,
    gradients: Gradients,
    teacher: Option<Encoder>,
    /// Operations that are free for use, with their memory.
    free: Mutex<Vec<Fused>>,
    /// Gradients of parts of a batch, zero, for their memory.
    spare: Mutex<Vec<Gradients>>,
    pub(super) watch: Watch,
}

/// The smoothed loss, to notice a run that diverges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Watch {
    pub(super) smoothed: f64,
    pub(super) lowest: f64,
}

impl Watch {
    /// Takes note of a loss; whether the run has diverged: its mean over some 50 steps is above twice the lowest such mean, and
    /// a nat above it.
    fn diverges(&mut self, step: usize, loss: f64) -> bool {
        const FORGET: f64 = 0.02;
        // The mean over the steps there are, until there are enough.
        let weight = FORGET.max(1.0 / step as f64);
        self.smoothed += weight * (loss - self.smoothed);
        self.lowest = if step == 1 { self.smoothed } else { self.lowest.min(self.smoothed) };
        step as f64 * FORGET > 1.0 && self.smoothed > 2.0 * self.lowest.max(0.0) + 1.0
    }
}

/// Texts of a step, in the order in which the loss sees their vectors.
struct Texts {
    /// Of the queries, then of the passages.
    tokens: Vec<Vec<u32>>,
    num_queries: usize,
    targets: Vec<Target>,
}

impl Trainer {
    /// Loads a model to be trained.
    ///
    /// # Errors
    ///
    /// As loading an encoder; a setting is out of its range; the directory is an adapter's, which has to be merged first; all
    /// of a quantized model is to be trained; no layer has the name of a target.
    pub fn load(directory: &Path, settings: TrainSettings) -> Result<Trainer> {
        Trainer::load_with(directory, settings, &LoadOptions::default())
    }

    /// The same, where the directory's word on pooling, prompts and quantization is not the last.
    ///
    /// # Errors
    ///
    /// As [`Trainer::load`].
    pub fn load_with(directory: &Path, settings: TrainSettings, options: &LoadOptions) -> Result<Trainer> {
        settings.check()?;
        let loaded = Loaded::open(directory, options)?;
        let Loaded { files, settings: encoding, checkpoint, architecture, .. } = &loaded;
        if files.adapter().is_some() {
            return Err(Error::AdapterToTrain { path: directory.to_owned() });
        }
        let fingerprint = Fingerprint::of(files, checkpoint, encoding)?;
        let tokenizer = |limit: Option<usize>| {
            let length = limit.unwrap_or(encoding.max_length).min(encoding.max_length);
            Tokenizer::load(files.tokenizer(), length, architecture.vocab_size, encoding.lower_case)
        };
        let tokenizers = [tokenizer(settings.query_max_length)?, tokenizer(settings.passage_max_length)?];
        let skipped = if encoding.pool_prompt {
            [0, 0]
        } else {
            [
                tokenizers[0].prompt_tokens(&encoding.query_prompt)?,
                tokenizers[1].prompt_tokens(&encoding.passage_prompt)?,
            ]
        };
        let ops = Recorded::forward_only(Fused::serial());
        let mut model = Transformer::load(&ops, architecture.clone(), checkpoint)?;
        let mut parameters = match &settings.trained {
            Trained::Lora(lora) => {
                let parameters = lora.parameters(architecture, settings.seed)?;
                let Lora { rank, dropout, .. } = *lora;
                let shape = AdapterShape { rank, scale: lora.scale(), dropout: dropout as f32 };
                model.train_adapters(&parameters, shape);
                parameters
            }
            Trained::Full => {
                let parameters = all_tensors(directory, checkpoint, architecture)?;
                model.train_all(&parameters);
                parameters
            }
            Trained::Gates(_) => {
                model.train_gates();
                Gates::parameters(architecture)
            }
        };
        // A masked model stays masked: its zeros get no gradient where the mask multiplies the neurons.
        if !matches!(settings.trained, Trained::Gates(_))
            && let Some(mask) = ModelDirectory::open(directory)?.mask_if_there()?
        {
            keep_masked(&mut parameters, &mask, architecture);
            model.mask_neurons(mask.factors());
        }
        let sizes = sizes(&parameters);
        let mut trainer = Trainer {
            directory: directory.to_owned(),
            fingerprint,
            tokenizers,
            skipped,
            model,
            moments: Moments::new(&parameters),
            gradients: Gradients::new(&sizes),
            sizes,
            parameters,
            settings,
            loaded,
            teacher: None,
            free: Mutex::default(),
            spare: Mutex::default(),
            watch: Watch::default(),
        };
        trainer.refresh();
        Ok(trainer)
    }

    /// Distils from an encoder, too: for every query its cosines with all passages of the batch are the teacher's scores, in
    /// place of those that the examples bring. The teacher reads whole texts, with its own prompts.
    #[must_use]
    pub fn with_teacher(self, teacher: Encoder) -> Trainer {
        Trainer { teacher: Some(teacher), ..self }
    }

    /// What it was told.
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// What is put before every query.
    pub fn query_prompt(&self) -> &str {
        &self.loaded.settings.query_prompt
    }

    /// Whether it is gates that are trained.
    pub fn trains_gates(&self) -> bool {
        matches!(self.settings.trained, Trained::Gates(_))
    }

    /// The steps that were taken.
    pub fn num_steps(&self) -> usize {
        self.moments.steps
    }

    /// Numbers that are trained.
    pub fn num_trained(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.values.len()).sum()
    }

    /// What the model looks like.
    pub fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    /// The model's layers take over what the parameters have become.
    pub(super) fn refresh(&mut self) {
        self.model.refresh(&self.parameters);
    }

    /// Takes a step: the mean of the losses of `batches`, whose queries are compared within their own batch alone
    /// (gradient accumulation where there are several). The result depends on the examples and the seed, not on the number of
    /// threads.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`], after which the parameters are those of the step before; the tokenizer refuses a text.
    ///
    /// # Panics
    ///
    /// If there is no batch, a batch has no example, an example has no passage, or another number of scores than passages.
    pub fn step(&mut self, batches: &[&[Example]]) -> Result<StepReport> {
        assert!(!batches.is_empty() && batches.iter().all(|batch| !batch.is_empty()), "a step has examples");
        let step = self.moments.steps + 1;
        self.gradients.clear();
        let mut report = StepReport {
            step,
            loss: 0.0,
            contrastive: 0.0,
            distillation: None,
            gradient_norm: 0.0,
            learning_rate: self.settings.optimizer.learning_rate * self.settings.schedule.factor(step - 1),
            num_tokens: 0,
        };
        let share = 1.0 / batches.len() as f64;
        for (number, batch) in batches.iter().enumerate() {
            let (value, num_tokens) = self.batch(step, number, batch, share as f32)?;
            report.loss += share * value.total;
            report.contrastive += share * value.contrastive;
            if let Some(distillation) = value.distillation {
                *report.distillation.get_or_insert(0.0) += share * distillation;
            }
            report.num_tokens += num_tokens;
        }
        if let Trained::Gates(gates) = self.settings.trained {
            report.loss += gates.penalty(&self.parameters, &mut self.gradients);
        }
        report.gradient_norm = self.gradients.norm();
        let mut watch = self.watch;
        let finite = report.loss.is_finite() && report.gradient_norm.is_finite();
        if !finite || watch.diverges(step, report.loss) {
            return Err(Error::Diverged { step, loss: report.loss, lowest: self.watch.lowest });
        }
        self.watch = watch;
        let limit = self.settings.optimizer.max_gradient_norm;
        if report.gradient_norm > limit {
            // As torch.nn.utils.clip_grad_norm_ divides.
            self.gradients.scale((limit / (report.gradient_norm + 1e-6)) as f32);
        }
        let (parameters, moments) = (&mut self.parameters, &mut self.moments);
        self.settings.optimizer.step(report.learning_rate, parameters, &self.gradients, moments);
        self.refresh();
        Ok(report)
    }

    /// Adds the gradients of one batch times `share` to those of the step; the loss and the tokens.
    fn batch(
        &mut self,
        step: usize,
        number: usize,
        examples: &[Example],
        share: f32,
    ) -> Result<(LossValue, usize)> {
        let texts = self.texts(examples)?;
        let micro = self.micro_batches(&texts, Some((step, number)));
        let keep = if self.settings.recompute { Keep::Layers } else { Keep::Operations };
        let mut passes: Vec<Option<Pass>> = Vec::new();
        let mut computed: Vec<Vec<f32>> = Vec::new();
        let parallel = micro.len() < rayon::current_num_threads();
        let first = if self.settings.gradient_cache { Keep::Nothing } else { keep };
        for result in self.side_by_side(&micro, parallel, |batch, fused| {
            let (vectors, pass) = batch.forward(&self.model, self.loaded.settings.pooling, fused, first)?;
            Ok(match first {
                Keep::Nothing => {
                    self.give_back(pass.into_fused(), parallel);
                    (vectors, None)
                }
                _ => (vectors, Some(pass)),
            })
        })? {
            computed.push(result.0);
            passes.push(result.1);
        }
        let dim = self.architecture().hidden_size;
        let mut vectors = vec![0.0; texts.tokens.len() * dim];
        for (batch, computed) in micro.iter().zip(&computed) {
            for (text, vector) in batch.texts.iter().zip(computed.chunks_exact(dim)) {
                vectors[text * dim..(text + 1) * dim].copy_from_slice(vector);
            }
        }
        let (queries, passages) = vectors.split_at(texts.num_queries * dim);
        let mut value = self.settings.loss.of(queries, passages, dim, &texts.targets);
        for slope in value.of_queries.iter_mut().chain(&mut value.of_passages) {
            *slope *= share;
        }

        let slope = |text: usize| match text.checked_sub(texts.num_queries) {
            None => &value.of_queries[text * dim..(text + 1) * dim],
            Some(passage) => &value.of_passages[passage * dim..(passage + 1) * dim],
        };
        // As many at a time as there are threads, so that so many gradients are in memory; they are added in order.
        let round = if parallel { 1 } else { rayon::current_num_threads() };
        let mut gradients = std::mem::replace(&mut self.gradients, Gradients::new(&self.sizes));
        for start in (0..micro.len()).step_by(round) {
            let end = (start + round).min(micro.len());
            let kept: Vec<(&MicroBatch, Mutex<Option<Pass>>)> =
                (start..end).map(|i| (&micro[i], Mutex::new(passes[i].take()))).collect();
            let back = |(batch, pass): &(&MicroBatch, Mutex<Option<Pass>>)| -> Result<Gradients> {
                let pooling = self.loaded.settings.pooling;
                let pass = pass.lock().unwrap_or_else(PoisonError::into_inner).take();
                let pass = match pass {
                    Some(pass) => pass,
                    None => batch.forward(&self.model, pooling, self.take(parallel), keep)?.1,
                };
                let slopes: Vec<f32> = batch.texts.iter().flat_map(|text| slope(*text)).copied().collect();
                let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut gradients = spare.unwrap_or_else(|| Gradients::new(&self.sizes));
                let fused = batch.backward(&self.model, pooling, pass, &slopes, &mut gradients)?;
                self.give_back(fused, parallel);
                Ok(gradients)
            };
            let round: Vec<Gradients> = if parallel {
                kept.iter().map(back).collect::<Result<_>>()?
            } else {
                kept.par_iter().map(back).collect::<Result<_>>()?
            };
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            for mut one in round {
                gradients.take_from(&mut one);
                spare.push(one);
            }
        }
        self.gradients = gradients;
        Ok((value, texts.tokens.iter().map(Vec::len).sum()))
    }

    /// Unit vectors of texts as the model now is: (B) -> (B, D), row-major, in the order given.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text.
    pub fn encode(&self, texts: &[&str], kind: TextKind) -> Result<Vec<f32>> {
        let tokens: Vec<Vec<u32>> =
            texts.par_iter().map(|text| self.tokenize(text, kind)).collect::<Result<_>>()?;
        let num_queries = if kind == TextKind::Query { tokens.len() } else { 0 };
        let texts = Texts { tokens, num_queries, targets: Vec::new() };
        let micro = self.micro_batches(&texts, None);
        let dim = self.architecture().hidden_size;
        let parallel = micro.len() < rayon::current_num_threads();
        let computed = self.side_by_side(&micro, parallel, |batch, fused| {
            let pooling = self.loaded.settings.pooling;
            let (vectors, pass) = batch.forward(&self.model, pooling, fused, Keep::Nothing)?;
            self.give_back(pass.into_fused(), parallel);
            Ok(vectors)
        })?;
        let mut out = vec![0.0; texts.tokens.len() * dim];
        for (batch, computed) in micro.iter().zip(&computed) {
            for (text, vector) in batch.texts.iter().zip(computed.chunks_exact(dim)) {
                out[text * dim..(text + 1) * dim].copy_from_slice(vector);
            }
        }
        crate::pooling::normalize(&mut out, dim);
        Ok(out)
    }

    /// The gates as scores of the neurons they stand before.
    ///
    /// # Panics
    ///
    /// If it is not gates that are trained.
    pub fn neuron_scores(&self) -> NeuronScores {
        assert!(self.trains_gates(), "gates are trained");
        let mut gates = self.parameters.iter();
        let layers = self.architecture().layers.iter().map(|layer| {
            layer.intermediate_size?;
            gates.next().map(|gates| gates.values.iter().map(|z| f64::from(*z)).collect())
        });
        NeuronScores {
            layers: layers.collect(),
            model: name_of(&self.directory),
            fingerprint: self.fingerprint,
        }
    }

    fn tokenize(&self, text: &str, kind: TextKind) -> Result<Vec<u32>> {
        let encoding = &self.loaded.settings;
        let (tokenizer, prompt) = match kind {
            TextKind::Query => (&self.tokenizers[0], &encoding.query_prompt),
            TextKind::Passage => (&self.tokenizers[1], &encoding.passage_prompt),
        };
        tokenizer.encode(&format!("{prompt}{text}"))
    }

    /// The texts of a batch and what the loss wants of them.
    fn texts(&self, examples: &[Example]) -> Result<Texts> {
        let mut all: Vec<(&str, TextKind)> =
            examples.iter().map(|example| (&example.query[..], TextKind::Query)).collect();
        let mut targets = Vec::with_capacity(examples.len());
        // Passages by text, to know one again.
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut num_passages = 0;
        for example in examples {
            assert!(!example.passages.is_empty(), "an example has a passage that answers it");
            let scores = example.scores.as_ref();
            assert!(scores.is_none_or(|s| s.len() == example.passages.len()), "every passage has a score");
            // Of one passage there is no ranking to learn.
            let scored = scores.filter(|scores| scores.len() > 1).into_iter().flatten().enumerate();
            let teacher = scored.map(|(j, score)| (num_passages + j, f64::from(*score))).collect();
            targets.push(Target { positive: num_passages, ignored: Vec::new(), teacher });
            for passage in &example.passages {
                all.push((passage, TextKind::Passage));
                places.entry(passage).or_default().push(num_passages);
                num_passages += 1;
            }
        }
        // What is the same text as the positive answers the query too, and so does the positive of the same query.
        for (example, i) in examples.iter().zip(0..) {
            let same =
                examples.iter().enumerate().filter(|(j, other)| *j != i && other.query == example.query);
            let positives: Vec<&str> =
                same.map(|(_, other)| &other.passages[0][..]).chain([&example.passages[0][..]]).collect();
            let own = targets[i].positive;
            let mut ignored: Vec<usize> =
                positives.iter().flat_map(|text| &places[text]).copied().filter(|j| *j != own).collect();
            ignored.sort_unstable();
            ignored.dedup();
            targets[i].ignored = ignored;
        }
        if let Some(teacher) = &self.teacher {
            self.teach(teacher, &all, examples.len(), &mut targets)?;
        }
        let tokens = all.par_iter().map(|(text, kind)| self.tokenize(text, *kind)).collect::<Result<_>>()?;
        Ok(Texts { tokens, num_queries: examples.len(), targets })
    }

    /// A teacher's cosines of each query with all passages.
    fn teach(
        &self,
        teacher: &Encoder,
        all: &[(&str, TextKind)],
        num_queries: usize,
        targets: &mut [Target],
    ) -> Result<()> {
        let texts: Vec<&str> = all.iter().map(|(text, _)| *text).collect();
        let (queries, passages) = texts.split_at(num_queries);
        let dim = teacher.dim();
        let queries = teacher.encode(queries, TextKind::Query)?;
        let passages = teacher.encode(passages, TextKind::Passage)?;
        for (target, query) in targets.iter_mut().zip(queries.chunks_exact(dim)) {
            let scores = passages.chunks_exact(dim).map(|passage| {
                let products = passage.iter().zip(query).map(|(p, q)| f64::from(*p) * f64::from(*q));
                products.sum::<f64>()
            });
            target.teacher = scores.enumerate().collect();
        }
        Ok(())
    }

    /// Texts in parts that one thread computes. Queries and passages are kept apart: a mean may leave out another number of
    /// tokens of each.
    fn micro_batches(&self, texts: &Texts, training: Option<(usize, usize)>) -> Vec<MicroBatch> {
        let (queries, passages) = texts.tokens.split_at(texts.num_queries);
        let mut micro = Vec::new();
        for (kind, tokens, first) in [(0, queries, 0), (1, passages, texts.num_queries)] {
            for batch in batches(tokens, self.settings.batch_tokens) {
                let dropout = Dropout {
                    seed: training.map(|(step, number)| {
                        let name = format!("dropout {step} {number} {}", micro.len());
                        Random::new(self.settings.seed, &name).bits()
                    }),
                };
                micro.push(MicroBatch {
                    ids: batch.iter().flat_map(|text| &tokens[*text]).copied().collect(),
                    spans: Spans::from_lengths(batch.iter().map(|text| tokens[*text].len())),
                    texts: batch.into_iter().map(|text| first + text).collect(),
                    skipped: self.skipped[kind],
                    dropout,
                });
            }
        }
        micro
    }

    fn take(&self, parallel: bool) -> Fused {
        if parallel {
            return Fused::parallel();
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(Fused::serial)
    }

    fn give_back(&self, fused: Fused, parallel: bool) {
        if !parallel {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(fused);
        }
    }

    /// The results of all micro-batches in their order: each on a thread of its own, or each operation on all threads.
    fn side_by_side<R: Send>(
        &self,
        micro: &[MicroBatch],
        parallel: bool,
        compute: impl Fn(&MicroBatch, Fused) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let one = |batch: &MicroBatch| compute(batch, self.take(parallel));
        if parallel { micro.iter().map(one).collect() } else { micro.par_iter().map(one).collect() }
    }
}

/// What low-rank additions would give to masked neurons, which get no gradient, begins and stays at zero: that what they
/// are merged into stays masked, too. B is zero already; A of the output layers is not.
fn keep_masked(parameters: &mut [Parameter], mask: &NeuronMask, architecture: &Architecture) {
    for (layer, mlp) in mask.layers.iter().enumerate() {
        let Some(mlp) = mlp else { continue };
        for (tensor, _) in
            architecture.mlp_tensors(layer).iter().filter(|(_, axis)| *axis == NeuronAxis::Columns)
        {
            let name = tensor.strip_suffix(".weight").unwrap_or(tensor).to_owned() + lora::A;
            let Some(parameter) = parameters.iter_mut().find(|parameter| parameter.name == name) else {
                continue;
            };
            for row in parameter.values.chunks_exact_mut(mlp.width) {
                mlp.masked.iter().for_each(|neuron| row[*neuron] = 0.0);
            }
        }
    }
}

/// Every tensor of the transformer as a parameter, in f32.
fn all_tensors(
    directory: &Path,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Vec<Parameter>> {
    if crate::quantize::stored::is_quantized(checkpoint) || checkpoint.quantization().is_some() {
        return Err(Error::QuantizedToTrain { path: directory.to_owned() });
    }
    let stored: HashMap<&str, &str> =
        checkpoint.iter().map(|tensor| (architecture.bare_name(tensor.name), tensor.name)).collect();
    let tensors = architecture.tensors().into_iter().map(|tensor| {
        let name = stored.get(tensor.name.as_str()).copied().unwrap_or(&tensor.name);
        let values = checkpoint.merged(name, &tensor.shape)?.into_owned();
        let decays = tensor.shape.len() > 1;
        Ok(Parameter { name: tensor.name, shape: tensor.shape, values, decays })
    });
    tensors.collect()
}

#[cfg(test)]
mod tests;
