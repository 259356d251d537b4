//! What a search has measured, kept with what it depends on.

use secateur_encoders::Encoder;
use serde::{Deserialize, Serialize};

use super::sample::Sample;
use crate::error::Result;
use crate::measure::Measurements;

/// What measurements depend on.
pub(super) fn key(encoder: &Encoder, samples: &[Sample], max_length: Option<usize>) -> String {
    let samples: Vec<&str> = samples.iter().map(|sample| sample.facts.fingerprint.as_str()).collect();
    format!("search 1 {} {samples:?} {max_length:?}", encoder.fingerprint())
}

/// A value in a file of its own, with what it depends on.
#[derive(Serialize, Deserialize)]
struct Keyed<T> {
    key: String,
    value: T,
}

/// The value that is kept under a name if it depends on `key`; else the one that `make` gives.
pub(super) fn kept_value<T: Serialize + serde::de::DeserializeOwned>(
    kept: &Measurements,
    name: &str,
    key: &str,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let is_current = |found: &Keyed<T>| found.key == key;
    let value = kept.get_or(name, is_current, || Ok(Keyed { key: key.to_owned(), value: make()? }))?.value;
    // JSON's numbers may lose their last bit. What a later call reads is what this one goes on with.
    Ok(kept.kept::<Keyed<T>>(name).map_or(value, |read| read.value))
}
