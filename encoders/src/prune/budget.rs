//! How much to take out of depth and width for a size or a cost.

use std::fmt;

use super::scores::Importance;
use super::variant::Variant;
use crate::architecture::{Architecture, Remaining};
use crate::error::Result;
use crate::prune_error::PruneError;

/// What a model may have or cost at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Parameters, heads apart ([`Architecture::parameters`]).
    Parameters(usize),
    /// 10^9 operations for a token, in the linear layers ([`Architecture::flop_per_token`]).
    Gflop(f64),
}

/// The largest share that is taken from the width of the remaining MLPs, as in the paper's Table 5.
const MAX_SPARSITY: f64 = 0.5;

/// What a budget takes out, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetPlan {
    /// What depth leaves.
    pub remaining: Remaining,
    /// The share of the neurons of the remaining MLPs, over all layers together, that slimming has to remove
    /// afterwards. 0 if depth is enough.
    pub sparsity: f64,
    /// MLPs that the rule drops, and those that there were.
    pub mlp: (usize, usize),
    /// The model's cost in the budget's unit: as it is, after the drops, and after drops and slimming.
    pub costs: [f64; 3],
    budget: Budget,
}

impl Budget {
    fn cost(self, architecture: &Architecture) -> f64 {
        match self {
            Budget::Parameters(_) => architecture.parameters().total() as f64,
            Budget::Gflop(_) => architecture.flop_per_token(1).linear / 1e9,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Budget::Parameters(parameters) => parameters as f64,
            Budget::Gflop(gflop) => gflop,
        }
    }

    fn show(self, cost: f64) -> String {
        match self {
            Budget::Parameters(_) if cost >= 1e9 => format!("{:.2}B parameters", cost / 1e9),
            Budget::Parameters(_) => format!("{:.4}M parameters", cost / 1e6),
            Budget::Gflop(_) => format!("{cost:.4} GFLOP per token"),
        }
    }

    /// Keeps this budget by the paper's rule. Only MLPs are removed, because attention cannot be spared (section
    /// 4.3). Depth comes first: the least important MLPs, until half of the layers have none; beyond that quality
    /// falls (Table 2). Then comes width (section 5.1), at most half of the remaining neurons. Then more depth.
    ///
    /// # Errors
    ///
    /// [`PruneError::BudgetOutOfReach`] if the model keeps it already, or does not even without any MLP.
    pub fn plan(
        self,
        architecture: &Architecture,
        importance: &Importance,
        remaining: &Remaining,
    ) -> Result<BudgetPlan> {
        let without = |mlp: usize| -> Result<(Remaining, Architecture)> {
            let remaining = Variant { mlp, ..Variant::default() }.choose(remaining, Some(importance))?;
            let left = architecture.keep(&remaining);
            Ok((remaining, left))
        };
        let num_mlps = |architecture: &Architecture| {
            architecture.layers.iter().filter(|layer| layer.intermediate_size.is_some()).count()
        };
        let (_, start) = without(0)?;
        let there = num_mlps(&start);
        let (most, least) = (self.cost(&start), self.cost(&without(there)?.1));
        let limit = self.limit();
        if !(least..most).contains(&limit) {
            return Err(PruneError::BudgetOutOfReach {
                asked: self.show(limit),
                least: self.show(least),
                most: self.show(most),
            }
            .into());
        }
        // Layers without an MLP count towards the half, whoever took it.
        let layers = architecture.layers.len();
        let half = (layers / 2).saturating_sub(layers - there);
        for mlp in 1..=there {
            let (remaining, left) = without(mlp)?;
            let cost = self.cost(&left);
            let sparsity =
                if cost <= limit { Some(0.0) } else { self.sparsity(&left).filter(|_| mlp >= half) };
            if let Some(sparsity) = sparsity {
                let narrowed = cost - sparsity * neurons(&left) as f64 * self.cost_of_neuron(&left);
                let costs = [most, cost, narrowed];
                return Ok(BudgetPlan { remaining, sparsity, mlp: (mlp, there), costs, budget: self });
            }
        }
        unreachable!("without any MLP the cost is the least, which the budget is not below")
    }

    /// The part of all neurons that has to go, if it is not too much.
    fn sparsity(self, left: &Architecture) -> Option<f64> {
        let excess = self.cost(left) - self.limit();
        let gone = (excess / self.cost_of_neuron(left)).ceil();
        Some(gone / neurons(left) as f64).filter(|sparsity| *sparsity <= MAX_SPARSITY)
    }

    /// What a neuron of any MLP costs: a row of up (and of gate) and a column of down.
    fn cost_of_neuron(self, left: &Architecture) -> f64 {
        let mut narrower = left.clone();
        if let Some(width) = narrower.layers.iter_mut().find_map(|layer| layer.intermediate_size.as_mut()) {
            *width -= 1;
        }
        self.cost(left) - self.cost(&narrower)
    }
}

