//! The files of indexes of other libraries, which these write and read themselves.
//!
//! They are mapped with all others, for their checksums; the libraries, which take names and not bytes, read them when they are
//! first searched.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use super::disk::DiskFile;
use super::manifest::FileRecord;
use super::settings::{VectorIndex, VectorSettings};
use crate::backends::{FaissIndex, HnswRsGraph};
use crate::error::{Damage, Result};
use crate::file_format::files::{Written, check_crc, checksum, corrupt, io_error, map};
use crate::rows::Rows;
use crate::search::Source;

/// The files that another library keeps, by the index; their names are no other files'.
fn names(index: VectorIndex) -> &'static [&'static str] {
    match index {
        VectorIndex::Flat | VectorIndex::Hnsw { .. } => &[],
        VectorIndex::HnswRs { .. } => &HnswRsGraph::FILES,
        VectorIndex::Faiss { .. } => &[FaissIndex::FILE],
    }
}

/// All of them.
pub(super) const NAMES: [&str; 3] = [HnswRsGraph::FILES[0], HnswRsGraph::FILES[1], FaissIndex::FILE];

/// Builds what another library is to build of the vectors of a segment, (N, D) row-major, if any, and writes its files, synced, to
/// a folder: their names, lengths and checksums.
pub(super) fn write(
    folder: &Path,
    settings: VectorSettings,
    rows: Rows<'_>,
) -> Result<Vec<(&'static str, Written)>> {
    let VectorSettings { metric, dim, index, .. } = settings;
    let num_rows = rows.len() / dim;
    let paths: Vec<PathBuf> = names(index).iter().map(|name| folder.join(name)).collect();
    let create = || {
        paths
            .iter()
            .try_for_each(|path| DiskFile::create_new(path).map(drop).map_err(io_error("create", path)))
    };
    match index {
        VectorIndex::HnswRs { m, ef_construction, min_rows, .. } if num_rows >= min_rows.max(1) as usize => {
            let graph = HnswRsGraph::build(metric, dim, &rows.to_f32(), m, ef_construction)?;
            create()?;
            graph.dump(folder)?;
        }
        VectorIndex::Faiss { kind, min_rows, .. } if num_rows >= min_rows.max(kind.min_rows()) as usize => {
            create()?;
            let rows = rows.to_f32();
            FaissIndex::build(metric, dim, &rows, kind)?.write(&paths[0])?;
            // faiss does not say whether the last bytes reached the disk: a file that is cut off is not read.
            FaissIndex::read(&paths[0], metric, dim, &rows, kind)?;
        }
        _ => return Ok(Vec::new()),
    }
    let sync = |(name, path): (&&'static str, &PathBuf)| {
        let file = DiskFile::open(path).map_err(io_error("open", path))?;
        file.sync().map_err(io_error("sync", path))?;
        let (size, crc) = checksum(path, file.into_file())?;
        Ok((*name, Written { size, crc }))
    };
    names(index).iter().zip(&paths).map(sync).collect()
}

/// The files of an index of another library.
pub(super) struct Dump {
    folder: PathBuf,
    settings: VectorSettings,
    files: Vec<(FileRecord, Mmap)>,
    index: OnceLock<Index>,
}

/// What was read of them.
enum Index {
    HnswRs(HnswRsGraph),
    Faiss(FaissIndex),
}

impl Dump {
    /// Maps the files of an index in a folder, given by what the manifest has of a name; `None` if it has none of them.
    pub fn open<'r>(
        folder: PathBuf,
        settings: VectorSettings,
        record: impl Fn(&str) -> Option<&'r FileRecord>,
    ) -> Result<Option<Dump>> {
        let names = names(settings.index);
        if names.iter().all(|name| record(name).is_none()) {
            return Ok(None);
        }
        let file = |name: &&str| {
            let path = folder.join(name);
            let record = record(name).ok_or_else(|| corrupt(&path, Damage::Missing))?;
            Ok((record.clone(), map(&path, record.size)?))
        };
        let files = names.iter().map(file).collect::<Result<_>>()?;
        Ok(Some(Dump { folder, settings, files, index: OnceLock::new() }))
    }

    /// The index of the vectors of the segment, (N, D) row-major, read on first use, when its files have been checked, because the
    /// libraries may panic or end the process on damaged bytes. `None` if a compaction has removed their names meanwhile: then the
    /// vectors, which are mapped, are compared.
    pub fn source(&self, rows: Rows<'_>) -> Result<Option<Source<'_>>> {
        if let Some(index) = self.index.get() {
            return Ok(Some(index.source()));
        }
        let paths: Vec<PathBuf> =
            names(self.settings.index).iter().map(|name| self.folder.join(name)).collect();
        for (path, (record, bytes)) in paths.iter().zip(&self.files) {
            check_crc(path, "the file", record.crc, crc32fast::hash(bytes))?;
        }
        if !paths.iter().all(|path| path.exists()) {
            return Ok(None);
        }
        let VectorSettings { metric, dim, index, .. } = self.settings;
        let index = match index {
            VectorIndex::HnswRs { .. } => {
                let num_rows = (rows.len() / dim) as u32;
                Index::HnswRs(HnswRsGraph::load(&self.folder, metric, dim, num_rows)?)
            }
            VectorIndex::Faiss { kind, .. } => {
                Index::Faiss(FaissIndex::read(&paths[0], metric, dim, &rows.to_f32(), kind)?)
            }
            VectorIndex::Flat | VectorIndex::Hnsw { .. } => return Ok(None),
        };
        Ok(Some(self.index.get_or_init(|| index).source()))
    }

    /// A whole file, by its name in the manifest.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(record, _)| record.name == name).map(|(_, bytes)| &bytes[..])
    }
}

impl Index {
    fn source(&self) -> Source<'_> {
        match self {
            Index::HnswRs(graph) => Source::HnswRs(graph),
            Index::Faiss(index) => Source::Faiss(index),
        }
    }
}

#[cfg(all(test, not(feature = "faiss")))]
mod tests {
    use super::*;
    use crate::backends::FaissKind;
    use crate::error::Error;
    use crate::metric::Metric;

    /// What a program with faiss committed is opened; searching it, and committing more, is refused.
    #[test]
    fn indexes_of_faiss_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let index = VectorIndex::Faiss { kind: FaissKind::Flat, min_rows: 2, ef_search: 1 };
        let settings = VectorSettings { index, ..VectorSettings::new(Metric::L2, 1) };
        assert!(matches!(write(folder.path(), settings, [1.0, 2.0][..].into()), Err(Error::NoFaiss)));
        assert!(
            write(folder.path(), settings, [1.0][..].into()).unwrap().is_empty(),
            "too few rows for an index"
        );
        let bytes = b"IxF2";
        std::fs::write(folder.path().join(FaissIndex::FILE), bytes).unwrap();
        for (crc, is_right) in [(crc32fast::hash(bytes), true), (0, false)] {
            let record = FileRecord { name: FaissIndex::FILE.to_owned(), size: 4, crc };
            let dump = Dump::open(folder.path().to_owned(), settings, |_| Some(&record)).unwrap().unwrap();
            match dump.source([1.0, 2.0][..].into()).err() {
                Some(Error::NoFaiss) => assert!(is_right),
                Some(Error::Corrupt { .. }) => assert!(!is_right, "checksums come first"),
                other => panic!("{other:?}"),
            }
        }
    }
}
