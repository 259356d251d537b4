//! Weights in fewer bits.
//!
//! [`nf4`] is the 4-bit NormalFloat of QLoRA (Dettmers et al. 2023, arXiv 2305.14314), with the same codes and values as
//! the CPU implementation of bitsandbytes 0.50.2. Linear layers are quantized when a model is loaded
//! ([`crate::LoadOptions::quantize`]) or on disk ([`crate::write_quantized`]); embeddings, norms, biases and heads stay.

mod dynamic;
pub mod nf4;
pub(crate) mod stored;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// How linear layers are stored in fewer bits.
///
/// ```
/// use secateur_encoders::Quantization;
/// assert_eq!("nf4".parse(), Ok(Quantization::Nf4));
/// assert_eq!(Quantization::Nf4.to_string(), "nf4");
/// assert!("int8".parse::<Quantization>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// [`nf4`]: 4.127 bits a weight.
    Nf4,
}

/// A name that is no [`Quantization`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a way to quantize; there is nf4")]
pub struct UnknownQuantization {
    /// The name.
    pub found: String,
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantization::Nf4 => f.write_str("nf4"),
        }
    }
}

impl FromStr for Quantization {
    type Err = UnknownQuantization;

    fn from_str(name: &str) -> Result<Quantization, UnknownQuantization> {
        match name {
            "nf4" => Ok(Quantization::Nf4),
            found => Err(UnknownQuantization { found: found.to_owned() }),
        }
    }
}
