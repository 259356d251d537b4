//! Quantized vectors: codes of 8 bits or of one a component, which searches read in place of the vectors.
//!
//! ```text
//! int8      a byte a component, with a bound on the error: exact and graph searches read them first
//! one_bit   a bit a component, for graph searches
//! rotation  what one_bit applies to vectors first, so that no component stands out
//! codes     codes of either kind
//! file      the file of 8-bit codes in a segment
//! kernel    products of a query and codes, by instruction set
//! ```

pub(crate) mod codes;
pub(crate) mod file;
pub(crate) mod int8;
pub(crate) mod kernel;
pub(crate) mod one_bit;
mod rotation;

pub use codes::CodeType;
pub use int8::{Int8Codes, Int8CodesBuf};
