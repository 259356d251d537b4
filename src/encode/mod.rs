//! Texts become vectors, and pairs of texts become scores.

mod default_encoder;
pub(crate) mod journaled;
mod matrix;
mod passages;
mod rerank;
pub(crate) mod stream;

pub use secateur_encoders::{
    CrossEncoder, Device, Encoder, EncoderSettings, Fingerprint, LoadOptions, Pooling, Precision,
    Quantization, Similarity, TextKind,
};

pub use crate::npy::NpyRows;
pub(crate) use default_encoder::default_encoder_bytes;
pub use default_encoder::{DEFAULT_ENCODER, default_encoder, default_encoder_version, write_default_encoder};
pub use matrix::NpyEncoder;
pub use passages::{InvalidPassages, Passages};
pub use rerank::{Reranker, ScorePairs};
