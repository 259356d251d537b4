//! A step: vectors, loss, gradients, and what the parameters become.

use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::loss::LossValue;
use super::parts::even_parts;
use super::pass::{Keep, MicroBatch, Pass};
use super::settings::Trained;
use super::texts::{Example, Texts};
use super::trainer::Trainer;
use crate::compute::Spans;
use crate::compute::cpu::Cpu;
use crate::compute::tape::{Dropout, Gradients};
use crate::encoder::TextKind;
use crate::error::{Error, Result};
use crate::random::Random;

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
    /// How far the vectors are from the teacher's, where there was one and it was asked for.
    pub alignment: Option<f64>,
    /// The length of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Tokens that were computed.
    pub num_tokens: usize,
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
    pub(super) fn diverges(&mut self, step: usize, loss: f64) -> bool {
        const FORGET: f64 = 0.02;
        // The mean over the steps there are, until there are enough.
        let weight = FORGET.max(1.0 / step as f64);
        self.smoothed += weight * (loss - self.smoothed);
        self.lowest = if step == 1 { self.smoothed } else { self.lowest.min(self.smoothed) };
        step as f64 * FORGET > 1.0 && self.smoothed > 2.0 * self.lowest.max(0.0) + 1.0
    }
}

impl Trainer {
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
            alignment: None,
            gradient_norm: 0.0,
            learning_rate: self.settings.optimizer.learning_rate * self.settings.schedule.factor(step - 1),
            num_tokens: 0,
        };
        let share = 1.0 / batches.len() as f64;
        for (number, batch) in batches.iter().enumerate() {
            let (value, num_tokens) = self.batch(step, number, batch, share as f32)?;
            report.loss += share * value.total;
            report.contrastive += share * value.contrastive;
            for (sum, one) in
                [(&mut report.distillation, value.distillation), (&mut report.alignment, value.alignment)]
            {
                if let Some(one) = one {
                    *sum.get_or_insert(0.0) += share * one;
                }
            }
            report.num_tokens += num_tokens;
        }
        if let Trained::Gates(gates) = self.settings.trained {
            report.loss += gates.penalty(&self.parameters, &mut self.gradients);
        }
        // What takes no part in the loss would stay as it is without a word.
        assert!(
            self.gradients.iter().all(|gradient| gradient.is_some()),
            "every trained array has a gradient"
        );
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
    pub(super) fn batch(
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
        let mut value =
            self.settings.loss.of(queries, passages, dim, &texts.targets, texts.teacher.as_deref());
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
        let texts = Texts { tokens, num_queries, targets: Vec::new(), teacher: None };
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

    /// Texts in parts that one thread computes. Queries and passages are kept apart: a mean may leave out another number of
    /// tokens of each.
    fn micro_batches(&self, texts: &Texts, training: Option<(usize, usize)>) -> Vec<MicroBatch> {
        let (queries, passages) = texts.tokens.split_at(texts.num_queries);
        let kinds = [(0, queries, 0), (1, passages, texts.num_queries)];
        let num_tokens = kinds.map(|(_, tokens, _)| tokens.iter().map(Vec::len).sum::<usize>());
        let num_parts = self.settings.num_parts(num_tokens);
        let mut micro = Vec::new();
        for ((kind, tokens, first), num_parts) in kinds.into_iter().zip(num_parts) {
            for part in even_parts(tokens, num_parts) {
                let dropout = Dropout {
                    seed: training.map(|(step, number)| {
                        let name = format!("dropout {step} {number} {}", micro.len());
                        Random::new(self.settings.seed, &name).bits()
                    }),
                };
                micro.push(MicroBatch {
                    ids: part.iter().flat_map(|text| &tokens[*text]).copied().collect(),
                    spans: Spans::from_lengths(part.iter().map(|text| tokens[*text].len())),
                    texts: part.into_iter().map(|text| first + text).collect(),
                    skipped: self.skipped[kind],
                    dropout,
                });
            }
        }
        micro
    }

    fn take(&self, parallel: bool) -> Cpu {
        let new = || {
            let fused = if parallel { Cpu::parallel() } else { Cpu::serial() };
            fused.with_pool(Arc::clone(&self.pool))
        };
        if parallel {
            return new();
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(new)
    }

    fn give_back(&self, fused: Cpu, parallel: bool) {
        if !parallel {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(fused);
        }
    }

    /// The results of all micro-batches in their order: each on a thread of its own, or each operation on all threads.
    fn side_by_side<R: Send>(
        &self,
        micro: &[MicroBatch],
        parallel: bool,
        compute: impl Fn(&MicroBatch, Cpu) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let one = |batch: &MicroBatch| compute(batch, self.take(parallel));
        if parallel { micro.iter().map(one).collect() } else { micro.par_iter().map(one).collect() }
    }
}
