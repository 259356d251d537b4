//! Contrastive learning: vectors of queries and passages, a loss that compares them, and the way back to the
//! gradients of what is trained.
//!
//! [`engine::Engine`] goes forward and back over texts, in parts that threads compute side by side; [`loss`] says
//! what is minimized. Training takes steps with it, and importance by gradient asks it for derivatives.

pub(crate) mod engine;
pub(crate) mod loss;
mod parts;
mod pass;
