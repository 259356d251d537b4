//! Statistics of measurements: intervals of means, quantiles, tests of differences, and how much two rankings agree.
//!
//! Everything here is pure. What is random takes a seed, and gives the same on every machine. The fixtures of
//! `tests/fixtures/statistics` are what scipy, ranx and statsmodels compute.

mod agreement;
mod bootstrap;
mod normal;
mod paired;
mod quantile;
mod student;

pub use agreement::{kendall_tau_b, overlap, rank_correlation};
pub use bootstrap::{Bootstrap, Interval};
pub use paired::{Randomization, TTest, holm, paired_t_test};
pub use quantile::{quantile, quantile_of};
