//! EffiR (Lei et al. 2025, arXiv 2512.20612): which parts of an encoder matter least, and models without them.
//!
//! [`score`] measures how much each sub-layer changes what passes through it, while the model reads calibration text.

pub mod calibration;
mod importance;
mod journal;
mod scores;

pub use calibration::{Calibration, CalibrationFormat};
pub use importance::{ImportanceMetric, ScoreSettings, ScoredTokens, score};
pub use scores::{Importance, Part, Scores};