/// The neurons of all MLPs together.
fn neurons(architecture: &Architecture) -> usize {
    architecture.layers.iter().filter_map(|layer| layer.intermediate_size).sum()
}

impl fmt::Display for BudgetPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, deep, narrow] = self.costs.map(|cost| self.budget.show(cost));
        let (mlp, there) = self.mlp;
        write!(f, "from {before} to at most {}: ", self.budget.show(self.budget.limit()))?;
        write!(f, "the {mlp} least important of {there} MLPs go, which leaves {deep}")?;
        if self.sparsity > 0.0 {
            write!(
                f,
                "; without half of the layers' MLPs or more, quality falls, so the rest comes from width: {:.2} % of the neurons \
                 that are left, which leaves {narrow}",
                100.0 * self.sparsity
            )?;
        } else {
            f.write_str("; depth alone is enough")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{SubLayer, known_models};

    fn mistral() -> Architecture {
        known_models::find("mistral-7b").unwrap().architecture()
    }

    /// Deeper layers matter less.
    fn importance(layers: usize) -> Importance {
        let scores: Vec<Option<f64>> = (0..layers).map(|layer| Some(1.0 / (layer + 1) as f64)).collect();
        Importance { attention: scores.clone(), mlp: scores.clone(), block: scores }
    }

    #[test]
    fn depth_goes_first_then_width_then_more_depth() {
        let (mistral, importance) = (mistral(), importance(32));
        // Budget, MLPs that go, sparsity in per cent, rounded.
        let cases = [
            (Budget::Parameters(6_950_000_000), 1, "0"),
            (Budget::Parameters(5_700_000_000), 9, "0"),
            (Budget::Parameters(4_300_000_000), 16, "0"),
            // EffiR-3.4B: 16M and 30 %, which is 3.446 B.
            (Budget::Parameters(3_447_000_000), 16, "30"),
            (Budget::Parameters(3_400_000_000), 16, "32"),
            (Budget::Parameters(2_900_000_000), 16, "49"),
            // 14 MLPs at half their width are 8 M too many.
            (Budget::Parameters(2_700_000_000), 19, "46"),
            (Budget::Gflop(8.33), 16, "0"),
            (Budget::Gflop(6.64), 16, "30"),
        ];
        for (budget, mlp, sparsity) in cases {
            let plan = budget.plan(&mistral, &importance, &mistral.remaining()).unwrap();
            assert_eq!(plan.mlp, (mlp, 32), "{budget:?}: {plan}");
            assert_eq!(format!("{:.0}", 100.0 * plan.sparsity), sparsity, "{budget:?}: {plan}");
            let gone = plan.remaining.dropped_from(&mistral, SubLayer::Mlp);
            assert_eq!(gone.len(), mlp);
            assert!(plan.costs[2] <= budget.limit(), "{plan}");
            // The deepest ones go.
            assert!(gone.contains(&31) && plan.remaining.attention.iter().all(|kept| *kept));
        }
        let plan =
            Budget::Parameters(3_447_000_000).plan(&mistral, &importance, &mistral.remaining()).unwrap();
        assert_eq!(
            plan.to_string(),
            "from 7.11B parameters to at most 3.45B parameters: the 16 least important of 32 MLPs go, which leaves 4.29B \
             parameters; without half of the layers' MLPs or more, quality falls, so the rest comes from width: 29.98 % of \
             the neurons that are left, which leaves 3.45B parameters"
        );
    }

    #[test]
    fn what_was_dropped_before_counts() {
        let (mistral, importance) = (mistral(), importance(32));
        let before = Variant { mlp: 10, ..Variant::default() };
        let before = before.choose(&mistral.remaining(), Some(&importance)).unwrap();
        let plan = Budget::Parameters(3_447_000_000).plan(&mistral, &importance, &before).unwrap();
        let gone = plan.remaining.dropped_from(&mistral, SubLayer::Mlp).len();
        assert_eq!((plan.mlp, gone), ((6, 22), 16));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_range() {
        let (mistral, importance) = (mistral(), importance(32));
        for budget in [
            Budget::Parameters(1_000_000_000),
            Budget::Parameters(8_000_000_000),
            Budget::Gflop(1.0),
            Budget::Gflop(20.0),
            Budget::Gflop(f64::NAN),
        ] {
            let message = budget.plan(&mistral, &importance, &mistral.remaining()).unwrap_err().to_string();
            let (least, most) = match budget {
                Budget::Parameters(_) => ("1.47B parameters", "7.11B parameters"),
                Budget::Gflop(_) => ("2.6844 GFLOP", "13.9586 GFLOP"),
            };
            assert!(message.contains(least) && message.contains(most), "{message}");
        }
        let least = Budget::Gflop(2.7).plan(&mistral, &importance, &mistral.remaining()).unwrap();
        assert_eq!(least.mlp.0, 32);
    }
}
