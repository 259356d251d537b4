//! What is fixed when a database is created.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::metric::Metric;

/// The settings of a database, given to [`Store::create`](super::Store::create) and constant from then on.
///
/// ```
/// use secateur_index::{Metric, storage::Settings};
/// let mut settings = Settings::with_vectors(Metric::Cosine, 384);
/// settings.properties.insert("passage-separator".into(), " ".into());
/// assert_eq!(settings.vectors.unwrap().dim, 384);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How vectors are compared, and their length; `None` for a database with BM25 only.
    pub vectors: Option<VectorSettings>,
    /// The encoder that made the vectors. It is stored and given back; comparing it is the caller's part.
    pub encoder: Option<EncoderIdentity>,
    /// Settings of the layers above, stored as they are.
    pub properties: BTreeMap<String, String>,
}

/// Metric and dimension of a database with vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSettings {
    /// How vectors are compared.
    pub metric: Metric,
    /// D, the components of every vector: 1 to 65,536.
    pub dim: usize,
}

impl VectorSettings {
    /// The largest D.
    pub const MAX_DIM: usize = 65_536;
}

/// Which encoder made the vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderIdentity {
    /// For messages to people, such as `sentence-transformers/all-MiniLM-L6-v2`.
    pub name: String,
    /// A hash over everything that decides the encoder's output.
    pub fingerprint: [u8; 32],
}

impl Settings {
    /// A database without vectors.
    pub fn bm25_only() -> Settings {
        Settings { vectors: None, encoder: None, properties: BTreeMap::new() }
    }

    /// A database with a vector of `dim` components for every document, besides BM25.
    pub fn with_vectors(metric: Metric, dim: usize) -> Settings {
        Settings { vectors: Some(VectorSettings { metric, dim }), ..Settings::bm25_only() }
    }

    pub(super) fn check(&self) -> Result<()> {
        match self.vectors {
            Some(VectorSettings { dim, .. }) if !(1..=VectorSettings::MAX_DIM).contains(&dim) => {
                Err(Error::InvalidParameter { name: "dim", got: dim as f64, allowed: "1 to 65536" })
            }
            _ => Ok(()),
        }
    }
}
