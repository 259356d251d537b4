//! EffiR (Lei et al. 2025, arXiv 2512.20612): which parts of an encoder matter least, and models without them.
//!
//! [`score`] measures how much each sub-layer changes what passes through it, while the model reads calibration text. A
//! [`Variant`] such as "16M8A" chooses [`Drops`] by those scores. [`ModelDirectory::write_dropped`] writes the model that is
//! left; [`Encoder::load_dropped`](crate::Encoder::load_dropped) loads it without writing anything.
//!
//! Within an MLP, [`NeuronScores`], learned or by [`activation_magnitude`], give a [`NeuronMask`];
//! [`ModelDirectory::write_masked`] makes the masked neurons zero, [`ModelDirectory::write_compacted`] removes them.
//!
//! [`ModelDirectory::write_sparse`] makes the 2:4 sparse models of Wanda and SparseGPT, to compare with.

mod activation;
mod budget;
pub mod calibration;
mod compact;
mod directory;
mod drops;
pub mod gradient;
mod importance;
mod journal;
mod scores;
mod sparsegpt;
mod sparsify;
mod wanda;
mod width;

pub use activation::activation_magnitude;
pub use budget::{Budget, BudgetPlan};
pub use calibration::{Calibration, CalibrationFormat};
pub(crate) use compact::{MASK_FILE, mask_in};
pub use directory::{Layout, ModelDirectory};
pub use drops::{Drops, UnknownVariant, Variant};
pub use importance::{ImportanceMetric, ScoreSettings, ScoredTokens, score};
pub use scores::{Importance, Part, Scores};
pub use sparsify::SparseMethod;
pub use width::{MaskedMlp, NeuronMask, NeuronScores};
