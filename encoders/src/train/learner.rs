//! A model in training on a backend, with the state of its training there.

use std::borrow::Cow;
use std::path::Path;

use super::settings::TrainSettings;
use super::state;
use super::step::{StepReport, TrainState, step};
use super::texts::Texts;
use crate::architecture::Architecture;
use crate::compute::backward::Backward;
use crate::compute::numbers::Numbers;
use crate::compute::tape::Parameter;
use crate::contrastive::engine::{Engine, TokenLists};
use crate::error::Result;
use crate::fingerprint::Fingerprint;

/// A model on a backend, what is trained of it, and the optimizer's means.
pub(crate) struct Learner<B: Backward> {
    engine: Engine<B>,
    state: TrainState<B::Numbers>,
}

impl<B: Backward> Learner<B> {
    /// A model that begins with these parameters.
    pub(crate) fn new(mut engine: Engine<B>, parameters: Vec<Parameter>) -> Result<Learner<B>> {
        let state = TrainState::new(engine.numbers(), parameters)?;
        engine.model.refresh(state.parameters())?;
        Ok(Learner { engine, state })
    }
}

/// What a trainer asks of a learner, whatever computes.
pub(crate) trait Learning: Send + Sync {
    /// What the model looks like.
    fn architecture(&self) -> &Architecture;
    /// The steps that were taken.
    fn num_steps(&self) -> usize;
    /// Numbers that are trained.
    fn num_trained(&self) -> usize;
    /// Takes a step.
    fn step(
        &mut self,
        settings: &TrainSettings,
        batches: &mut dyn ExactSizeIterator<Item = Result<Texts>>,
    ) -> Result<StepReport>;
    /// Vectors as the model now is, not scaled.
    fn vectors(&self, texts: TokenLists<'_>) -> Result<Vec<f32>>;
    /// What is trained, as it now is.
    fn parameters(&self) -> Result<Vec<Parameter<Cow<'_, [f32]>>>>;
    /// Writes what [`Learning::resume`] needs.
    fn save(
        &self,
        path: &Path,
        settings: &TrainSettings,
        fingerprint: Fingerprint,
        notes: &str,
    ) -> Result<()>;
    /// Continues from what was written; gives back the notes.
    fn resume(
        &mut self,
        path: &Path,
        settings: &TrainSettings,
        model: (&Path, Fingerprint),
    ) -> Result<String>;
    /// The loss of a batch and its gradients, for tests.
    #[cfg(test)]
    fn gradients(
        &self,
        settings: &TrainSettings,
        texts: &Texts,
    ) -> Result<(crate::contrastive::loss::LossValue, Vec<Option<Vec<f32>>>)>;
    /// Trains other numbers, for tests.
    #[cfg(test)]
    fn replace(&mut self, values: Vec<Vec<f32>>) -> Result<()>;
}

impl<B: Backward> Learning for Learner<B> {
    fn architecture(&self) -> &Architecture {
        self.engine.model.architecture()
    }

    fn num_steps(&self) -> usize {
        self.state.moments.steps
    }

    fn num_trained(&self) -> usize {
        self.state.parameters().iter().map(|parameter| parameter.values.len()).sum()
    }

    fn step(
        &mut self,
        settings: &TrainSettings,
        batches: &mut dyn ExactSizeIterator<Item = Result<Texts>>,
    ) -> Result<StepReport> {
        step(&mut self.state, &mut self.engine, settings, batches)
    }

    fn vectors(&self, texts: TokenLists<'_>) -> Result<Vec<f32>> {
        self.engine.vectors(texts)
    }

    fn parameters(&self) -> Result<Vec<Parameter<Cow<'_, [f32]>>>> {
        let parameters = self.state.parameters().iter();
        parameters.map(|parameter| Ok(parameter.with(parameter.values.read()?))).collect()
    }

    fn save(
        &self,
        path: &Path,
        settings: &TrainSettings,
        fingerprint: Fingerprint,
        notes: &str,
    ) -> Result<()> {
        state::write(path, &self.state, settings, fingerprint, notes)
    }

    fn resume(
        &mut self,
        path: &Path,
        settings: &TrainSettings,
        model: (&Path, Fingerprint),
    ) -> Result<String> {
        let notes = state::read(path, &mut self.state, self.engine.numbers(), settings, model)?;
        self.engine.model.refresh(self.state.parameters())?;
        Ok(notes)
    }

    #[cfg(test)]
    fn gradients(
        &self,
        settings: &TrainSettings,
        texts: &Texts,
    ) -> Result<(crate::contrastive::loss::LossValue, Vec<Option<Vec<f32>>>)> {
        let mut gradients = self.engine.zero_gradients();
        let mut value = super::step::accumulate(&self.engine, settings, texts, (1, 0), 1.0, &mut gradients)?;
        if let super::settings::Trained::Slim(slim) = settings.trained {
            value.total += slim.penalty(self.state.parameters(), &mut gradients)?;
        }
        let read = |gradient: Option<&B::Numbers>| {
            gradient.map(|gradient| Ok(gradient.read()?.into_owned())).transpose()
        };
        let read = gradients.iter().map(read).collect::<Result<_>>()?;
        Ok((value, read))
    }

    #[cfg(test)]
    fn replace(&mut self, values: Vec<Vec<f32>>) -> Result<()> {
        for (parameter, values) in self.state.parameters.iter_mut().zip(values) {
            assert_eq!(parameter.values.len(), values.len());
            parameter.values = B::Numbers::new(self.engine.numbers(), values)?;
        }
        self.engine.model.refresh(self.state.parameters())
    }
}
