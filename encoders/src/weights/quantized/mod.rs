//! Weights in fewer bits.
//!
//! [`int8`] has a scale for each 128 numbers of a row, as products in 8 bits have. [`nf4`] is the 4-bit NormalFloat
//! of QLoRA (Dettmers et al. 2023, arXiv 2305.14314). Its codes and values are those of the CPU implementation of
//! bitsandbytes 0.50.2. Linear layers are quantized when a model is loaded ([`crate::LoadOptions::quantize`]) or on
//! disk ([`crate::write_quantized`]); embeddings, norms, biases and heads stay.

pub(crate) mod bitsandbytes;
mod dynamic;
pub(crate) mod int8;
pub mod nf4;
#[cfg(test)]
mod tests;

use secateur_files::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// How linear layers are stored in fewer bits.
///
/// ```
/// use secateur_encoders::Quantization;
/// assert_eq!("nf4".parse(), Ok(Quantization::Nf4));
/// assert_eq!(Quantization::Nf4.to_string(), "nf4");
/// assert!("int8".parse::<Quantization>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Quantization {
    /// QLoRA's codes of 4 bits, 4.127 bits a weight with their scales.
    Nf4,
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<Quantization>("a quantization", found)
}
