//! What a pruned model may cost, as a share of the whole model's cost.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostUnit {
    /// Parameters, heads apart.
    Params,
    /// 10^9 operations for a token, in the linear layers.
    Gflop,
    /// Milliseconds from a query's text to its vector, one query at a time.
    Latency,
}

impl CostUnit {
    const ALL: [CostUnit; 3] = [CostUnit::Params, CostUnit::Gflop, CostUnit::Latency];

    /// As it stands before `=`.
    pub fn name(self) -> &'static str {
        match self {
            CostUnit::Params => "params",
            CostUnit::Gflop => "gflop",
            CostUnit::Latency => "latency",
        }
    }
}

/// The largest share of the whole model's cost: "params=0.5", "gflop=0.5" or "latency=0.5".
///
/// ```
/// use secateur::prune::{CostUnit, SearchBudget};
/// let budget: SearchBudget = "gflop=0.5".parse()?;
/// assert_eq!(budget, SearchBudget { unit: CostUnit::Gflop, share: 0.5 });
/// assert_eq!(budget.to_string(), "gflop=0.5");
/// assert!("gflop=50".parse::<SearchBudget>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchBudget {
    /// What is counted.
    pub unit: CostUnit,
    /// The share of it that may stay, above 0 and below 1.
    pub share: f64,
}

impl FromStr for SearchBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<SearchBudget, String> {
        let wrong = || {
            format!(
                "{text:?} is no budget; expected params=SHARE, gflop=SHARE or latency=SHARE, the share of the whole model's, \
                 above 0 and below 1, such as gflop=0.5"
            )
        };
        let (unit, share) = text.split_once('=').ok_or_else(wrong)?;
        let unit = CostUnit::ALL.into_iter().find(|known| known.name() == unit).ok_or_else(wrong)?;
        let share = share.parse().ok().filter(|share| *share > 0.0 && *share < 1.0).ok_or_else(wrong)?;
        Ok(SearchBudget { unit, share })
    }
}

impl fmt::Display for SearchBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.unit.name(), self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_wrong_ones_say_what_is_expected() {
        for text in ["params=0.5", "gflop=0.25", "latency=0.75"] {
            assert_eq!(text.parse::<SearchBudget>().unwrap().to_string(), text);
        }
        for text in ["", "params", "0.5", "parameters=0.5", "gflop=0", "gflop=1", "gflop=nan", "gflop=-1"] {
            let message = text.parse::<SearchBudget>().unwrap_err();
            assert!(message.contains("gflop=0.5") && message.contains(text), "{message}");
        }
    }
}
