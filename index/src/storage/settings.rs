//! What is fixed when a database is created.

use std::collections::BTreeMap;

use crate::backends::{FaissKind, HnswRsGraph};
use crate::error::{Error, Result};
use crate::hnsw::{CodeType, HnswParams};
use crate::metric::Metric;
use crate::rows::{ComponentType, round};
use crate::search::SearchOptions;
use crate::vectors::check_vector;

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

/// Metric, dimension, components and index of a database with vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorSettings {
    /// How vectors are compared.
    pub metric: Metric,
    /// D, the components of every vector: 1 to 65,536.
    pub dim: usize,
    /// What vectors are rounded to when they are stored. All that is computed is computed of the stored vectors, in f32, so exact
    /// searches are exact for these.
    pub components: ComponentType,
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
    /// By walking graphs of the crate hnsw_rs, which have no seed: see [`HnswRsGraph::build`].
    HnswRs {
        /// M, 2 to 255.
        m: usize,
        /// efConstruction, 1 to 65,536.
        ef_construction: usize,
        /// As with [`VectorIndex::Hnsw`].
        min_rows: u32,
        /// As with [`VectorIndex::Hnsw`].
        ef_search: usize,
    },
    /// By indexes of faiss, which only programs with the cargo feature `faiss` build and search: see
    /// [`FaissIndex`](crate::backends::FaissIndex).
    Faiss {
        /// Which index of faiss.
        kind: FaissKind,
        /// As with [`VectorIndex::Hnsw`]; for IVF-PQ at least [`FaissKind::min_rows`].
        min_rows: u32,
        /// As with [`VectorIndex::Hnsw`]: the rows that faiss finds, which are compared again. It is the efSearch of its HNSW;
        /// the nprobe of its IVF-PQ is an eighth.
        ef_search: usize,
    },
}

/// Segments of fewer rows get no graph, unless another number is given: they are searched exactly in no more time.
const DEFAULT_MIN_ROWS: u32 = 1024;

impl VectorIndex {
    /// Graphs for segments of 1,024 rows or more, searched with ef 100.
    pub fn hnsw(params: HnswParams) -> VectorIndex {
        VectorIndex::Hnsw { params, min_rows: DEFAULT_MIN_ROWS, ef_search: SearchOptions::DEFAULT_EF }
    }

    /// Graphs of hnsw_rs for segments of 1,024 rows or more, searched with ef 100.
    pub fn hnsw_rs(m: usize, ef_construction: usize) -> VectorIndex {
        let ef_search = SearchOptions::DEFAULT_EF;
        VectorIndex::HnswRs { m, ef_construction, min_rows: DEFAULT_MIN_ROWS, ef_search }
    }

    /// Indexes of faiss for segments of 1,024 rows or more, of which 100 rows are compared again.
    pub fn faiss(kind: FaissKind) -> VectorIndex {
        let min_rows = kind.min_rows().max(DEFAULT_MIN_ROWS);
        VectorIndex::Faiss { kind, min_rows, ef_search: SearchOptions::DEFAULT_EF }
    }

    /// The ef of searches that name none; `None` where an ef makes no difference.
    pub fn ef_search(&self) -> Option<usize> {
        match *self {
            VectorIndex::Flat => None,
            VectorIndex::Hnsw { ef_search, .. }
            | VectorIndex::HnswRs { ef_search, .. }
            | VectorIndex::Faiss { ef_search, .. } => Some(ef_search),
        }
    }

    /// What walks compare; `None` where none of our graphs is walked.
    pub fn code_type(&self) -> Option<CodeType> {
        match self {
            VectorIndex::Hnsw { params, .. } => Some(params.codes),
            VectorIndex::Flat | VectorIndex::HnswRs { .. } | VectorIndex::Faiss { .. } => None,
        }
    }

    /// The same index with another ef; `None` where an ef makes no difference.
    pub(super) fn with_ef_search(mut self, ef: usize) -> Option<VectorIndex> {
        match &mut self {
            VectorIndex::Flat => return None,
            VectorIndex::Hnsw { ef_search, .. }
            | VectorIndex::HnswRs { ef_search, .. }
            | VectorIndex::Faiss { ef_search, .. } => *ef_search = ef,
        }
        Some(self)
    }

