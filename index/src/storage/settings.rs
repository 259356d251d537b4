//! What is fixed when a database is created.

use std::collections::BTreeMap;

use crate::bm25::Analyzer;
use crate::error::{Error, Result};
use crate::format::Format;
use crate::metric::Metric;
use crate::rows::{ComponentType, round};
use crate::vector_index::{RESERVED, VectorIndex};
use crate::vectors::check_vector;

/// The settings of a database, given to [`Store::create`](super::Store::create) and constant from then on, but for
/// the ef of searches.
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
    /// What makes terms of texts. `None` in databases that were made before it was written down: their English terms
    /// are not all those of [`Analyzer::English`].
    pub analyzer: Option<Analyzer>,
    /// Settings of the layers above, stored as they are. Names that begin with `index.` are reserved.
    pub properties: BTreeMap<String, String>,
}

/// Metric, dimension, components and index of a database with vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSettings {
    /// How vectors are compared.
    pub metric: Metric,
    /// D, the components of every vector: 1 to 65,536.
    pub dim: usize,
    /// The type that vectors are rounded to when they are stored. Everything is computed in f32 from the stored
    /// vectors, so exact searches are exact for the stored vectors.
    pub components: ComponentType,
    /// What searches use.
    pub index: VectorIndex,
    /// Whether a document may have several vectors, one for each of its passages. A search then finds documents, each
    /// once, with the score of its best vector.
    pub passages: bool,
}

impl VectorSettings {
    /// The largest D.
    pub const MAX_DIM: usize = 65_536;

    /// Vectors of f32, searched exactly.
    pub fn new(metric: Metric, dim: usize) -> VectorSettings {
        VectorSettings {
            metric,
            dim,
            components: ComponentType::F32,
            index: VectorIndex::Flat,
            passages: false,
        }
    }

    /// Checks that the vectors of a document can be stored and searched: one, or with passages at least one.
    pub(super) fn check_vectors(&self, vectors: &[f32]) -> Result<()> {
        if self.passages && !vectors.is_empty() && vectors.len().is_multiple_of(self.dim) {
            return vectors.chunks_exact(self.dim).try_for_each(|vector| self.check_vector(vector));
        }
        self.check_vector(vectors)
    }

    fn check_vector(&self, vector: &[f32]) -> Result<()> {
        check_vector(vector, self.dim)?;
        if self.components == ComponentType::F32 {
            return Ok(());
        }
        let mut rounded = vector.to_vec();
        round(self.components, &mut rounded, &mut Vec::new());
        let (stored, max) = (self.components, self.components.max());
        if let Some(component) = rounded.iter().position(|x| x.abs() > max) {
            return Err(Error::ComponentTooLarge { component, value: vector[component], stored, max });
        }
        check_vector(&rounded, self.dim)
    }
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
        let analyzer = Some(Analyzer::default());
        Settings { vectors: None, encoder: None, analyzer, properties: BTreeMap::new() }
    }

    /// A database with a vector of `dim` components for every document, besides BM25.
    pub fn with_vectors(metric: Metric, dim: usize) -> Settings {
        Settings { vectors: Some(VectorSettings::new(metric, dim)), ..Settings::bm25_only() }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(name) = self.properties.keys().find(|name| name.starts_with(RESERVED)) {
            return Err(Error::ReservedProperty { name: name.clone() });
        }
        let Some(VectorSettings { dim, index, .. }) = self.vectors else { return Ok(()) };
        if !(1..=VectorSettings::MAX_DIM).contains(&dim) {
            return Err(Error::InvalidParameter { name: "dim", got: dim as f64, allowed: "1 to 65536" });
        }
        index.format().map_or(Ok(()), Format::check_feature)?;
        index.check()
    }
}

/// The name of the database's property that says what makes terms of texts.
pub(super) const ANALYZER: &str = "index.analyzer";

/// The name of the property that says what vectors are rounded to; absent for f32.
pub(super) const COMPONENTS: &str = "index.components";

/// The name of the property that is `several` where a document may have several vectors; absent elsewhere.
pub(super) const PASSAGES: &str = "index.passages";

/// Its value.
pub(super) const SEVERAL: &str = "several";

/// The name of the property that keeps what was measured last.
pub(super) const RECALL: &str = "index.recall";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::FaissKind;

    /// A program without faiss refuses settings that need it.
    #[test]
    fn features_are_checked() {
        let settings = Settings::with_vectors(Metric::Cosine, 2);
        let index = VectorIndex::faiss(FaissKind::Hnsw { m: 255, ef_construction: 50 });
        let vectors = settings.vectors.map(|vectors| VectorSettings { index, ..vectors });
        let checked = Settings { vectors, ..settings }.check();
        assert_eq!(checked.is_ok(), cfg!(feature = "faiss"), "{checked:?}");
    }
}
