//! Where tensors come from: files, adapters, quantization, masks.

pub(crate) mod adapted;
pub(crate) mod adapter;
pub(crate) mod checkpoint;
pub(crate) mod mapped;
pub(crate) mod matrix;
pub(crate) mod model_files;
pub(crate) mod narrowed;
mod pickle;
pub(crate) mod quantized;
pub(crate) mod quantizing;
pub(crate) mod shards;
pub(crate) mod stamp;
pub(crate) mod tensors;
pub(crate) mod write;
