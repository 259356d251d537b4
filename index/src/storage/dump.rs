//! The files of a graph of hnsw_rs, which it writes and reads itself.
//!
//! They are mapped with all others, for their checksums; hnsw_rs, which takes names and not bytes, reads them when they are
//! first searched.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

use super::disk::DiskFile;
use super::files::{Written, check_crc, checksum, corrupt, io_error, map};
use super::manifest::FileRecord;
use super::settings::VectorSettings;
use crate::backends::HnswRsGraph;
use crate::error::{Damage, Result};

/// Writes the files of a graph to a folder, in the order of their names, and syncs them.
pub(super) fn write(folder: &Path, graph: &HnswRsGraph) -> Result<[Written; 2]> {
    let paths = HnswRsGraph::FILES.map(|name| folder.join(name));
    for path in &paths {
        DiskFile::create_new(path).map_err(io_error("create", path))?;
    }
    graph.dump(folder)?;
    let [first, second] = paths.map(|path| {
        let file = DiskFile::open(&path).map_err(io_error("open", &path))?;
        file.sync().map_err(io_error("sync", &path))?;
        let (size, crc) = checksum(&path, file.into_file())?;
        Ok(Written { size, crc })
    });
    Ok([first?, second?])
}

/// The files of a graph of hnsw_rs.
pub(super) struct Dump {
    folder: PathBuf,
    settings: VectorSettings,
    rows: u32,
    files: Vec<(FileRecord, Mmap)>,
    graph: OnceLock<HnswRsGraph>,
}

impl Dump {
    /// Maps the files of a graph of so many rows, given by their records, in a folder.
    pub fn open(
        folder: PathBuf,
        records: [Option<&FileRecord>; 2],
        rows: u32,
        settings: VectorSettings,
    ) -> Result<Dump> {
        let file = |(name, record): (&str, Option<&FileRecord>)| {
            let path = folder.join(name);
            let record = record.ok_or_else(|| corrupt(&path, Damage::Missing))?;
            Ok((record.clone(), map(&path, record.size)?))
        };
        let files = HnswRsGraph::FILES.into_iter().zip(records).map(file).collect::<Result<_>>()?;
        Ok(Dump { folder, settings, rows, files, graph: OnceLock::new() })
    }

    /// The graph, read on first use, when the files have been checked, because hnsw_rs may panic or end the process on damaged
    /// bytes. `None` if a compaction has removed their names meanwhile: then the vectors, which are mapped, are compared.
    pub fn graph(&self) -> Result<Option<&HnswRsGraph>> {
        if let Some(graph) = self.graph.get() {
            return Ok(Some(graph));
        }
        let paths = HnswRsGraph::FILES.map(|name| self.folder.join(name));
        for (path, (record, bytes)) in paths.iter().zip(&self.files) {
            check_crc(path, "the file", record.crc, crc32fast::hash(bytes))?;
        }
        if !paths.iter().all(|path| path.exists()) {
            return Ok(None);
        }
        let VectorSettings { metric, dim, .. } = self.settings;
        let graph = HnswRsGraph::load(&self.folder, metric, dim, self.rows)?;
        Ok(Some(self.graph.get_or_init(|| graph)))
    }

    /// A whole file, by its name in the manifest.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|(record, _)| record.name == name).map(|(_, bytes)| &bytes[..])
    }
}
