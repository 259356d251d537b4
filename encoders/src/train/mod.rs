//! Training: retrieval fine-tuning by low-rank adaptation or of all weights, distillation, and learned widths (EffiR,
//! sections 4.2 and 5.1).
//!
//! A [`Trainer`] is a model that takes steps on batches of [`Example`]s: forward, loss, backward, update (`step.rs`).
//! Its gradients come from the tape that the operations write (`compute/tape`). On a CPU its forward is that of the
//! encoder, bit for bit. It computes on the caller's rayon pool, and a run's result does not depend on how many threads
//! that has. On a GPU the forward differs by rounding.

mod device;
mod learner;
mod lora;
mod optimizer;
mod settings;
mod slim;
mod state;
mod step;
mod teacher_vectors;
mod teaching;
#[cfg(test)]
mod tests;
mod texts;
mod trainer;
mod write;

pub use crate::contrastive::loss::Loss;
pub(crate) use learner::{Learner, Learning};
pub use lora::Lora;
pub use optimizer::{AdamW, Decay, Schedule};
pub use settings::{TrainSettings, Trained};
pub use slim::Slim;
pub use step::StepReport;
pub use teacher_vectors::{TeacherVectors, TextKey};
pub use texts::Example;
pub(crate) use texts::Texts;
pub use trainer::Trainer;
