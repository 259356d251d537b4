//! How importance is measured.

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;

/// M of the paper's equation 3: how a hidden state x before a sub-layer and x' after it are compared, token by token.
/// In a post-norm model x' is the norm of the residual sum, in others the residual sum itself. Higher is more
/// important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ImportanceMetric {
    /// 1 - cosine, 0 to 2: the paper's choice.
    Cosine,
    /// The length of the difference.
    L2,
    /// The gradient of a contrastive loss by a factor on the sub-layer's output; for texts with titles.
    ///
    /// |dL/da| at a = 1: [`super::gradient`].
    Gradient,
}

/// Which tokens of a sequence count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ScoredTokens {
    /// All of them.
    All,
    /// The last one of each sequence, which is all that an encoder with last-token pooling uses.
    Last,
}

/// How importance is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreSettings {
    /// How hidden states are compared.
    pub metric: ImportanceMetric,
    /// Which tokens count.
    pub tokens: ScoredTokens,
    /// What the model reads.
    pub calibration: Calibration,
}

impl Default for ScoreSettings {
    /// The paper's.
    fn default() -> ScoreSettings {
        ScoreSettings {
            metric: ImportanceMetric::Cosine,
            tokens: ScoredTokens::All,
            calibration: Calibration::default(),
        }
    }
}
