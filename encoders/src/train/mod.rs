//! Training: retrieval fine-tuning by low-rank adaptation or of all weights, distillation, and learned widths (EffiR, sections
//! 4.2 and 5.1).
//!
//! A [`Trainer`] is a model that takes steps on batches of [`Example`]s. Its forward is that of the encoder, bit for bit; its
//! gradients come from the record that the operations keep (`compute/tape`). It computes on the caller's rayon pool, and a
//! run's result does not depend on how many threads that has.

mod gates;
mod lora;
mod loss;
mod optimizer;
mod parts;
mod pass;
mod settings;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod texts;
mod trainer;
mod write;

pub use gates::Gates;
pub use lora::Lora;
pub use loss::Loss;
pub use optimizer::{AdamW, Decay, Schedule};
pub use settings::{TrainSettings, Trained};
pub use step::StepReport;
pub use texts::Example;
pub use trainer::Trainer;
