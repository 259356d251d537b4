//! A step: forward, loss, backward, update.

use super::optimizer::Moments;
use super::settings::{TrainSettings, Trained};
use super::texts::Texts;
use crate::compute::backward::Backward;
use crate::compute::numbers::Numbers;
use crate::compute::tape::{Dropout, Gradients, Parameter};
use crate::contrastive::engine::Engine;
use crate::contrastive::loss::LossValue;
use crate::error::{Error, Result};
use crate::random::named;

/// What a step changes, and all that a run needs to go on. There is no state of random numbers: each is drawn from
/// the seed and the number of the step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrainState<N> {
    pub(super) parameters: Vec<Parameter<N>>,
    /// The optimizer's, with the number of steps taken.
    pub(super) moments: Moments<N>,
    pub(super) watch: Watch,
}

impl<N: Numbers> TrainState<N> {
    pub(super) fn new(memory: &N::Memory, parameters: Vec<Parameter>) -> Result<TrainState<N>> {
        let there = |Parameter { name, shape, values, decays }| -> Result<Parameter<N>> {
            Ok(Parameter { name, shape, values: N::new(memory, values)?, decays })
        };
        let parameters: Vec<Parameter<N>> = parameters.into_iter().map(there).collect::<Result<_>>()?;
        Ok(TrainState { moments: Moments::new(memory, &parameters)?, watch: Watch::default(), parameters })
    }

    /// What is trained.
    pub(super) fn parameters(&self) -> &[Parameter<N>] {
        &self.parameters
    }
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
    /// How far the vectors are from the teacher's, where there was one and it was asked for.
    pub alignment: Option<f64>,
    /// The length of the gradient before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Tokens that were computed.
    pub num_tokens: usize,
}

impl StepReport {
    fn new(step: usize, settings: &TrainSettings) -> StepReport {
        StepReport {
            step,
            loss: 0.0,
            contrastive: 0.0,
            distillation: None,
            alignment: None,
            gradient_norm: 0.0,
            learning_rate: settings.optimizer.learning_rate * settings.schedule.factor(step - 1),
            num_tokens: 0,
        }
    }

    /// Adds a batch's share.
    fn add(&mut self, loss: &LossValue, share: f64, texts: &Texts) {
        self.loss += share * loss.total;
        self.contrastive += share * loss.contrastive;
        for (sum, one) in [(&mut self.distillation, loss.distillation), (&mut self.alignment, loss.alignment)]
        {
            if let Some(one) = one {
                *sum.get_or_insert(0.0) += share * one;
            }
        }
        self.num_tokens += texts.tokens.iter().map(Vec::len).sum::<usize>();
    }
}

/// The smoothed loss, to notice a run that diverges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Watch {
    pub(super) smoothed: f64,
    pub(super) lowest: f64,
}

impl Watch {
    /// Records a loss. Returns whether the run has diverged. A run has diverged if the mean over some 50 steps is above
    /// twice the lowest such mean, and at least a nat above that.
    pub(super) fn diverges(&mut self, step: usize, loss: f64) -> bool {
        const FORGET: f64 = 0.02;
        // The mean over the steps there are, until there are enough.
        let weight = FORGET.max(1.0 / step as f64);
        self.smoothed += weight * (loss - self.smoothed);
        self.lowest = if step == 1 { self.smoothed } else { self.lowest.min(self.smoothed) };
        step as f64 * FORGET > 1.0 && self.smoothed > 2.0 * self.lowest.max(0.0) + 1.0
    }
}

/// Takes a step: the mean of the losses of `batches`, whose queries are compared within their own batch alone. Each
/// batch is read when it is its turn.
///
/// # Errors
///
/// [`Error::Diverged`], after which nothing has changed; what the engine fails with.
pub(super) fn step<B: Backward>(
    state: &mut TrainState<B::Numbers>,
    engine: &mut Engine<B>,
    settings: &TrainSettings,
    batches: impl ExactSizeIterator<Item = Result<Texts>>,
) -> Result<StepReport> {
    let mut report = StepReport::new(state.moments.steps + 1, settings);
    let mut gradients = engine.zero_gradients();
    let share = 1.0 / batches.len() as f64;
    for (number, texts) in batches.enumerate() {
        let texts = texts?;
        let loss = accumulate(engine, settings, &texts, (report.step, number), share as f32, &mut gradients)?;
        report.add(&loss, share, &texts);
    }
    if let Trained::Slim(slim) = settings.trained {
        report.loss += slim.penalty(&state.parameters, &mut gradients)?;
    }
    // What takes no part in the loss would stay as it is without a word.
    assert!(gradients.iter().all(|gradient| gradient.is_some()), "every trained array has a gradient");
    report.gradient_norm = gradients.norm()?;

    let mut watch = state.watch;
    let finite = report.loss.is_finite() && report.gradient_norm.is_finite();
    if !finite || watch.diverges(report.step, report.loss) {
        let lowest = state.watch.lowest;
        return Err(Error::Diverged { step: report.step, loss: report.loss, lowest });
    }
    state.watch = watch;
    let limit = settings.optimizer.max_gradient_norm;
    // As torch.nn.utils.clip_grad_norm_ divides.
    let clipped = report.gradient_norm > limit;
    let scale = if clipped { (limit / (report.gradient_norm + 1e-6)) as f32 } else { 1.0 };
    let TrainState { parameters, moments, .. } = state;
    settings.optimizer.step((report.learning_rate, scale), parameters, &gradients, moments)?;
    engine.put_back(gradients)?;
    engine.model.refresh(&state.parameters)?;
    Ok(report)
}

/// The loss of one batch, whose gradients times `share` are added to `gradients`; `seed` is the number of the step
/// and of the batch.
pub(super) fn accumulate<B: Backward>(
    engine: &Engine<B>,
    settings: &TrainSettings,
    texts: &Texts,
    seed: (usize, usize),
    share: f32,
    gradients: &mut Gradients<B::Numbers>,
) -> Result<LossValue> {
    let dropout = |part| {
        let name = format!("dropout {} {} {part}", seed.0, seed.1);
        Dropout { seed: Some(named(settings.seed, &name).bits()) }
    };
    let forward = engine.forward(texts.kinds(), dropout)?;
    let dim = engine.model.architecture().hidden_size;
    let (queries, passages) = forward.vectors.split_at(texts.num_queries * dim);
    let loss = settings.loss.of(queries, passages, dim, &texts.targets, texts.teacher.as_deref());
    let slopes: Vec<f32> = loss.of_queries.iter().chain(&loss.of_passages).map(|x| x * share).collect();
    engine.backward(forward, &slopes, gradients)?;
    Ok(loss)
}
