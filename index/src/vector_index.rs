//! How the vectors of a database are searched: the list of all kinds of index, and the settings they share.
//!
//! To add a kind, write a folder with parameters that implement [`Format`] and [`Kinds`], and add its line to
//! `formats!`.

use std::collections::BTreeMap;

use crate::backends::{FaissKind, HnswRsParams};
use crate::candidates::Candidates;
use crate::error::{Error, Result};
use crate::format::{Format, Kinds, MAX_ROWS, Parameter};
use crate::hnsw::HnswParams;
use crate::metric::Metric;
use crate::quantization::CodeType;
use crate::rows::Rows;
use crate::search::{SearchOptions, check_ef_search};
use crate::vectors::check_vectors;

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident($parameters:ty),)*) => {
        /// A kind of approximate index, with what it is built with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum IndexFormat {
            $($(#[$doc])* $variant($parameters),)*
        }

        impl IndexFormat {
            pub(crate) fn format(&self) -> &dyn Format {
                match self {
                    $(IndexFormat::$variant(parameters) => parameters,)*
                }
            }

            fn format_mut(&mut self) -> &mut dyn Format {
                match self {
                    $(IndexFormat::$variant(parameters) => parameters,)*
                }
            }

            /// Every kind, with the parameters that it has unless others are given.
            pub fn all() -> impl Iterator<Item = IndexFormat> {
                let none = std::iter::empty();
                $(let none = none.chain(<$parameters>::ALL.iter().map(|kind| IndexFormat::$variant(*kind)));)*
                none
            }
        }
        $(
            impl From<$parameters> for IndexFormat {
                fn from(parameters: $parameters) -> IndexFormat {
                    IndexFormat::$variant(parameters)
                }
            }
        )*
    };
}

formats! {
    /// Our own graphs. Each commit builds the graph of the segment that it adds.
    Hnsw(HnswParams),
    /// Graphs of the crate hnsw_rs, which have no seed: see
    /// [`HnswRsGraph::build`](crate::backends::HnswRsGraph::build).
    HnswRs(HnswRsParams),
    /// Indexes of faiss, which only programs with the cargo feature `faiss` build and search.
    Faiss(FaissKind),
}

impl IndexFormat {
    /// Builds the index of `rows`, (N, D) row-major, in memory.
    ///
    /// # Errors
    /// Those of the kind: [`Graph::build`](crate::hnsw::Graph::build),
    /// [`HnswRsGraph::build`](crate::backends::HnswRsGraph::build),
    /// [`FaissIndex::build`](crate::backends::FaissIndex::build).
    pub fn build(&self, metric: Metric, dim: usize, rows: &[f32]) -> Result<Box<dyn Candidates>> {
        check_vectors(rows, dim)?;
        self.format().build(metric, dim, Rows::F32(rows))
    }
}

/// How the vectors of a database are searched.
///
/// ```
/// use secateur_index::hnsw::HnswParams;
/// use secateur_index::storage::VectorIndex;
///
/// let index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(100);
/// assert_eq!((index.name(), index.ef_search()), ("hnsw", Some(100)));
/// assert_eq!(VectorIndex::default().name(), "flat");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VectorIndex {
    /// Exactly: every vector is compared.
    #[default]
    Flat,
    /// Approximately: an index finds candidates, whose vectors are compared.
    Approximate {
        /// The kind of index, with what it is built with.
        format: IndexFormat,
        /// Segments of fewer rows get no index and are searched exactly, which takes no longer.
        min_rows: u32,
        /// The ef of searches that name none; [`Store::set_ef_search`](crate::storage::Store::set_ef_search) changes
        /// it.
        ef_search: usize,
    },
}

/// Segments of fewer rows get no index unless another number is given: they are searched exactly in no more time.
const DEFAULT_MIN_ROWS: u32 = 1024;

/// What the names of properties that say how vectors are indexed begin with.
pub(crate) const RESERVED: &str = "index.";

const KIND: &str = "index.kind";

/// A property of the manifest that cannot be read: its name, what it should be, and what it is.
pub(crate) type WrongProperty = (&'static str, &'static str, String);

impl VectorIndex {
    /// An index of this kind for segments of 1,024 rows or more, or as many as the kind needs, searched with ef 100.
    pub fn approximate(format: impl Into<IndexFormat>) -> VectorIndex {
        let format = format.into();
        let min_rows = DEFAULT_MIN_ROWS.max(format.format().min_rows() as u32);
        VectorIndex::Approximate { format, min_rows, ef_search: SearchOptions::DEFAULT_EF }
    }

