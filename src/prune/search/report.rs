//! What a search tried and found.

use secateur_encoders::prune::Remaining;
use serde::{Deserialize, Serialize};

use super::budget::SearchBudget;
use super::sample::SampleFacts;
use super::timing::Timings;
use crate::statistics::TTest;

/// The version of search.json. A later one may have other fields.
pub const SEARCH_FORMAT: u32 = 1;

/// What a search tried and found: search.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchReport {
    /// [`SEARCH_FORMAT`]
    pub format: u32,
    /// What the model is called.
    pub model: String,
    /// Which encoder that is.
    pub fingerprint: String,
    /// What was asked for.
    pub budget: SearchBudget,
    /// The cost of the whole model in the budget's unit: parameters, GFLOP a token, or milliseconds a query.
    pub whole_cost: f64,
    /// The most that a choice may cost.
    pub limit: f64,
    /// What was measured on.
    pub samples: Vec<SampleFacts>,
    /// What was drawn for each query: queries of a data set, judged documents and hard negatives of a query, the seed.
    pub sampling: Sampling,
    /// Where importance comes from: a file, or "the sampled documents".
    pub importance: String,
    /// Tokens to which texts were cut, if not to those that the model reads.
    pub max_length: Option<usize>,
    /// What was timed, for a budget of latency.
    pub timings: Option<Timings>,
    /// Everything that was measured, in this order.
    pub trials: Vec<Trial>,
    /// The place of the whole model in `trials`.
    pub whole: usize,
    /// The place of the best choice by importance alone that keeps the budget; `None` where none does.
    pub by_importance: Option<usize>,
    /// The place of what was chosen.
    pub chosen: usize,
    /// What was chosen against the best by importance alone; `None` where that is the same, or none keeps the budget.
    pub gain: Option<Gain>,
    /// For a budget of latency: the share of the whole model's time that the chosen one takes, both timed in turn.
    pub measured_share: Option<f64>,
}

/// How much is drawn from each data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// The most queries.
    pub queries: usize,
    /// The most judged documents of a query, the most relevant first.
    pub judged: usize,
    /// Hard negatives of a query.
    pub negatives: usize,
    /// Decides which.
    pub seed: u64,
}

/// Why something was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is the whole model.
    Whole,
    /// Importance alone chose it.
    Importance,
    /// It has one change, so that others can be guessed.
    Single,
    /// It was expected to be the best of what was left.
    Search,
}

impl Origin {
    /// As a table shows it.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Whole => "whole",
            Origin::Importance => "importance",
            Origin::Single => "single",
            Origin::Search => "search",
        }
    }
}

/// A part of the model that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Why.
    pub origin: Origin,
    /// What it lacks, in words.
    pub without: String,
    /// What is left of the model, with the widths of MLPs.
    pub remaining: Remaining,
    /// Its parameters.
    pub parameters: usize,
    /// 10^9 operations for a token in its linear layers.
    pub gflop_per_token: f64,
    /// The share of the whole model's cost, in the budget's unit.
    pub share: f64,
    /// Whether it keeps the budget.
    pub keeps_budget: bool,
    /// The mean over data sets of the mean nDCG@10 over queries.
    pub ndcg_at_10: f64,
    /// nDCG@10 of each data set, in the order of the samples.
    pub by_dataset: Vec<f64>,
}

/// Whether one choice is better than another by more than chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The mean difference of nDCG@10 over the queries of all data sets.
    pub difference: f64,
    /// Student's t-test of the queries' differences; `None` where all are 0. What is chosen is the best of many, so its
    /// p is too small: measure on other queries.
    pub test: Option<TTest>,
}

impl SearchReport {
    /// What was chosen.
    pub fn best(&self) -> &Trial {
        &self.trials[self.chosen]
    }

    /// The whole model.
    pub fn whole(&self) -> &Trial {
        &self.trials[self.whole]
    }

    /// The best choice by importance alone that keeps the budget.
    pub fn best_by_importance(&self) -> Option<&Trial> {
        self.by_importance.map(|place| &self.trials[place])
    }
}
