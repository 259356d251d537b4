//! Where tensors come from: files, adapters, quantization.

pub(crate) mod adapter;
pub(crate) mod checkpoint;
pub(crate) mod files;
pub(crate) mod fingerprint;
mod matrix;
pub(crate) mod quantized;
pub(crate) mod write;

pub use matrix::{LinearWeights, Matrix, Nf4Rows, Weight};