    /// Our own graphs for segments of 1,024 rows or more, searched with ef 100.
    pub fn hnsw(params: HnswParams) -> VectorIndex {
        VectorIndex::approximate(params)
    }

    /// Graphs of hnsw_rs for segments of 1,024 rows or more, searched with ef 100.
    pub fn hnsw_rs(m: usize, ef_construction: usize) -> VectorIndex {
        VectorIndex::approximate(HnswRsParams { m, ef_construction })
    }

    /// Indexes of faiss for segments of 1,024 rows or more, searched with ef 100: the rows that faiss finds, which are
    /// compared again. It is the efSearch of faiss's HNSW; the nprobe of its IVF-PQ is an eighth.
    pub fn faiss(kind: FaissKind) -> VectorIndex {
        VectorIndex::approximate(kind)
    }

    /// The exact index, and one of each approximate kind.
    pub fn all() -> impl Iterator<Item = VectorIndex> {
        std::iter::once(VectorIndex::Flat).chain(IndexFormat::all().map(VectorIndex::approximate))
    }

    /// The name of the kind in files and on the command line, such as `flat`, `hnsw` or `faiss-ivf-pq`.
    pub fn name(&self) -> &'static str {
        self.format().map_or("flat", Format::name)
    }

    /// What the kind is, in a sentence for the command line.
    pub fn about(&self) -> &'static str {
        self.format().map_or("Every vector is compared: exact", Format::about)
    }

    /// The same index for segments of so many rows or more.
    pub fn with_min_rows(mut self, rows: u32) -> VectorIndex {
        if let VectorIndex::Approximate { min_rows, .. } = &mut self {
            *min_rows = rows;
        }
        self
    }

    /// The same index with another ef for searches that name none.
    pub fn with_ef_search(mut self, ef: usize) -> VectorIndex {
        if let VectorIndex::Approximate { ef_search, .. } = &mut self {
            *ef_search = ef;
        }
        self
    }

    /// The same index built with those of `params` that it has: all of them, M and efConstruction, or none.
    pub fn with_params(mut self, mut params: HnswParams) -> VectorIndex {
        if let VectorIndex::Approximate { format, .. } = &mut self {
            for target in format.format_mut().parameters() {
                if let Some(given) =
                    params.parameters().iter().find(|given| given.property == target.property)
                {
                    // One property has one type.
                    let _ = target.value.read(&given.value.text());
                }
            }
        }
        self
    }

    /// The ef of searches that name none; `None` where an ef makes no difference.
    pub fn ef_search(&self) -> Option<usize> {
        match *self {
            VectorIndex::Flat => None,
            VectorIndex::Approximate { ef_search, .. } => Some(ef_search),
        }
    }

    /// What searches of the index compare in place of vectors; `None` where there are no codes of our own.
    pub fn code_type(&self) -> Option<CodeType> {
        self.format().and_then(Format::code_type)
    }

    pub(crate) fn format(&self) -> Option<&dyn Format> {
        match self {
            VectorIndex::Flat => None,
            VectorIndex::Approximate { format, .. } => Some(format.format()),
        }
    }

    /// The fewest rows of which an index is built; `None` if none is ever built.
    pub fn fewest_rows(&self) -> Option<u32> {
        let VectorIndex::Approximate { format, min_rows, .. } = self else { return None };
        Some((*min_rows).max(format.format().min_rows() as u32))
    }

    /// The format of an index of so many rows; `None` if they are too few for one, or too many.
    pub(crate) fn format_for(&self, num_rows: u32) -> Option<&dyn Format> {
        let VectorIndex::Approximate { format, .. } = self else { return None };
        let fewest = self.fewest_rows()? as usize;
        (fewest..=MAX_ROWS).contains(&(num_rows as usize)).then(|| format.format())
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            VectorIndex::Flat => Ok(()),
            VectorIndex::Approximate { format, ef_search, .. } => {
                format.format().check()?;
                check_ef_search(*ef_search)
            }
        }
    }

    /// The parameters of an approximate index, those of the kind and those that all kinds have.
    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        match self {
            VectorIndex::Flat => Vec::new(),
            VectorIndex::Approximate { format, min_rows, ef_search } => {
                let mut parameters = format.format_mut().parameters();
                parameters.push(Parameter::new("index.min_rows", min_rows));
                parameters.push(Parameter::new("index.ef_search", ef_search));
                parameters
            }
        }
    }

    /// The index as properties of the manifest. A program that does not know these properties searches exactly.
    pub(crate) fn to_properties(mut self) -> Vec<(String, String)> {
        let kind = self.format().map(|format| (KIND.to_owned(), format.name().to_owned()));
        let parameters = self.parameters().into_iter().filter_map(|parameter| {
            let text = parameter.value.text();
            (parameter.implied != Some(text.as_str())).then(|| (parameter.property.to_owned(), text))
        });
        kind.into_iter().chain(parameters).collect()
    }

    /// Takes the index out of the properties.
    pub(crate) fn from_properties(
        properties: &mut BTreeMap<String, String>,
    ) -> Result<VectorIndex, WrongProperty> {
        let (taken, others): (BTreeMap<_, _>, _) =
            std::mem::take(properties).into_iter().partition(|(name, _)| name.starts_with(RESERVED));
        *properties = others;
        let Some(kind) = taken.get(KIND) else { return Ok(VectorIndex::Flat) };
        let known = "hnsw, hnsw-rs, faiss-flat, faiss-hnsw or faiss-ivf-pq";
        let format = IndexFormat::all().find(|format| format.format().name() == kind);
        let mut index = VectorIndex::approximate(format.ok_or((KIND, known, kind.clone()))?);
        for Parameter { property, value, implied } in index.parameters() {
            let text = taken.get(property).map(String::as_str).or(implied).unwrap_or_default();
            value.read(text).map_err(|expected| (property, expected, text.to_owned()))?;
        }
        match index.check() {
            Err(Error::InvalidParameter { name, allowed, .. }) => {
                let mut parameters = index.parameters().into_iter();
                let wrong =
                    parameters.find(|parameter| parameter.property.strip_prefix(RESERVED) == Some(name));
                let wrong = wrong.map(|wrong| (wrong.property, wrong.value.text()));
                let (property, text) = wrong.unwrap_or((KIND, kind.clone()));
                Err((property, allowed, text))
            }
            _ => Ok(index),
        }
    }
}

