//! Products of quantized vectors: sums of integers, which every instruction set computes alike.

pub(crate) mod int8;
pub(crate) mod one_bit;
