//! Statistics of measurements: intervals of means, quantiles, and how much two rankings agree.
//!
//! Everything here is pure. What is random takes a seed, and gives the same on every machine. The fixtures of
//! `tests/fixtures/statistics` are what scipy computes.

mod agreement;
mod bootstrap;
mod normal;
mod quantile;

pub use agreement::{kendall_tau_b, overlap, rank_correlation};
pub use bootstrap::{Bootstrap, Interval};
pub use quantile::{quantile, quantile_of};
