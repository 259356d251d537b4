//! Text in, unit vectors out: the encoders of secateur.
//!
//! An [`Encoder`] is a model directory of Hugging Face or sentence-transformers, loaded: tokenizer, transformer, pooling,
//! prompts. Its transformer is one definition ([`model`]) whose sub-layers may be absent and whose MLP widths may differ
//! from layer to layer, written in a few operations ([`compute`]) that exist in a composed form on candle and in a fused form
//! for the CPU.
//!
//! This crate never prints, never reads the environment, never downloads, and computes on the caller's rayon pool.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// The helpers that unit tests share with the integration tests name this crate from outside.
#[cfg(test)]
extern crate self as secateur_encoders;

pub mod architecture;
pub mod compute;
mod create;
mod cross_encoder;
mod device;
mod encoder;
mod error;
pub mod golden;
pub mod inspect;
mod json;
mod loaded;
mod matryoshka;
mod merge;
pub mod model;
mod names;
mod pooling;
pub mod prune;
mod quantize;
mod random;
mod settings;
mod tokenize;
pub mod train;
mod weights;

pub use architecture::catalog;
pub use compute::precision::Precision;
pub use create::{NewModelOptions, create_model};
pub use cross_encoder::CrossEncoder;
pub use device::Device;
pub use encoder::{Encoder, LoadOptions, TextKind};
pub use error::{BoxedError, Error, Result};
pub use merge::write_merged;
pub use names::UnknownName;
pub use pooling::Pooling;
pub use quantize::write_quantized;
pub use settings::{Settings, Similarity};
pub use weights::checkpoint::{Checkpoint, StoredTensor};
pub use weights::fingerprint::{Fingerprint, InvalidFingerprint};
pub use weights::quantized::{Quantization, nf4};
