//! Statistics of measurements.
//!
//! Everything here is pure. What is random takes a seed, and gives the same on every machine. The fixtures of
//! `tests/fixtures/statistics` are what scipy, ranx and statsmodels compute.

mod paired;
mod student;

pub use paired::{Randomization, TTest, holm, paired_t_test};
