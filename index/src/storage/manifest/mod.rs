//! The manifest: the one file that says what the database holds, replaced as a whole by each commit.
//!
//! Behind the header lies a [`Manifest`] archived with rkyv 0.8 (little-endian, 32-bit offsets, aligned). bytecheck
//! checks it.

mod first;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::mem::offset_of;
use std::path::{Component, Path};

use bytemuck::{Pod, Zeroable};
use rkyv::rancor;
use rkyv::util::AlignedVec;
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};
use secateur_files::{AtPath, Durable, UnknownName};

use super::columns;
use super::generation::{Generation, ORIGINAL};
use super::partial::partial_folder;
use super::settings::{ANALYZER, COMPONENTS, EncoderIdentity, PASSAGES, SEVERAL, Settings, VectorSettings};
use crate::bm25::Analyzer;
use crate::error::{Damage, Error, Result};
use crate::file_format::files::{Written, check_crc, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::metric::Metric;
use crate::rows::ComponentType;
use crate::vector_index::VectorIndex;

/// The file's name in the database folder.
pub(super) const FILE_NAME: &str = "MANIFEST";

/// What a pack is called among the files of its segment.
pub(super) const PACK: &str = "pack";

const KIND: Kind = Kind { mark: *b"SCTRMANI", name: "a manifest", version: 7 };

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ManifestHeader {
    start: Start,
    zero: u32,
    body_len: u64,
    /// CRC-32 of the body.
    body_crc: u32,
    zeros: [u32; 8],
    crc: u32,
}

const _: () = assert!(offset_of!(ManifestHeader, body_len) == 16);
const _: () = assert!(offset_of!(ManifestHeader, body_crc) == 24);

impl ManifestHeader {
    fn new(version: u32, body: &[u8]) -> ManifestHeader {
        ManifestHeader {
            start: Start { version, ..Start::of(&KIND) },
            body_len: body.len() as u64,
            body_crc: crc32fast::hash(body),
            ..ManifestHeader::zeroed()
        }
    }
}

/// Databases that do not name their analyzer, and whose vectors are all of f32, are still of this version, which more
/// programs read. The layout is the same.
const F32_VERSION: u32 = 3;

/// The same of databases with other vectors.
const COMPONENTS_VERSION: u32 = 4;

/// The same of databases that name their analyzer, where each document has one vector and no segment has columns.
const ANALYZER_VERSION: u32 = 5;

/// The same of databases with passages or columns, and without packs.
const PASSAGES_VERSION: u32 = 6;

/// What a commit wrote down.
#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct Manifest {
    /// 0 for the empty database, one more with each commit.
    pub commit: u64,
    /// Settings of the layers above, as they were given at creation, and the analyzer.
    pub properties: BTreeMap<String, String>,
    /// None in a database without vectors.
    pub generations: Vec<GenerationRecord>,
    /// The position of the generation that is read unless another is asked for; 0 if there is none.
    pub active: u32,
    /// In the order of their rows.
    pub segments: Vec<SegmentRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(super) struct GenerationRecord {
    /// The number of the commit that added it, 0 for the one that the database was created with.
    pub id: u64,
    pub name: String,
    pub metric: String,
    pub dim: u32,
    pub encoder: Option<EncoderRecord>,
    /// Settings of the layers above, and those of the index.
    pub properties: BTreeMap<String, String>,
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

impl FileRecord {
    pub fn new(name: impl Into<String>, written: Written) -> FileRecord {
        FileRecord { name: name.into(), size: written.size, crc: written.crc }
    }
}

impl SegmentRecord {
    /// A file in the segment's folder.
    pub fn file(&self, name: &str) -> Option<&FileRecord> {
        self.files.iter().find(|file| file.name == name)
    }

    /// How many rows are deleted.
    pub fn num_deleted(&self) -> u32 {
        self.deleted.iter().map(|word| word.count_ones()).sum()
    }
}

impl GenerationRecord {
    pub fn new(id: u64, generation: &Generation) -> GenerationRecord {
        let Generation { name, vectors, encoder, properties } = generation;
        let components = Some(vectors.components).filter(|components| *components != ComponentType::F32);
        GenerationRecord {
            id,
            name: name.clone(),
            metric: vectors.metric.name().into(),
            dim: vectors.dim as u32,
            encoder: encoder.as_ref().map(|encoder| EncoderRecord {
                name: encoder.name.clone(),
                fingerprint: encoder.fingerprint,
            }),
            properties: properties
                .clone()
                .into_iter()
                .chain(vectors.index.to_properties())
                .chain(components.map(|components| (COMPONENTS.to_owned(), components.to_string())))
                .chain(vectors.passages.then(|| (PASSAGES.to_owned(), SEVERAL.to_owned())))
                .collect(),
        }
    }

    /// What it says, where `file` is named in errors.
    pub fn read(&self, file: &Path) -> Result<Generation> {
        let mut properties = self.properties.clone();
        let name = self.properties.get(COMPONENTS).map_or(ComponentType::F32.name(), String::as_str);
        let components = name
            .parse::<ComponentType>()
            .map_err(|_| corrupt(file, wrong_field(COMPONENTS, "f32, f16 or bf16", name)))?;
        let passages = match self.properties.get(PASSAGES).map(String::as_str) {
            None => false,
            Some(SEVERAL) => true,
            Some(other) => return Err(corrupt(file, wrong_field(PASSAGES, SEVERAL, other))),
        };
        let index = VectorIndex::from_properties(&mut properties)
            .map_err(|(field, expected, got)| corrupt(file, wrong_field(field, expected, got)))?;
        let metric: Metric = self
            .metric
            .parse()
            .map_err(|_| corrupt(file, wrong_field("metric", "a metric's name", &self.metric)))?;
        let encoder = self
            .encoder
            .as_ref()
            .map(|record| EncoderIdentity { name: record.name.clone(), fingerprint: record.fingerprint });
        let vectors =
            VectorSettings { index, components, passages, ..VectorSettings::new(metric, self.dim as usize) };
        Ok(Generation { name: self.name.clone(), vectors, encoder, properties })
    }

    pub fn vectors(&self, file: &Path) -> Result<VectorSettings> {
        Ok(self.read(file)?.vectors)
    }
}

impl Manifest {
    pub fn empty(settings: &Settings) -> Manifest {
        let original = settings.vectors.map(|vectors| Generation {
            name: ORIGINAL.into(),
            vectors,
            encoder: settings.encoder.clone(),
            properties: settings.properties.clone(),
        });
        Manifest {
            commit: 0,
            properties: settings
                .properties
                .clone()
                .into_iter()
                .chain(settings.analyzer.map(|analyzer| (ANALYZER.to_owned(), analyzer.to_string())))
                .collect(),
            generations: original.iter().map(|original| GenerationRecord::new(0, original)).collect(),
            active: 0,
            segments: Vec::new(),
        }
    }

    /// The position of the generation with this name.
    pub fn position(&self, name: &str) -> Result<usize> {
        self.generations.iter().position(|generation| generation.name == name).ok_or_else(|| {
            let known = self.generations.iter().map(|generation| generation.name.clone()).collect();
            Error::UnknownGeneration { name: name.to_owned(), known }
        })
    }

    /// What makes terms of texts.
    pub fn analyzer(&self, file: &Path) -> Result<Option<Analyzer>> {
        let name = self.properties.get(ANALYZER);
        name.map(|name| name.parse()).transpose().map_err(|error: UnknownName| {
            corrupt(file, wrong_field(ANALYZER, "an analyzer's name", error.found))
        })
    }

    /// The settings of the layers above.
    pub fn outer_properties(&self) -> BTreeMap<String, String> {
        let mut properties = self.properties.clone();
        properties.remove(ANALYZER);
        properties
    }

    /// The file of the manifest's bytes.
    fn encode(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rancor::Error>(self)
            .expect("archiving into memory fails only when memory runs out, which aborts");
        [&seal(&ManifestHeader::new(self.version(), &body))[..], &body].concat()
    }

    /// The oldest version whose programs can read the database.
    fn version(&self) -> u32 {
        let has = |property| self.generations.iter().any(|record| record.properties.contains_key(property));
        let has_file = |name| self.segments.iter().any(|segment| segment.file(name).is_some());
        if has_file(PACK) {
            KIND.version
        } else if has(PASSAGES) || has_file(columns::FILE_NAME) {
            PASSAGES_VERSION
        } else if self.properties.contains_key(ANALYZER) {
            ANALYZER_VERSION
        } else if has(COMPONENTS) {
            COMPONENTS_VERSION
        } else {
            F32_VERSION
        }
    }

    /// Replaces the manifest of the database in `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE_NAME);
        let mut file = Durable::create_alone(&path)?;
        file.write_all(&self.encode()).at("write", &path)?;
        Ok(file.finish()?)
    }

    /// Reads and checks the manifest of the database in `folder`.
    pub fn read(folder: &Path) -> Result<Manifest> {
        let path = folder.join(FILE_NAME);
        let bytes = match fs::read(&path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let path = folder.to_owned();
                return Err(match folder.exists() {
                    true => Error::NotADatabase { path },
                    false if partial_folder(folder).exists() => Error::Unfinished { path },
                    false => Error::NoDatabase { path },
                });
            }
            other => other.at("read", &path)?,
        };
        Manifest::decode(&path, &bytes)
    }

    pub fn decode(path: &Path, bytes: &[u8]) -> Result<Manifest> {
        let header: ManifestHeader = read_header(path, bytes, &KIND)?;
        let body = &bytes[HEADER_LEN..];
        if body.len() as u64 != header.body_len {
            let expected = header.body_len.saturating_add(HEADER_LEN as u64);
            let got = bytes.len() as u64;
            return Err(corrupt(path, Damage::Size { expected, got }));
        }
        check_crc(path, "the body", header.body_crc, crc32fast::hash(body))?;
        let mut aligned = AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(body);
        let manifest = match header.start.version {
            1 => rkyv::from_bytes::<first::Manifest, rancor::Error>(&aligned).map(Manifest::from),
            _ => rkyv::from_bytes::<Manifest, rancor::Error>(&aligned),
        };
        let manifest = manifest.map_err(|_| corrupt(path, Damage::Undecodable { part: "the body" }))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Checks what the rest of the program relies on.
    fn check(&self, path: &Path) -> Result<()> {
        let wrong = |field, expected: &str, got: &dyn ToString| {
            Err(corrupt(path, wrong_field(field, expected, got.to_string())))
        };
        for (number, record) in self.generations.iter().enumerate() {
            if !(1..=VectorSettings::MAX_DIM).contains(&(record.dim as usize)) {
                return wrong("dim", "1 to 65536", &record.dim);
            }
            if self.generations[..number]
                .iter()
                .any(|other| other.id == record.id || other.name == record.name)
            {
                return wrong("the name and the number of a generation", "its own", &record.name);
            }
        }
        if self.active as usize >= self.generations.len().max(1) {
            return wrong("the generation in use", "one of those listed", &self.active);
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
        manifest.generations[0].encoder =
            Some(EncoderRecord { name: "an encoder".into(), fingerprint: [1; 32] });
        manifest.generations.push(GenerationRecord {
            id: 7,
            name: "small".into(),
            ..manifest.generations[0].clone()
        });
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
        fn round_trip(commit: u64, rows in 0u32..200, name in "\\PC{0,20}", key in "\\PC{0,9}", dim in 1u32..9) {
            let mut manifest = example();
            manifest.commit = commit;
            manifest.generations[0].dim = dim;
            manifest.generations[0].encoder = Some(EncoderRecord { name, fingerprint: [3; 32] });
            manifest.properties.insert(key.clone(), key);
            manifest.segments[0].rows = rows;
            manifest.segments[0].deleted = vec![0; (rows as usize).div_ceil(64)];
            let decoded = Manifest::decode(Path::new("MANIFEST"), &manifest.encode());
            prop_assert_eq!(decoded.unwrap(), manifest);
        }

        /// A body that is wrong although its checksum is right, which damage cannot bring about but malice can. The
        /// result is an error or another manifest that passes the checks, never a panic.
        #[test]
        fn forged_bodies_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = example().encode();
            let len = bytes.len();
            for (place, byte) in changes {
                bytes[HEADER_LEN + place.index(len - HEADER_LEN)] = byte;
            }
            let header = seal(&ManifestHeader::new(KIND.version, &bytes[HEADER_LEN..]));
            bytes[..HEADER_LEN].copy_from_slice(&header);
            if let Ok(manifest) = Manifest::decode(Path::new("MANIFEST"), &bytes) {
                manifest.check(Path::new("MANIFEST")).unwrap();
            }
        }
    }

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = secateur_testkit::byte_ranges!(ManifestHeader: body_len, body_crc);
        assert_eq!(secateur_testkit::format::documented("MANIFEST", 0)[..], fields);
    }

    #[test]
    fn contradictions_are_refused() {
        type Change = fn(&mut Manifest);
        let cases: [(&str, Change); 13] = [
            ("dim 0", |manifest| manifest.generations[0].dim = 0),
            ("a generation twice", |manifest| manifest.generations[1].id = 0),
            ("a name twice", |manifest| manifest.generations[1].name = "original".into()),
            ("a generation in use that is not there", |manifest| manifest.active = 2),
            ("an unknown index", |manifest| {
                manifest.generations[1].properties.insert("index.kind".into(), "tree".into());
            }),
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
            ("an unknown type of components", |manifest| {
                manifest.generations[1].properties.insert(COMPONENTS.into(), "f8".into());
            }),
            ("an unknown metric", |manifest| manifest.generations[0].metric = "hamming".into()),
        ];
        for (what, change) in cases {
            let mut manifest = example();
            change(&mut manifest);
            let path = Path::new("MANIFEST");
            let result = Manifest::decode(path, &manifest.encode()).and_then(|manifest| {
                manifest.generations.iter().map(|record| record.read(path)).collect::<Result<Vec<_>>>()
            });
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{what}: {result:?}");
        }
    }
}
