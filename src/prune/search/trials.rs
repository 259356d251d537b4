//! Parts of a model that were measured on the samples, each once.

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::kept::kept_value;
use super::report::Origin;
use super::sample::{Sample, Tokens};
use super::surrogate::{Measured, loss};
use super::timing::Timed;
use crate::error::Result;
use crate::measure::Measurements;

/// What was measured of a choice.
pub(super) struct Done {
    pub choice: Choice,
    pub origin: Origin,
    outcome: Outcome,
}

/// nDCG@10 of each query, by data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Outcome(Vec<Vec<f64>>);

/// What was measured, and what measures more.
pub(super) struct Trials<'a> {
    kept: &'a Measurements,
    key: &'a str,
    model: &'a Timed<'a>,
    samples: &'a [Sample],
    tokens: Vec<Tokens>,
    pub done: Vec<Done>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        kept: &'a Measurements,
        key: &'a str,
        model: &'a Timed<'a>,
        samples: &'a [Sample],
        tokens: Vec<Tokens>,
    ) -> Trials<'a> {
        Trials { kept, key, model, samples, tokens, done: Vec::new() }
    }

    /// Measures a choice, unless that was done.
    pub(super) fn measure(&mut self, choice: Choice, origin: Origin) -> Result<()> {
        if self.find(&choice).is_some() {
            return Ok(());
        }
        let outcome = kept_value(self.kept, &format!("trial.{}", choice.code()), self.key, || {
            let encoder = self.model.load(&choice)?;
            let pairs = self.samples.iter().zip(&self.tokens);
            pairs.map(|(sample, tokens)| sample.measure(&encoder, tokens)).collect::<Result<_>>().map(Outcome)
        })?;
        self.done.push(Done { choice, origin, outcome });
        Ok(())
    }

    /// The place of a choice.
    pub(super) fn find(&self, choice: &Choice) -> Option<usize> {
        self.done.iter().position(|done| done.choice == *choice)
    }

    /// nDCG@10 of each data set.
    pub(super) fn by_dataset(&self, place: usize) -> Vec<f64> {
        let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        self.done[place].outcome.0.iter().map(mean).collect()
    }

    /// The mean of that.
    pub(super) fn quality(&self, place: usize) -> f64 {
        let means = self.by_dataset(place);
        means.iter().sum::<f64>() / means.len() as f64
    }

    /// What each choice lost. The whole model is the first.
    pub(super) fn losses(&self) -> Vec<Measured> {
        let whole = self.quality(0);
        let of = |(place, done): (usize, &Done)| (done.choice.clone(), loss(self.quality(place), whole));
        self.done.iter().enumerate().map(of).collect()
    }

    /// By how much one choice is better than another, query by query.
    pub(super) fn differences(&self, one: usize, other: usize) -> Vec<f64> {
        let values = |place: usize| self.done[place].outcome.0.iter().flatten();
        values(one).zip(values(other)).map(|(one, other)| one - other).collect()
    }
}
