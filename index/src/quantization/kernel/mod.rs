//! Products of quantized vectors: sums of integers, which every instruction set computes alike.

#![allow(unsafe_code, reason = "vector instructions of the processor at hand")]

pub(crate) mod int8;
pub(crate) mod one_bit;
