//! What is fixed when a database is created.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::hnsw::{HnswParams, SearchOptions};
use crate::metric::Metric;

/// The settings of a database, given to [`Store::create`](super::Store::create) and constant from then on, but for the ef
/// of searches.
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
    /// Settings of the layers above, stored as they are. Names that begin with `index.` are taken.
    pub properties: BTreeMap<String, String>,
}

/// Metric, dimension and index of a database with vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSettings {
    /// How vectors are compared.
    pub metric: Metric,
    /// D, the components of every vector: 1 to 65,536.
    pub dim: usize,
    /// What searches use.
    pub index: VectorIndex,
}

/// How the vectors of a database are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VectorIndex {
    /// Exactly: every vector is compared.
    #[default]
    Flat,
    /// By walking graphs. Each commit builds the graph of the segment that it adds.
    Hnsw {
        /// What graphs are built with.
        params: HnswParams,
        /// Segments of fewer rows get no graph and are searched exactly, which takes no longer.
        min_rows: u32,
        /// The ef of searches that name none; [`Store::set_ef_search`](super::Store::set_ef_search) changes it.
        ef_search: usize,
    },
}

impl VectorIndex {
    /// Graphs for segments of 1,024 rows or more, searched with ef 100.
    pub fn hnsw(params: HnswParams) -> VectorIndex {
        VectorIndex::Hnsw { params, min_rows: 1024, ef_search: SearchOptions::DEFAULT_EF }
    }
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
        let vectors = VectorSettings { metric, dim, index: VectorIndex::Flat };
        Settings { vectors: Some(vectors), ..Settings::bm25_only() }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(name) = self.properties.keys().find(|name| name.starts_with(RESERVED)) {
            return Err(Error::ReservedProperty { name: name.clone() });
        }
        let Some(VectorSettings { dim, index, .. }) = self.vectors else { return Ok(()) };
        if !(1..=VectorSettings::MAX_DIM).contains(&dim) {
            return Err(Error::InvalidParameter { name: "dim", got: dim as f64, allowed: "1 to 65536" });
        }
        match index {
            VectorIndex::Flat => Ok(()),
            VectorIndex::Hnsw { params, ef_search, .. } => {
                params.check()?;
                check_ef_search(ef_search)
            }
        }
    }
}

pub(super) fn check_ef_search(ef_search: usize) -> Result<()> {
    if ef_search == 0 {
        return Err(Error::InvalidParameter { name: "ef_search", got: 0.0, allowed: "at least 1" });
    }
    Ok(())
}

/// What the names of properties that say how vectors are indexed begin with.
const RESERVED: &str = "index.";

const KIND: &str = "index.kind";
const M: &str = "index.m";
const EF_CONSTRUCTION: &str = "index.ef_construction";
const SEED: &str = "index.seed";
const MIN_ROWS: &str = "index.min_rows";
const EF_SEARCH: &str = "index.ef_search";

/// The name of the property that keeps what was measured last.
pub(super) const RECALL: &str = "index.recall";

impl VectorIndex {
    /// The index as properties of the manifest: a program that does not know them searches exactly.
    pub(super) fn to_properties(self) -> Vec<(String, String)> {
        let VectorIndex::Hnsw { params: HnswParams { m, ef_construction, seed }, min_rows, ef_search } = self
        else {
            return Vec::new();
        };
        let numbers = [
            (M, m as u64),
            (EF_CONSTRUCTION, ef_construction as u64),
            (SEED, seed),
            (MIN_ROWS, u64::from(min_rows)),
            (EF_SEARCH, ef_search as u64),
        ];
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
        [(KIND.to_owned(), "hnsw".to_owned())].into_iter().chain(numbers).collect()
    }

    /// Takes the index out of the properties; or tells which is wrong, what it should be, and what it is.
    pub(super) fn from_properties(
        properties: &mut BTreeMap<String, String>,
    ) -> Result<VectorIndex, (&'static str, &'static str, String)> {
        let (taken, others): (BTreeMap<_, _>, _) =
            std::mem::take(properties).into_iter().partition(|(name, _)| name.starts_with(RESERVED));
        *properties = others;
        match taken.get(KIND).map(String::as_str) {
            None => return Ok(VectorIndex::Flat),
            Some("hnsw") => {}
            Some(other) => return Err((KIND, "hnsw", other.to_owned())),
        }
        let number = |name: &'static str| {
            let text = taken.get(name).cloned().unwrap_or_default();
            text.parse::<u64>().map_err(|_| (name, "a number", text))
        };
        let params = HnswParams {
            m: number(M)? as usize,
            ef_construction: number(EF_CONSTRUCTION)? as usize,
            seed: number(SEED)?,
        };
        if params.check().is_err() {
            return Err((M, "2 to 256, with ef_construction 1 to 65536", params.m.to_string()));
        }
        let min_rows = u32::try_from(number(MIN_ROWS)?)
            .map_err(|_| (MIN_ROWS, "below 2^32", taken.get(MIN_ROWS).cloned().unwrap_or_default()))?;
        let ef_search = number(EF_SEARCH)? as usize;
        if ef_search == 0 {
            return Err((EF_SEARCH, "at least 1", ef_search.to_string()));
        }
        Ok(VectorIndex::Hnsw { params, min_rows, ef_search })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index comes back from properties and leaves the others alone; bad ones are named.
    #[test]
    fn indexes_are_properties() {
        let params = HnswParams { m: 7, ef_construction: 50, seed: u64::MAX };
        let index = VectorIndex::Hnsw { params, min_rows: 9, ef_search: 33 };
        let others = BTreeMap::from(
            ["a", "index", "index-", "indexes", "z"].map(|name| (name.to_owned(), String::new())),
        );
        let mut properties = others.clone();
        properties.extend(index.to_properties());
        let stored = properties.clone();
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(index));
        assert_eq!(properties, others);
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(VectorIndex::Flat));
        assert_eq!(properties, others);
        for (name, value) in [
            (KIND, "tree"),
            (M, "1"),
            (EF_CONSTRUCTION, "-1"),
            (SEED, ""),
            (MIN_ROWS, "4294967296"),
            (EF_SEARCH, "0"),
        ] {
            let mut bad = stored.clone();
            bad.insert(name.to_owned(), value.to_owned());
            let (named, _, got) = VectorIndex::from_properties(&mut bad).unwrap_err();
            assert_eq!((named, got.as_str()), (name, value));
        }
    }
}