    fn check(&self) -> Result<()> {
        match self {
            VectorIndex::Flat => {}
            VectorIndex::Hnsw { params, .. } => params.check()?,
            VectorIndex::HnswRs { m, ef_construction, .. } => HnswRsGraph::check(*m, *ef_construction)?,
            VectorIndex::Faiss { kind, .. } => kind.check()?,
        }
        self.ef_search().map_or(Ok(()), check_ef_search)
    }
}

impl VectorSettings {
    /// The largest D.
    pub const MAX_DIM: usize = 65_536;

    /// Vectors of f32, searched exactly.
    pub fn new(metric: Metric, dim: usize) -> VectorSettings {
        VectorSettings { metric, dim, components: ComponentType::F32, index: VectorIndex::Flat }
    }

    /// Checks that a vector can be stored and searched.
    pub(super) fn check_vector(&self, vector: &[f32]) -> Result<()> {
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
        Settings { vectors: None, encoder: None, properties: BTreeMap::new() }
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
        if let VectorIndex::Faiss { kind, .. } = index {
            kind.check_feature()?;
        }
        index.check()
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
const CODES: &str = "index.codes";
const MIN_ROWS: &str = "index.min_rows";
const EF_SEARCH: &str = "index.ef_search";

/// The name of the property that says what vectors are rounded to; absent for f32.
pub(super) const COMPONENTS: &str = "index.components";

/// The name of the property that keeps what was measured last.
pub(super) const RECALL: &str = "index.recall";

impl VectorIndex {
    /// The index as properties of the manifest: a program that does not know them searches exactly.
    pub(super) fn to_properties(self) -> Vec<(String, String)> {
        let mut codes = CodeType::default();
        let (kind, m, ef_construction, seed, min_rows, ef_search) = match self {
            VectorIndex::Flat => return Vec::new(),
            VectorIndex::Hnsw { params, min_rows, ef_search } => {
                codes = params.codes;
                let HnswParams { m, ef_construction, seed, .. } = params;
                ("hnsw", Some(m), Some(ef_construction), Some(seed), min_rows, ef_search)
            }
            VectorIndex::HnswRs { m, ef_construction, min_rows, ef_search } => {
                ("hnsw-rs", Some(m), Some(ef_construction), None, min_rows, ef_search)
            }
            VectorIndex::Faiss { kind, min_rows, ef_search } => match kind {
                FaissKind::Flat => ("faiss-flat", None, None, None, min_rows, ef_search),
                FaissKind::Hnsw { m, ef_construction } => {
                    ("faiss-hnsw", Some(m), Some(ef_construction), None, min_rows, ef_search)
                }
                FaissKind::IvfPq => ("faiss-ivf-pq", None, None, None, min_rows, ef_search),
            },
        };
        let numbers = [
            (M, m.map(|m| m as u64)),
            (EF_CONSTRUCTION, ef_construction.map(|ef| ef as u64)),
            (SEED, seed),
            (MIN_ROWS, Some(u64::from(min_rows))),
            (EF_SEARCH, Some(ef_search as u64)),
        ];
        let numbers =
            numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number?.to_string())));
        // Not where programs that do not know it do the same.
        let codes = (codes != CodeType::default()).then(|| (CODES.to_owned(), codes.to_string()));
        [(KIND.to_owned(), kind.to_owned())].into_iter().chain(numbers).chain(codes).collect()
    }

    /// Takes the index out of the properties; or tells which is wrong, what it should be, and what it is.
    pub(super) fn from_properties(
        properties: &mut BTreeMap<String, String>,
    ) -> Result<VectorIndex, (&'static str, &'static str, String)> {
        let (taken, others): (BTreeMap<_, _>, _) =
            std::mem::take(properties).into_iter().partition(|(name, _)| name.starts_with(RESERVED));
        *properties = others;
        let Some(kind) = taken.get(KIND) else { return Ok(VectorIndex::Flat) };
        let text = |name| taken.get(name).cloned().unwrap_or_default();
        let number =
            |name: &'static str| text(name).parse::<u64>().map_err(|_| (name, "a number", text(name)));
        let size = |name| number(name).map(|number| number as usize);
        let min_rows =
            || u32::try_from(number(MIN_ROWS)?).map_err(|_| (MIN_ROWS, "below 2^32", text(MIN_ROWS)));
        let index = match kind.as_str() {
            "hnsw" => {
                let name = taken.get(CODES).map_or(CodeType::default().name(), String::as_str);
                let codes = CodeType::ALL.into_iter().find(|codes| codes.name() == name);
                let codes = codes.ok_or_else(|| (CODES, "int8 or 1bit", name.to_owned()))?;
                let (m, ef_construction) = (size(M)?, size(EF_CONSTRUCTION)?);
                let params = HnswParams { m, ef_construction, seed: number(SEED)?, codes };
                VectorIndex::Hnsw { params, min_rows: min_rows()?, ef_search: size(EF_SEARCH)? }
            }
            "hnsw-rs" => VectorIndex::HnswRs {
                m: size(M)?,
                ef_construction: size(EF_CONSTRUCTION)?,
                min_rows: min_rows()?,
                ef_search: size(EF_SEARCH)?,
            },
            kind => {
                let kind = match kind {
                    "faiss-flat" => FaissKind::Flat,
                    "faiss-hnsw" => FaissKind::Hnsw { m: size(M)?, ef_construction: size(EF_CONSTRUCTION)? },
                    "faiss-ivf-pq" => FaissKind::IvfPq,
                    other => {
                        let known = "hnsw, hnsw-rs, faiss-flat, faiss-hnsw or faiss-ivf-pq";
                        return Err((KIND, known, other.to_owned()));
                    }
                };
                VectorIndex::Faiss { kind, min_rows: min_rows()?, ef_search: size(EF_SEARCH)? }
            }
        };
        match index.check() {
            Err(Error::InvalidParameter { name: "ef_search", allowed, .. }) => {
                Err((EF_SEARCH, allowed, text(EF_SEARCH)))
            }
            Err(Error::InvalidParameter { name: "ef_construction", allowed, .. }) => {
                Err((EF_CONSTRUCTION, allowed, text(EF_CONSTRUCTION)))
            }
            Err(_) => Err((M, "2 to 256, of hnsw-rs 255", text(M))),
            Ok(()) => Ok(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index comes back from properties and leaves the others alone; bad ones are named.
    #[test]
    fn indexes_are_properties() {
        let params = HnswParams { m: 7, ef_construction: 50, seed: u64::MAX, codes: CodeType::Int8 };
        let index = VectorIndex::Hnsw { params, min_rows: 9, ef_search: 33 };
        let hnsw = FaissKind::Hnsw { m: 255, ef_construction: 50 };
        for other in [
            VectorIndex::HnswRs { m: 255, ef_construction: 50, min_rows: 9, ef_search: 33 },
            VectorIndex::Faiss { kind: FaissKind::Flat, min_rows: 9, ef_search: 33 },
            VectorIndex::Faiss { kind: hnsw, min_rows: 9, ef_search: 33 },
            VectorIndex::faiss(FaissKind::IvfPq),
        ] {
            let mut properties = other.to_properties().into_iter().collect();
            assert_eq!(VectorIndex::from_properties(&mut properties), Ok(other));
        }
        let mut properties =
            VectorIndex::hnsw_rs(16, 200).to_properties().into_iter().collect::<BTreeMap<_, _>>();
        properties.insert(M.to_owned(), "256".to_owned());
        assert_eq!(VectorIndex::from_properties(&mut properties).unwrap_err().0, M);
        let settings = Settings::with_vectors(Metric::Cosine, 2);
        let vectors =
            settings.vectors.map(|vectors| VectorSettings { index: VectorIndex::faiss(hnsw), ..vectors });
        let checked = Settings { vectors, ..settings }.check();
        assert_eq!(checked.is_ok(), cfg!(feature = "faiss"), "{checked:?}");
        let others = BTreeMap::from(
            ["a", "index", "index-", "indexes", "z"].map(|name| (name.to_owned(), String::new())),
        );
        let mut properties = others.clone();
        properties.extend(index.to_properties());
        let stored = properties.clone();
        assert!(!stored.contains_key(CODES), "what all programs do is not named");
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(index));
        let params = HnswParams { codes: CodeType::OneBit, ..params };
        let of_bits = VectorIndex::Hnsw { params, min_rows: 9, ef_search: 33 };
        let mut properties = of_bits.to_properties().into_iter().collect();
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(of_bits));
        let mut properties = others.clone();
        assert_eq!(properties, others);
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(VectorIndex::Flat));
        assert_eq!(properties, others);
        for (name, value) in [
            (KIND, "tree"),
            (M, "1"),
            (EF_CONSTRUCTION, "-1"),
            (SEED, ""),
            (CODES, "2bit"),
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
