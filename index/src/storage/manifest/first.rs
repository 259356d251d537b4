//! Format version 1, which had one generation at most.

use std::collections::BTreeMap;

use super::{EncoderRecord, ORIGINAL, SegmentRecord};

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct Manifest {
    pub commit: u64,
    pub vectors: Option<VectorsRecord>,
    pub encoder: Option<EncoderRecord>,
    pub properties: BTreeMap<String, String>,
    pub segments: Vec<SegmentRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct VectorsRecord {
    pub metric: String,
    pub dim: u32,
}

impl From<Manifest> for super::Manifest {
    fn from(old: Manifest) -> super::Manifest {
        let Manifest { commit, vectors, encoder, properties, segments } = old;
        let original = vectors.map(|VectorsRecord { metric, dim }| super::GenerationRecord {
            id: 0,
            name: ORIGINAL.into(),
            metric,
            dim,
            encoder,
            properties: properties.clone(),
        });
        let properties = properties.into_iter().filter(|(name, _)| !name.starts_with("index."));
        super::Manifest {
            commit,
            properties: properties.collect(),
            generations: original.into_iter().collect(),
            active: 0,
            segments,
        }
    }
}
