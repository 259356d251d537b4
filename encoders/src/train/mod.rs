//! Training: retrieval fine-tuning by low-rank adaptation or of all weights, distillation, and learned widths (EffiR,
//! sections 4.2 and 5.1).
//!
//! A [`Trainer`] is a model that takes steps on batches of [`Example`]s: forward, loss, backward, update (`step.rs`).
//! Its forward is that of the encoder, bit for bit. Its gradients come from the tape that the operations write
//! (`compute/tape`). It computes on the caller's rayon pool, and a run's result does not depend on how many threads
//! that has.

mod lora;
mod optimizer;
mod settings;
mod slim;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod texts;
mod trainer;
mod write;

pub use crate::contrastive::loss::Loss;
pub use lora::Lora;
pub use optimizer::{AdamW, Decay, Schedule};
pub use settings::{TrainSettings, Trained};
pub use slim::Slim;
pub use step::StepReport;
pub use texts::Example;
pub use trainer::Trainer;
