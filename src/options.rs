//! How options are spelled that several commands take, and which numbers they may be.

use std::num::NonZeroUsize;

use crate::error::{Error, Result as Checked};

/// A number of 1 or more.
pub(crate) fn positive(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(number) => {
            NonZeroUsize::new(number).ok_or_else(|| "expected a whole number of at least 1".to_owned())
        }
        Err(error) => Err(format!("{error}")),
    }
}

/// Refuses what is no number above 0.
pub(crate) fn above_zero(option: &'static str, number: f64) -> Checked<()> {
    match number.is_finite() && number > 0.0 {
        true => Ok(()),
        false => Err(Error::option(option, "expected a number above 0")),
    }
}

/// Refuses limits of a gate that mean nothing. The first is the most that nDCG@10 may fall; below 0 it asks for a gain.
/// The second is the most that a latency may be, as a multiple of another. NaN would hold whatever was measured.
pub(crate) fn gate_limits(max_ndcg_drop: Option<f64>, max_latency_ratio: Option<f64>) -> Checked<()> {
    if max_ndcg_drop.is_some_and(|drop| !(-1.0..=1.0).contains(&drop)) {
        return Err(Error::option("max-ndcg-drop", "expected a number from -1 to 1"));
    }
    max_latency_ratio.map_or(Ok(()), |ratio| above_zero("max-latency-ratio", ratio))
}
