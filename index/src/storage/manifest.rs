//! The manifest: the one file that says what the database holds, replaced as a whole by each commit.
//!
//! | bytes | field |
//! |---|---|
//! | 0..64 | the common header; its fields: 16..24 length of the body, u64; 24..28 CRC-32 of the body |
//! | 64.. | the body: a [`Manifest`] archived with rkyv 0.8 (little-endian, 32-bit offsets, aligned), checked by bytecheck |

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path};

use rkyv::rancor;
use rkyv::util::AlignedVec;

use super::files::{check_crc, corrupt, io_error, replace, wrong_field};
use super::header::{HEADER_LEN, Header, Kind};
use super::settings::{EncoderIdentity, Settings, VectorIndex, VectorSettings};
use crate::error::{Damage, Error, Result};
use crate::metric::Metric;

/// The file's name in the database folder.
pub(super) const FILE_NAME: &str = "MANIFEST";

const KIND: Kind = Kind { mark: b"SCTRMANI", name: "a manifest", version: 1 };

/// What a commit wrote down.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct Manifest {
    /// 0 for the empty database, one more with each commit.
    pub commit: u64,
    pub vectors: Option<VectorsRecord>,
    pub encoder: Option<EncoderRecord>,
    pub properties: BTreeMap<String, String>,
    /// In the order of their rows.
    pub segments: Vec<SegmentRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct VectorsRecord {
    pub metric: String,
    pub dim: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct EncoderRecord {
    pub name: String,
    pub fingerprint: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct SegmentRecord {
    /// Its folder in `segments/`.
    pub folder: String,
    pub rows: u32,
    pub files: Vec<FileRecord>,
    /// The deleted rows, bit r % 64 of word r / 64; no words if none is.
    pub deleted: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct FileRecord {
    /// Path in the segment's folder, with `/`.
    pub name: String,
    pub size: u64,
    pub crc: u32,
}

impl Manifest {
    pub fn empty(settings: &Settings) -> Manifest {
        Manifest {
            commit: 0,
            vectors: settings.vectors.map(|vectors| VectorsRecord {
                metric: vectors.metric.name().into(),
                dim: vectors.dim as u32,
            }),
            encoder: settings.encoder.as_ref().map(|encoder| EncoderRecord {
                name: encoder.name.clone(),
                fingerprint: encoder.fingerprint,
            }),
            properties: settings
                .vectors
                .map_or(VectorIndex::Flat, |vectors| vectors.index)
                .to_properties()
                .into_iter()
                .chain(settings.properties.clone())
                .collect(),
            segments: Vec::new(),
        }
    }

    pub fn settings(&self, file: &Path) -> Result<Settings> {
        let mut properties = self.properties.clone();
        let index = VectorIndex::from_properties(&mut properties)
            .map_err(|(field, expected, got)| corrupt(file, wrong_field(field, expected, got)))?;
        let vectors = match &self.vectors {
            None => None,
            Some(record) => {
                let metric: Metric = record
                    .metric
                    .parse()
                    .map_err(|_| corrupt(file, wrong_field("metric", "a metric's name", &record.metric)))?;
                let dim = record.dim as usize;
                Some(VectorSettings { metric, dim, index })
            }
        };
        Ok(Settings {
            vectors,
            encoder: self
                .encoder
                .as_ref()
                .map(|record| EncoderIdentity { name: record.name.clone(), fingerprint: record.fingerprint }),
            properties,
        })
    }

    /// The file of the manifest's bytes.
    fn encode(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rancor::Error>(self)
            .expect("archiving into memory fails only when memory runs out, which aborts");
        let mut header = Header::new(&KIND);
        header.put(16, &(body.len() as u64).to_le_bytes());
        header.put(24, &crc32fast::hash(&body).to_le_bytes());
        [&header.seal()[..], &body].concat()
    }

    /// Replaces the manifest of the database in `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        replace(&folder.join(FILE_NAME), &self.encode())
    }

    /// Reads and checks the manifest of the database in `folder`.
    pub fn read(folder: &Path) -> Result<Manifest> {
        let path = folder.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(Error::NotADatabase { path: folder.to_owned() });
            }
            other => other.map_err(io_error("read", &path))?,
        };
        Manifest::decode(&path, &bytes)
    }

    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Manifest> {
        let header = Header::read(path, bytes, &KIND)?;
        let body = &bytes[HEADER_LEN..];
        if body.len() as u64 != header.u64(16) {
            let expected = header.u64(16).saturating_add(HEADER_LEN as u64);
            let got = bytes.len() as u64;
            return Err(corrupt(path, Damage::Size { expected, got }));
        }
        check_crc(path, "the body", header.u32(24), crc32fast::hash(body))?;
        let mut aligned = AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(body);
        let manifest = rkyv::from_bytes::<Manifest, rancor::Error>(&aligned)
            .map_err(|_| corrupt(path, Damage::Undecodable { part: "the body" }))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Checks what the rest of the program relies on.
    fn check(&self, path: &Path) -> Result<()> {
        let wrong = |field, expected: &str, got: &dyn ToString| {
            Err(corrupt(path, wrong_field(field, expected, got.to_string())))
        };
        if let Some(record) = &self.vectors
            && !(1..=VectorSettings::MAX_DIM).contains(&(record.dim as usize))
        {
            return wrong("dim", "1 to 65536", &record.dim);
        }
        let rows: u64 = self.segments.iter().map(|segment| u64::from(segment.rows)).sum();
        if rows > u64::from(u32::MAX) {
            return wrong("the number of rows", "below 2^32", &rows);
        }
        for segment in &self.segments {
            let is_plain = |name: &str| {
                !name.contains('\\')
                    && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
            };
            let names = segment.files.iter().map(|file| &file.name).chain([&segment.folder]);
            for name in names {
                if name.is_empty() || !is_plain(name) {
                    return wrong("a file name", "a plain relative path", name);
                }
            }
            let words = (segment.rows as usize).div_ceil(64);
            let beyond = match segment.deleted.last() {
                Some(last) if !segment.rows.is_multiple_of(64) => last >> (segment.rows % 64),
                _ => 0,
            };
            if ![0, words].contains(&segment.deleted.len()) || beyond != 0 {
                return wrong("the deleted rows", "one bit a row", &segment.deleted.len());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Manifest {
        let mut manifest = Manifest::empty(&Settings::with_vectors(Metric::Cosine, 384));
        manifest.encoder = Some(EncoderRecord { name: "an encoder".into(), fingerprint: [1; 32] });
        manifest.properties.insert("key".into(), "value".into());
        let file = FileRecord { name: "bm25/meta.json".into(), size: 9, crc: 8 };
        manifest.segments.push(SegmentRecord {
            folder: "0000000001".into(),
            rows: 70,
            files: vec![file],
            deleted: vec![1, 2],
        });
        manifest
    }

    proptest! {
        /// What is written is read.
        #[test]
        fn round_trip(commit: u64, rows in 0u32..200, name in "\\PC{0,20}", key in "\\PC{0,9}", dim in prop::option::of(1u32..9)) {
            let mut manifest = example();
            manifest.commit = commit;
            manifest.vectors = dim.map(|dim| VectorsRecord { metric: "l2".into(), dim });
            manifest.encoder = Some(EncoderRecord { name, fingerprint: [3; 32] });
            manifest.properties.insert(key.clone(), key);
            manifest.segments[0].rows = rows;
            manifest.segments[0].deleted = vec![0; (rows as usize).div_ceil(64)];
            let decoded = Manifest::decode(Path::new("MANIFEST"), &manifest.encode());
            prop_assert_eq!(decoded.unwrap(), manifest);
        }

        /// A body that is wrong although its checksum is right, which damage cannot bring about but malice can: an
        /// error or another manifest that passes the checks, never a panic.
        #[test]
        fn forged_bodies_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = example().encode();
            let len = bytes.len();
            for (place, byte) in changes {
                bytes[HEADER_LEN + place.index(len - HEADER_LEN)] = byte;
            }
            let mut header = Header::new(&KIND);
            header.put(16, &((len - HEADER_LEN) as u64).to_le_bytes());
            header.put(24, &crc32fast::hash(&bytes[HEADER_LEN..]).to_le_bytes());
            bytes[..HEADER_LEN].copy_from_slice(&header.seal());
            if let Ok(manifest) = Manifest::decode(Path::new("MANIFEST"), &bytes) {
                manifest.check(Path::new("MANIFEST")).unwrap();
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        type Change = fn(&mut Manifest);
        let cases: [(&str, Change); 8] = [
            ("dim 0", |manifest| manifest.vectors.as_mut().unwrap().dim = 0),
            ("a path out of the database", |manifest| manifest.segments[0].folder = "../x".into()),
            ("an absolute path", |manifest| manifest.segments[0].files[0].name = "/etc/passwd".into()),
            ("no name", |manifest| manifest.segments[0].folder.clear()),
            ("too many rows", |manifest| {
                let mut second = manifest.segments[0].clone();
                (second.rows, second.deleted) = (u32::MAX, Vec::new());
                manifest.segments.push(second);
            }),
            ("a short bitmap", |manifest| manifest.segments[0].deleted = vec![1]),
            ("a deleted row beyond the last", |manifest| manifest.segments[0].deleted = vec![0, 1 << 6]),
            ("an unknown metric", |manifest| manifest.vectors.as_mut().unwrap().metric = "hamming".into()),
        ];
        for (what, change) in cases {
            let mut manifest = example();
            change(&mut manifest);
            let path = Path::new("MANIFEST");
            let result =
                Manifest::decode(path, &manifest.encode()).and_then(|manifest| manifest.settings(path));
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{what}: {result:?}");
        }
    }
}
