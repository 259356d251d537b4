//! How precisely linear layers are multiplied.

use std::fmt;
use std::str::FromStr;

/// How precisely linear layers are multiplied. Everything else is computed in f32.
///
/// ```
/// use secateur_encoders::Precision;
/// assert_eq!("bf16".parse(), Ok(Precision::Bf16));
/// assert_eq!(Precision::default().to_string(), "f32");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32
    #[default]
    F32,
    /// Weights and activations are rounded to bf16, the products summed in f32. Fast on GPUs and on processors with
    /// bf16 products (AMX, AVX-512 BF16); on others the rounded numbers are multiplied in f32, which gains nothing.
    Bf16,
}

/// A name that is no [`Precision`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no precision: use f32 or bf16")]
pub struct UnknownPrecision(String);

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Precision, UnknownPrecision> {
        match name {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            _ => Err(UnknownPrecision(name.to_owned())),
        }
    }
}