#[cfg(feature = "clap")]
impl clap::ValueEnum for VectorIndex {
    fn value_variants<'a>() -> &'a [VectorIndex] {
        static ALL: std::sync::LazyLock<Vec<VectorIndex>> =
            std::sync::LazyLock::new(|| VectorIndex::all().collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()).help(self.about()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index comes back from properties and leaves the others alone; bad ones are named.
    #[test]
    fn indexes_are_properties() {
        let params = HnswParams { m: 7, ef_construction: 50, seed: u64::MAX, codes: CodeType::Int8 };
        let few = |index: VectorIndex| index.with_min_rows(9).with_ef_search(33);
        let index = few(VectorIndex::hnsw(params));
        let hnsw = FaissKind::Hnsw { m: 255, ef_construction: 50 };
        for other in [
            few(VectorIndex::hnsw_rs(255, 50)),
            few(VectorIndex::faiss(FaissKind::Flat)),
            few(VectorIndex::faiss(hnsw)),
            VectorIndex::faiss(FaissKind::IvfPq),
        ] {
            let mut properties = other.to_properties().into_iter().collect();
            assert_eq!(VectorIndex::from_properties(&mut properties), Ok(other));
        }
        let mut properties =
            VectorIndex::hnsw_rs(16, 200).to_properties().into_iter().collect::<BTreeMap<_, _>>();
        properties.insert("index.m".to_owned(), "256".to_owned());
        assert_eq!(VectorIndex::from_properties(&mut properties).unwrap_err().0, "index.m");
        let others = BTreeMap::from(
            ["a", "index", "index-", "indexes", "z"].map(|name| (name.to_owned(), String::new())),
        );
        let mut properties = others.clone();
        properties.extend(index.to_properties());
        let stored = properties.clone();
        assert!(!stored.contains_key("index.codes"), "what all programs do is not named");
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(index));
        let params = HnswParams { codes: CodeType::OneBit, ..params };
        let of_bits = few(VectorIndex::hnsw(params));
        let mut properties = of_bits.to_properties().into_iter().collect();
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(of_bits));
        let mut properties = others.clone();
        assert_eq!(properties, others);
        assert_eq!(VectorIndex::from_properties(&mut properties), Ok(VectorIndex::Flat));
        assert_eq!(properties, others);
        for (name, value) in [
            (KIND, "tree"),
            ("index.m", "1"),
            ("index.ef_construction", "-1"),
            ("index.seed", ""),
            ("index.codes", "2bit"),
            ("index.min_rows", "4294967296"),
            ("index.ef_search", "0"),
        ] {
            let mut bad = stored.clone();
            bad.insert(name.to_owned(), value.to_owned());
            let (named, _, got) = VectorIndex::from_properties(&mut bad).unwrap_err();
            assert_eq!((named, got.as_str()), (name, value));
        }
    }
}
