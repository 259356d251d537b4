//! A search that is going on: which models are measured next, and which is best.

use secateur_encoders::prune::{Importance, ModelDirectory, Remaining, SubLayer, Variant};

use super::SearchOptions;
use super::choice::{Choice, Costs, WHOLE};
use super::kept::kept_value;
use super::report::{Gain, Origin, SEARCH_FORMAT, Sampling, SearchReport, Trial};
use super::surrogate::{Change, Surrogate};
use super::timing::Timed;
use super::trials::Trials;
use crate::error::{Error, Result};
use crate::measure::Measurements;
use crate::progress::Progress;
use crate::statistics::paired_t_test;

/// Searches that may follow because a model was slower than its parts let expect.
const CORRECTIONS: usize = 3;

/// A search that is going on.
pub(super) struct Search<'a> {
    pub(super) options: &'a SearchOptions,
    pub(super) importance: &'a Importance,
    pub(super) costs: &'a Costs,
    pub(super) limit: f64,
    pub(super) whole: Choice,
    pub(super) model: &'a Remaining,
    pub(super) trials: Trials<'a>,
}

impl Search<'_> {
    fn measure(&mut self, choice: Choice, origin: Origin, on: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.trials.measure(choice, origin)?;
        on(Progress::Done(self.trials.done.len()));
        Ok(())
    }

    fn keeps(&self, choice: &Choice) -> bool {
        self.costs.of(choice) <= self.limit
    }

    /// The whole model, and what importance alone chooses. That is as many MLPs, attentions or blocks as the budget
    /// asks for, and MLPs and width as the paper takes them.
    pub(super) fn starts(&mut self, on: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.measure(self.whole.clone(), Origin::Whole, on)?;
        if self.trials.quality(0) <= 0.0 {
            let problem = "the whole model finds nothing relevant in the sample, so there is nothing to keep";
            return Err(Error::option("dev", problem));
        }
        for choice in self.by_importance()? {
            self.measure(choice, Origin::Importance, on)?;
        }
        Ok(())
    }

    fn by_importance(&self) -> Result<Vec<Choice>> {
        let mut choices = Vec::new();
        for sub_layer in SubLayer::ALL {
            let there = self.importance.drop_order(sub_layer).len();
            for count in 1..=there {
                let variant = match sub_layer {
                    SubLayer::Attention => Variant { attention: count, ..Variant::default() },
                    SubLayer::Mlp => Variant { mlp: count, ..Variant::default() },
                    SubLayer::Block => Variant { blocks: count, ..Variant::default() },
                };
                let choice = Choice::of(&variant.choose(self.model, Some(self.importance))?);
                if self.keeps(&choice) {
                    choices.push(choice);
                    break;
                }
            }
        }
        let half = self.importance.drop_order(SubLayer::Mlp).len() / 2;
        let half = Variant { mlp: half, ..Variant::default() }.choose(self.model, Some(self.importance))?;
        // The deeper MLP of equally wide ones is narrowed first.
        let mut narrowed = Choice::of(&half);
        while !self.keeps(&narrowed) {
            let widest = narrowed.0.iter().map(|layer| layer.quarters).max().unwrap_or(0);
            if widest <= WHOLE / 2 {
                return Ok(choices);
            }
            let place = narrowed.0.iter().rposition(|layer| layer.quarters == widest).unwrap_or(0);
            narrowed.0[place].quarters -= 1;
        }
        choices.push(narrowed);
        Ok(choices)
    }

    /// Models with one change each, the least important sub-layers first, until half of the models were measured.
    pub(super) fn singles(&mut self, on: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let orders = Change::ALL.map(|change| (change, self.importance.drop_order(change.sub_layer())));
        let most = orders.iter().map(|(_, order)| order.len()).max().unwrap_or(0);
        for rank in 0..most {
            for (change, order) in &orders {
                if self.trials.done.len() >= self.options.trials.get() / 2 {
                    return Ok(());
                }
                let Some(layer) = order.get(rank) else { continue };
                let mut choice = self.whole.clone();
                let Some(left) = change.of(choice.0[*layer]) else { continue };
                choice.0[*layer] = left;
                self.measure(choice, Origin::Single, on)?;
            }
        }
        Ok(())
    }

    /// What is expected to be best of what keeps the budget and was not measured, until `total` models were.
    pub(super) fn proposals(&mut self, total: usize, on: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        while self.trials.done.len() < total {
            let measured = self.trials.losses();
            let surrogate = Surrogate::new(&self.whole, self.importance, &measured);
            let proposed = surrogate.best(self.costs, self.limit);
            let next = proposed.into_iter().find(|choice| self.trials.find(choice).is_none());
            let Some(next) = next else { return Ok(()) };
            self.measure(next, Origin::Search, on)?;
        }
        Ok(())
    }

    /// The best that was measured and keeps the budget; of equal ones the cheapest, then the first.
    pub(super) fn best(&self) -> Option<usize> {
        self.best_of(|_| true)
    }

    fn best_of(&self, is_asked: impl Fn(Origin) -> bool) -> Option<usize> {
        let done = self.trials.done.iter().enumerate();
        let asked = done.filter(|(_, trial)| is_asked(trial.origin) && self.keeps(&trial.choice));
        asked
            .map(|(place, trial)| (place, self.trials.quality(place), self.costs.of(&trial.choice)))
            .reduce(|best, next| {
                let is_better = next.1 > best.1 || next.1 == best.1 && next.2 < best.2;
                if is_better { next } else { best }
            })
            .map(|(place, ..)| place)
    }

    /// Times the best model and the whole one in turn. If the best takes longer than it may, the limit is lowered by
    /// as much and the search goes on. Gives back the share of the time that the best takes.
    pub(super) fn hold_latency(
        &mut self,
        timed: &Timed<'_>,
        kept: &Measurements,
        key: &str,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<f64> {
        let mut correction = 0;
        loop {
            let place = self.best().ok_or_else(|| self.too_slow())?;
            let choice = self.trials.done[place].choice.clone();
            let key = format!("{key} threads {}", rayon::current_num_threads());
            let name = format!("latency.{}", choice.code());
            let [before, after] = kept_value(kept, &name, &key, || timed.time([&self.whole, &choice]))?;
            let share = after / before;
            correction += 1;
            if share <= self.options.budget.share || correction > CORRECTIONS {
                return Ok(share);
            }
            let lower = self.limit * self.options.budget.share / share;
            if lower < self.costs.base {
                return Ok(share);
            }
            self.limit = lower;
            let more = self.trials.done.len() + self.options.trials.get() / 4;
            self.proposals(more, on)?;
        }
    }

    pub(super) fn too_slow(&self) -> Error {
        let problem = format!("no model that was measured keeps {}; ask for more", self.options.budget);
        Error::option("budget", problem)
    }

    /// The report, but for what only the caller knows.
    pub(super) fn report(&self, model: &ModelDirectory, chosen: usize) -> SearchReport {
        let all = self.costs.of(&self.whole);
        let trials = self.trials.done.iter().enumerate().map(|(place, trial)| {
            let remaining = trial.choice.remaining(self.model);
            let left = model.architecture().keep(&remaining);
            Trial {
                origin: trial.origin,
                without: trial.choice.name(&self.whole),
                parameters: left.parameters().total(),
                gflop_per_token: left.flop_per_token(1).linear / 1e9,
                remaining,
                share: self.costs.of(&trial.choice) / all,
                keeps_budget: self.keeps(&trial.choice),
                ndcg_at_10: self.trials.quality(place),
                by_dataset: self.trials.by_dataset(place),
            }
        });
        let by_importance = self.best_of(|origin| origin == Origin::Importance);
        let gain = by_importance.filter(|place| *place != chosen).map(|place| {
            let differences = self.trials.differences(chosen, place);
            Gain {
                difference: differences.iter().sum::<f64>() / differences.len().max(1) as f64,
                test: paired_t_test(&differences),
            }
        });
        let options = self.options;
        SearchReport {
            format: SEARCH_FORMAT,
            model: String::new(),
            fingerprint: String::new(),
            budget: options.budget,
            whole_cost: all,
            limit: self.limit,
            samples: Vec::new(),
            sampling: Sampling {
                queries: options.queries.get(),
                judged: options.judged.get(),
                negatives: options.negatives,
                seed: options.seed,
            },
            importance: String::new(),
            max_length: options.max_length,
            timings: None,
            trials: trials.collect(),
            whole: 0,
            by_importance,
            chosen,
            gain,
            measured_share: None,
        }
    }
}
