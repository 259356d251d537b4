//! EffiR (Lei et al. 2025, arXiv 2512.20612): which sub-layers of an encoder matter least, and models without them.
//!
//! [`score`] measures how much each sub-layer changes what passes through it, while the model reads calibration text.
//! A [`Variant`] such as "16M8A" chooses by those scores what is [`Remaining`]. [`ModelDirectory::write_dropped`]
//! writes the model that is left; [`Encoder::load_dropped`](crate::Encoder::load_dropped) loads it without writing
//! anything.
//!
//! Within an MLP, [`NeuronScores`], learned or by [`activation_magnitude`], give a [`NeuronMask`];
//! [`ModelDirectory::write_masked`] makes the masked neurons zero, [`ModelDirectory::write_narrowed`] removes them.
//!
//! [`trace()`] follows a query and documents through the layers.
//!
//! [`ModelDirectory::write_sparse`] makes the 2:4 sparse models of Wanda and SparseGPT, to compare with.

mod activation;
mod budget;
pub mod calibration;
mod directory;
pub mod gradient;
mod importance;
mod journal;
mod narrow;
mod pattern;
mod score_settings;
mod scores;
mod sparsegpt;
mod sparsify;
mod trace;
mod variant;
mod wanda;
mod width;

pub use crate::architecture::{Layout, MaskedMlp, NeuronMask, Remaining, SubLayer};
pub use crate::prune_error::PruneError;
pub use activation::activation_magnitude;
pub use budget::{Budget, BudgetPlan};
pub use calibration::{Calibration, CalibrationFormat};
pub use directory::ModelDirectory;
pub use importance::score;
pub use score_settings::{ImportanceMetric, ScoreSettings, ScoredTokens};
pub use scores::{Importance, Scores};
pub use sparsify::SparseMethod;
pub use trace::{TracePoint, trace};
pub use variant::{UnknownVariant, Variant};
pub use width::NeuronScores;
