//! The angles of rotary positions (Su et al. 2021), and how some models stretch them to longer texts.

use std::f64::consts::TAU;
use std::sync::Arc;

/// The angles of one kind of attention: place p turns pair k by `p * frequency(k)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// The base: frequency(k) = theta^(-2k / K), before scaling.
    pub theta: f64,
    /// How the frequencies are changed.
    pub scaling: RotaryScaling,
}

/// How a model's frequencies were changed for texts longer than it was first trained for.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All divided by a factor (Chen et al. 2023, position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The base grows with the length of a text that is longer than the model was made for.
    Dynamic {
        /// How fast it grows.
        factor: f64,
        /// The longest text with the plain frequencies.
        max_position_embeddings: f64,
    },
    /// Low frequencies divided by a factor, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Frequencies that turn fewer times than this in the original length are divided.
        low_freq_factor: f64,
        /// Frequencies that turn more times than this are kept.
        high_freq_factor: f64,
        /// The length of the texts the model was first trained for.
        original_max_position_embeddings: f64,
    },
    /// The same with a ramp over the pairs, and longer queries and keys (Peng et al. 2023, YaRN).
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// Pairs that turn more times than this in the original length are kept.
        beta_fast: f64,
        /// Pairs that turn fewer times than this are divided.
        beta_slow: f64,
        /// Whether the ramp begins and ends at whole pairs.
        truncate: bool,
        /// The length of the texts the model was first trained for.
        original_max_position_embeddings: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
    /// Each pair divided by a factor of its own, longer texts by others (Ding et al. 2024, LongRoPE).
    LongRope {
        /// Those of texts of at most the original length, (K / 2).
        short_factor: Arc<[f64]>,
        /// Those of longer texts, (K / 2).
        long_factor: Arc<[f64]>,
        /// The length of the texts the model was first trained for.
        original_max_position_embeddings: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
}

impl Rotary {
    /// Radians that pair `k` of a head of `head_dim` columns turns from one place to the next, in a text of `length`
    /// tokens.
    pub(crate) fn frequency(&self, k: usize, head_dim: usize, length: usize) -> f64 {
        let exponent = 2.0 * k as f64 / head_dim as f64;
        let plain = self.theta.powf(-exponent);
        match &self.scaling {
            RotaryScaling::None => plain,
            RotaryScaling::Linear { factor } => plain / factor,
            RotaryScaling::Dynamic { factor, max_position_embeddings } => {
                let length = (length as f64).max(*max_position_embeddings);
                let dim = head_dim as f64;
                let stretch = factor * length / max_position_embeddings - (factor - 1.0);
                (self.theta * stretch.powf(dim / (dim - 2.0))).powf(-exponent)
            }
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let turns = original_max_position_embeddings * plain / TAU;
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                kept * plain + (1.0 - kept) * plain / factor
            }
            RotaryScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                truncate,
                original_max_position_embeddings,
                ..
            } => {
                let dim = head_dim as f64;
                // The pair that turns so many times in the original length.
                let pair = |turns: f64| {
                    dim * (original_max_position_embeddings / (turns * TAU)).ln() / (2.0 * self.theta.ln())
                };
                let (low, high) = (pair(*beta_fast), pair(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
                if low == high {
                    high += 0.001;
                }
                let divided = ((k as f64 - low) / (high - low)).clamp(0.0, 1.0);
                divided * plain / factor + (1.0 - divided) * plain
            }
            RotaryScaling::LongRope {
                short_factor, long_factor, original_max_position_embeddings, ..
            } => {
                let is_long = length as f64 > *original_max_position_embeddings;
                plain / if is_long { long_factor[k] } else { short_factor[k] }
            }
        }
    }

    /// What multiplies cosines and sines.
    pub(crate) fn attention_factor(&self) -> f64 {
        match self.scaling {
            RotaryScaling::Yarn { attention_factor, .. }
            | RotaryScaling::LongRope { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// The longest text with the angles of the shortest, where longer ones have others.
    pub(crate) fn same_until(&self) -> Option<usize> {
        match self.scaling {
            RotaryScaling::Dynamic { max_position_embeddings: length, .. }
            | RotaryScaling::LongRope { original_max_position_embeddings: length, .. } => {
                Some(length as usize)
            }
            _ => None,
        }
    }
}
