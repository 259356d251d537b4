//! How the indexes of a bench are named: `flat`, `hnsw`, `flat-f16`, `hnsw-1bit`, `hnsw-ef50`.

use std::fmt;
use std::str::FromStr;

use secateur_index::ComponentType;
use secateur_index::hnsw::HnswParams;
use secateur_index::quantization::CodeType;
use secateur_index::storage::VectorIndex;

/// An index of vectors, by its name: the kind, then what differs from its defaults, joined by hyphens.
///
/// `f16` and `bf16` round the stored vectors. `int8` and `1bit` choose the codes of a graph. `efN` sets the ef of
/// searches.
///
/// ```
/// use secateur::bench::IndexSpec;
/// let spec: IndexSpec = "hnsw-f16-1bit-ef50".parse()?;
/// assert_eq!((spec.index.name(), spec.index.ef_search()), ("hnsw", Some(50)));
/// assert_eq!((spec.components.name(), spec.to_string().as_str()), ("f16", "hnsw-f16-1bit-ef50"));
/// assert!("flat-1bit".parse::<IndexSpec>().unwrap_err().to_string().contains("no codes"));
/// # Ok::<(), secateur::bench::InvalidIndex>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    name: String,
    /// How vectors are searched.
    pub index: VectorIndex,
    /// What they are rounded to.
    pub components: ComponentType,
}

/// A name that is no index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no index: {problem}")]
pub struct InvalidIndex {
    /// The name that was given.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for IndexSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl IndexSpec {
    /// Whether both are one index, whatever they are called.
    pub(super) fn is_same(&self, other: &IndexSpec) -> bool {
        (self.index, self.components) == (other.index, other.components)
    }
}

impl FromStr for IndexSpec {
    type Err = InvalidIndex;

    fn from_str(name: &str) -> Result<IndexSpec, InvalidIndex> {
        let wrong = |problem: String| InvalidIndex { name: name.to_owned(), problem };
        let after = |index: &VectorIndex| {
            let rest = name.strip_prefix(index.name())?;
            if rest.is_empty() { Some("") } else { rest.strip_prefix('-') }
        };
        // hnsw-rs begins as hnsw does: the longest name decides.
        let kinds = VectorIndex::all().filter_map(|index| Some((index, after(&index)?)));
        let Some((mut index, rest)) = kinds.max_by_key(|(index, _)| index.name().len()) else {
            let known: Vec<&str> = VectorIndex::all().map(|index| index.name()).collect();
            return Err(wrong(format!("it begins with none of {}", known.join(", "))));
        };
        let mut components = ComponentType::F32;
        let mut given_parts: Vec<(&str, &str)> = Vec::new();
        for part in rest.split('-').filter(|part| !part.is_empty()) {
            let kind = match part {
                _ if part.parse::<ComponentType>().is_ok() => "the stored numbers",
                _ if part.parse::<CodeType>().is_ok() => "the codes",
                _ => "the ef",
            };
            if let Some((_, other)) = given_parts.iter().find(|(known, _)| *known == kind) {
                return Err(wrong(format!("both {other} and {part} set {kind}: choose one")));
            }
            given_parts.push((kind, part));
            let ef = part.strip_prefix("ef").and_then(|ef| ef.parse::<usize>().ok()).filter(|ef| *ef > 0);
            if let Ok(given) = part.parse::<ComponentType>() {
                components = given;
            } else if let Ok(codes) = part.parse::<CodeType>() {
                let params = HnswParams { codes, ..HnswParams::default() };
                index = match index.code_type() {
                    Some(_) => index.with_params(params),
                    None => return Err(wrong(format!("{} has no codes to choose", index.name()))),
                };
            } else if let Some(ef) = ef {
                index = match index.ef_search() {
                    Some(_) => index.with_ef_search(ef),
                    None => return Err(wrong(format!("an ef does nothing for {}", index.name()))),
                };
            } else {
                let known = "f16, bf16, int8, 1bit or efN, such as hnsw-f16-ef50";
                return Err(wrong(format!("{part:?} is none of {known}")));
            }
        }
        Ok(IndexSpec { name: name.to_owned(), index, components })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_wrong_ones_refused() {
        let spec = |name: &str| name.parse::<IndexSpec>();
        assert_eq!(spec("hnsw-rs").unwrap().index.name(), "hnsw-rs");
        assert_eq!(spec("faiss-ivf-pq-f16").unwrap().index.name(), "faiss-ivf-pq");
        assert_eq!(spec("flat").unwrap().components, ComponentType::F32);
        assert_eq!(spec("hnsw-1bit").unwrap().index.code_type(), Some(CodeType::OneBit));
        for (name, problem) in [
            ("tree", "begins with none of flat, hnsw"),
            ("", "begins with none of"),
            ("hnsw16", "begins with none of"),
            ("hnsw-ef0", "\"ef0\" is none of"),
            ("flat-ef9", "an ef does nothing for flat"),
            ("flat-int8", "no codes to choose"),
            ("flat-f16-bf16", "both f16 and bf16 set the stored numbers"),
            ("hnsw-int8-f16-1bit", "both int8 and 1bit set the codes"),
            ("hnsw-ef9-ef10", "both ef9 and ef10 set the ef"),
        ] {
            let error = spec(name).unwrap_err().to_string();
            assert!(error.contains(problem), "{name}: {error}");
        }
    }
}
