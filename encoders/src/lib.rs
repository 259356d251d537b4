//! Text in, unit vectors out: the encoders of secateur.
//!
//! # Overview of types
//!
//! - [`Encoder`] is a model directory of Hugging Face or sentence-transformers, loaded: texts in, vectors out.
//! - [`LoadOptions`] says what is to be otherwise than the directory says: prompts, precision, device.
//! - [`EncoderSettings`] tells how the encoder treats a text: pooling, prompts, the longest text.
//! - [`Notice`] tells what a model's files leave open, and what is assumed in its place.
//! - [`Fingerprint`] is a hash over all that shapes a vector; two encoders with one fingerprint are the same.
//! - [`CrossEncoder`] reads a query and a passage together and scores them.
//! - [`Architecture`](architecture::Architecture) is what a model looks like, read from config.json without any
//!   weights.
//! - [`Remaining`](architecture::Remaining) is what pruning leaves of it: which layers keep their attention, how wide
//!   MLPs are.
//! - [`Tensors`] is where weights come from: a [`Checkpoint`], an adapter over it ([`Adapted`]), quantization
//!   ([`Quantized`]).
//! - `Backend` (`compute/`) is who computes: the operations that a forward is written in.
//! - `Transformer` (`model/`) is an architecture with its weights, on one backend.
//! - [`ModelDirectory`](prune::ModelDirectory), [`Scores`](prune::Scores) and [`Variant`](prune::Variant) prune a
//!   model.
//! - [`Trainer`](train::Trainer) trains one; [`create_model`] makes one from nothing.
//! - [`write_exported`] writes one for transformers, sentence-transformers or vLLM.
//!
//! # Storeys
//!
//! A file names files of its own storey and of those above it in this table, never one below. `scripts/laws` checks it.
//!
//! | storey | what it answers | files |
//! |---|---|---|
//! | ground | what can go wrong, where texts lie, how token vectors become one | `error`, `prune_error`, `json`, `keys`, `notice`, `random`, `spans`, `pooling`, `cosine` |
//! | architecture | what is a model? | `architecture/` |
//! | weights | where do tensors come from? | `weights/` |
//! | compute | who computes? | `compute/` |
//! | model | how is a forward put together? | `model/` |
//! | encoders | how does text become a vector? | `encoder`, `cross_encoder`, `loaded`, `settings`, `tokenize/`, `fingerprint`, `device`, `on_device`, ... |
//! | tools | what can be done with a model? | `contrastive/`, `prune/`, `train/`, `create/`, `quantize`, `merge`, `export/`, `inspect`, `golden`, `gpu_bench/` |
//!
//! This crate never prints, never reads the environment, never downloads, and computes on the caller's rayon pool.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

// The helpers that unit tests share with the integration tests name this crate from outside.
#[cfg(test)]
extern crate self as secateur_encoders;

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

mod after_pooling;
pub mod architecture;
#[doc(hidden)]
pub mod compute;
mod contrastive;
mod cosine;
mod create;
mod cross_encoder;
mod device;
mod encoder;
mod error;
mod export;
mod fingerprint;
pub mod golden;
pub mod gpu_bench;
mod in_force;
pub mod inspect;
mod json;
mod keys;
#[cfg(test)]
mod known_settings;
mod load_options;
mod loaded;
mod matryoshka;
mod merge;
#[doc(hidden)]
pub mod model;
mod notice;
mod on_device;
mod pooling;
pub mod prune;
mod prune_error;
mod quantize;
mod random;
mod remembered;
mod sentence_keys;
mod settings;
mod spans;
mod text_kind;
mod text_name;
mod tokenize;
pub mod train;
mod weights;

pub use after_pooling::{AfterPooling, DenseActivation};
pub use architecture::known_models;
pub use compute::precision::Precision;
pub use cosine::cosine;
pub use create::{NewModelOptions, create_model};
pub use cross_encoder::CrossEncoder;
pub use device::Device;
pub use encoder::Encoder;
pub use error::{BoxedError, Error, Result};
pub use export::{ExportFormat, ExportOptions, Exported, write_exported};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use load_options::LoadOptions;
pub use merge::write_merged;
pub use notice::Notice;
pub use pooling::{Pooling, Poolings};
pub use quantize::{QuantizedFormat, write_quantized};
pub use settings::{EncoderSettings, Similarity};
pub use text_kind::TextKind;
pub use text_name::TextName;
pub use weights::adapted::Adapted;
pub use weights::adapter::Adapter;
pub use weights::checkpoint::Checkpoint;
pub use weights::mapped::MappedTable;
pub use weights::model_files::{ModelFile, TOKENIZER_FILES};
pub use weights::quantized::{Quantization, nf4};
pub use weights::quantizing::Quantized;
pub use weights::shards::StoredTensor;
pub use weights::tensors::{TensorInfo, Tensors};
