//! How precisely linear layers are multiplied.

use secateur_files::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// How precisely linear layers are multiplied. Everything else is computed in f32, with one exception. On a processor
/// with AMX, attention beside linear layers in bf16 or 8 bits multiplies in bf16.
///
/// ```
/// use secateur_encoders::Precision;
/// assert_eq!("bf16".parse(), Ok(Precision::Bf16));
/// assert_eq!(Precision::default().to_string(), "f32");
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Precision {
    /// f32
    #[default]
    F32,
    /// Weights and activations are rounded to bf16, and products are summed in f32. This is fast on GPUs and on
    /// processors with bf16 products (AMX, AVX-512 BF16). Other processors multiply the rounded numbers in f32, which
    /// gains nothing.
    Bf16,
    /// Weights and activations are quantized to 8 bits in groups of 128, and their products are summed exactly. This
    /// is fastest on processors with products of 8 bits (AMX, AVX-512 VNNI). Weights take a quarter of the memory of
    /// f32. For CPUs only.
    Int8,
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<Precision>("a precision", found)
}
