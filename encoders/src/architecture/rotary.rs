//! The angles of rotary positions (Su et al. 2021), and how some models stretch them to longer texts.

/// The angles of one kind of attention: place p turns pair k by `p * frequency(k)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// The base: frequency(k) = theta^(-2k / K), before scaling.
    pub theta: f64,
    /// How the frequencies are changed.
    pub scaling: RotaryScaling,
}

/// How a model's frequencies were changed for texts longer than it was first trained for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All divided by a factor (Chen et al. 2023, position interpolation).
    Linear {
        /// The divisor.
        factor: f64,
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
}

impl Rotary {
    /// Radians that pair `k` of a head of `head_dim` columns turns from one place to the next.
    pub(crate) fn frequency(&self, k: usize, head_dim: usize) -> f64 {
        let plain = self.theta.powf(-2.0 * k as f64 / head_dim as f64);
        match self.scaling {
            RotaryScaling::None => plain,
            RotaryScaling::Linear { factor } => plain / factor,
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let turns = original_max_position_embeddings * plain / std::f64::consts::TAU;
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                kept * plain + (1.0 - kept) * plain / factor
            }
        }
    }
}
