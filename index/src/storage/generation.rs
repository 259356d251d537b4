//! Generations. A generation is the vectors of all documents under one encoder. One generation is read unless another
//! is asked for.

use std::collections::BTreeMap;

use super::settings::{EncoderIdentity, Settings, VectorSettings};
use crate::error::{Error, Result};

/// The name of the generation that a database is created with.
pub(super) const ORIGINAL: &str = "original";

/// A generation of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// What it is called: 1 to 64 letters, digits, `.`, `_` and `-` of ASCII.
    pub name: String,
    /// Its metric, dimension and index.
    pub vectors: VectorSettings,
    /// The encoder that made its vectors.
    pub encoder: Option<EncoderIdentity>,
    /// Settings of the layers above, as [`Settings::properties`].
    pub properties: BTreeMap<String, String>,
}

impl Generation {
    pub(super) fn check(&self) -> Result<()> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=64).contains(&self.name.len()) || !self.name.chars().all(is_plain) {
            return Err(Error::GenerationName { name: self.name.chars().take(80).collect() });
        }
        let settings = Settings {
            vectors: Some(self.vectors),
            encoder: self.encoder.clone(),
            properties: self.properties.clone(),
            ..Settings::bm25_only()
        };
        settings.check()
    }
}
