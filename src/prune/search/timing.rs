//! How long queries take, so that a latency can be a budget.

use std::path::Path;
use std::time::Instant;

use secateur_encoders::prune::{NeuronScores, Remaining};
use secateur_encoders::{Encoder, LoadOptions, TextKind};
use serde::{Deserialize, Serialize};

use super::choice::{Choice, Costs, WHOLE};
use crate::error::Result;
use crate::statistics::quantile_of;

/// How often all queries are answered by each model; the median counts.
const ROUNDS: usize = 5;

/// The most queries that are timed.
const QUERIES: usize = 32;

/// What was timed to know what sub-layers take, in milliseconds a query, from text to vector, one query at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// The whole model.
    pub whole: f64,
    /// The model without attentions.
    pub without_attentions: f64,
    /// The model with half of the width of every MLP.
    pub half_mlps: f64,
    /// The model without MLPs.
    pub without_mlps: f64,
}

/// A model on disk, and what is left of it to be timed.
pub(super) struct Timed<'a> {
    pub model: &'a Path,
    pub options: &'a LoadOptions,
    pub remaining: &'a Remaining,
    pub neurons: &'a NeuronScores,
    pub queries: Vec<&'a str>,
}

impl Timed<'_> {
    /// The encoder that is left.
    pub(super) fn load(&self, choice: &Choice) -> Result<Encoder> {
        let (depth, mask) = (choice.depth(self.remaining), choice.mask(self.neurons));
        Ok(Encoder::load_pruned(self.model, self.options, &depth, &mask)?)
    }

    /// Milliseconds a query of each choice. The models take turns, so that what else the machine does slows all.
    pub(super) fn time<const N: usize>(&self, choices: [&Choice; N]) -> Result<[f64; N]> {
        let encoders =
            choices.into_iter().map(|choice| self.load(choice)).collect::<Result<Vec<Encoder>>>()?;
        let queries = &self.queries[..self.queries.len().min(QUERIES)];
        let mut times = vec![Vec::with_capacity(ROUNDS); N];
        // The first round only warms up.
        for round in 0..=ROUNDS {
            for (encoder, times) in encoders.iter().zip(&mut times) {
                let start = Instant::now();
                for query in queries {
                    encoder.encode(&[query], TextKind::Query)?;
                }
                if round > 0 {
                    times.push(1000.0 * start.elapsed().as_secs_f64() / queries.len() as f64);
                }
            }
        }
        Ok(std::array::from_fn(|place| quantile_of(&times[place], 0.5)))
    }

    /// Times the whole model and three parts of it.
    pub(super) fn timings(&self) -> Result<Timings> {
        let whole = Choice::of(self.remaining);
        let with = |change: &dyn Fn(&mut super::choice::Layer)| {
            let mut choice = whole.clone();
            choice.0.iter_mut().for_each(change);
            choice
        };
        let without_attentions = with(&|layer| layer.attention = false);
        let half_mlps = with(&|layer| layer.quarters = layer.quarters.min(WHOLE / 2));
        let without_mlps = with(&|layer| layer.quarters = 0);
        let [whole, without_attentions, half_mlps, without_mlps] =
            self.time([&whole, &without_attentions, &half_mlps, &without_mlps])?;
        Ok(Timings { whole, without_attentions, half_mlps, without_mlps })
    }
}

impl Timings {
    /// What each sub-layer takes, if all attentions take equally long, and all MLPs. What lies between the widths that
    /// were timed is taken to be on a straight line.
    pub(super) fn costs(&self, model: &Remaining) -> Costs {
        let count = |there: usize| there.max(1) as f64;
        let num_attentions = model.attention.iter().filter(|kept| **kept).count();
        let num_mlps = model.intermediate_sizes.iter().flatten().count();
        let attentions = (self.whole - self.without_attentions).max(0.0);
        let mlps = (self.whole - self.without_mlps).max(0.0);
        let halves = (self.half_mlps - self.without_mlps).max(0.0).min(mlps);
        // Where noise makes the parts more than the whole, they share it.
        let scale = (self.whole / (attentions + mlps)).min(1.0);
        let attention = scale * attentions / count(num_attentions);
        let mlp = scale * mlps / count(num_mlps);
        let half = scale * halves / count(num_mlps);
        let quarter = (half - (mlp - half) / 2.0).max(0.0);
        let by_quarters = [0.0, quarter, half, f64::midpoint(half, mlp), mlp];
        let of = |there: bool, cost: f64| if there { cost } else { 0.0 };
        Costs {
            base: (self.whole - attention * num_attentions as f64 - mlp * num_mlps as f64).max(0.0),
            attention: model.attention.iter().map(|kept| of(*kept, attention)).collect(),
            mlp: model
                .intermediate_sizes
                .iter()
                .map(|width| if width.is_some() { by_quarters } else { [0.0; WHOLE as usize + 1] })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_add_up_to_what_was_timed() {
        let model = Remaining {
            attention: vec![true, true, false],
            intermediate_sizes: vec![Some(8), None, Some(8)],
        };
        let timings = Timings { whole: 10.0, without_attentions: 6.0, half_mlps: 8.0, without_mlps: 5.0 };
        let costs = timings.costs(&model);
        let whole = Choice::of(&model);
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got}, not {want}");
        close(costs.of(&whole), 10.0);
        let with = |change: &dyn Fn(&mut super::super::choice::Layer)| {
            let mut choice = whole.clone();
            choice.0.iter_mut().for_each(change);
            costs.of(&choice)
        };
        close(with(&|layer| layer.attention = false), 6.0);
        close(with(&|layer| layer.quarters = layer.quarters.min(2)), 8.0);
        close(with(&|layer| layer.quarters = 0), 5.0);
        close(with(&|layer| layer.quarters = layer.quarters.min(3)), 9.0);
        close(with(&|layer| layer.quarters = layer.quarters.min(1)), 7.0);
        // Where noise says that less takes longer, it costs nothing.
        let noisy = Timings { whole: 5.0, without_attentions: 6.0, half_mlps: 6.0, without_mlps: 5.5 };
        let costs = noisy.costs(&model);
        assert!(costs.attention.iter().chain(costs.mlp.iter().flatten()).all(|cost| *cost == 0.0));
        close(costs.of(&whole), 5.0);
        // Where it says that the parts take more than the whole, they take all of it.
        let noisy = Timings { whole: 10.0, without_attentions: 2.0, half_mlps: 6.0, without_mlps: 2.0 };
        let costs = noisy.costs(&model);
        close(costs.of(&whole), 10.0);
        close(costs.base, 0.0);
    }
}
