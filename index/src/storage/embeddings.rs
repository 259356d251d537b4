//! The vectors of one generation in a segment, and their 8-bit copies, with what finds candidates among them or without.

use std::path::{Path, PathBuf};

use super::codes::{self, CodesFile};
use super::dump::{self, Dump};
use super::graph::{self, GraphFile};
use super::manifest::{FileRecord, SegmentRecord};
use super::settings::{VectorIndex, VectorSettings};
use super::vectors::{VectorsFile, VectorsWriter};
use crate::error::Result;
use crate::file_format::files::{create_folder, sync_folder};
use crate::hnsw::Graph;
use crate::metric::Metric;
use crate::quantization::int8::Codes;
use crate::search::Source;

const VECTORS: &str = "vectors";
const CODES: &str = "codes";
const GRAPH: &str = "graph";

/// A generation as segments know it: its number, which stands in the names of its files, and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GenerationFiles {
    pub id: u64,
    pub settings: VectorSettings,
}

impl GenerationFiles {
    /// Where its files are in the folder of a segment: those of the first one lie there themselves.
    fn folder(&self) -> Option<String> {
        (self.id > 0).then(|| format!("g{}", self.id))
    }

    fn name(&self, file: &str) -> String {
        match self.folder() {
            Some(folder) => format!("{folder}/{file}"),
            None => file.to_owned(),
        }
    }

    /// [`GenerationFiles::folder`] in the folder of a segment.
    fn path(&self, segment: &Path) -> PathBuf {
        self.folder().map_or_else(|| segment.to_owned(), |folder| segment.join(folder))
    }

    /// Whether a file of a segment is one of its own.
    pub fn owns(&self, name: &str) -> bool {
        let is = |file: &&str| self.name(file) == name;
        [VECTORS, CODES, GRAPH].iter().any(is) || dump::NAMES.iter().any(is)
    }
}

/// Writes the vectors of a segment, one row at a time.
pub(super) struct EmbeddingsWriter {
    segment: PathBuf,
    generation: GenerationFiles,
    vectors: VectorsWriter,
    rows: u32,
}

impl EmbeddingsWriter {
    /// Starts the files of a generation in the folder of a segment, where they must not exist.
    pub fn create(segment: &Path, generation: GenerationFiles) -> Result<EmbeddingsWriter> {
        if let Some(folder) = generation.folder() {
            create_folder(&segment.join(folder))?;
        }
        let path = segment.join(generation.name(VECTORS));
        let vectors = VectorsWriter::create(path, generation.settings)?;
        Ok(EmbeddingsWriter { segment: segment.to_owned(), generation, vectors, rows: 0 })
    }

    pub fn add(&mut self, vector: &[f32]) -> Result<()> {
        self.rows += 1;
        self.vectors.add(vector)
    }

    /// Builds the graph, if there is to be one, or encodes the rows, and syncs the files, but not the folder of the segment.
    pub fn finish(self) -> Result<Vec<FileRecord>> {
        let EmbeddingsWriter { segment, generation, vectors, rows } = self;
        let VectorSettings { metric, dim, index, .. } = generation.settings;
        let written = vectors.finish()?;
        let mut files = vec![FileRecord::new(generation.name(VECTORS), written)];
        // Read back where they lie: they need not fit into memory.
        let file = VectorsFile::open(
            segment.join(generation.name(VECTORS)),
            written.size,
            rows,
            generation.settings,
        )?;
        match index {
            VectorIndex::Hnsw { params, min_rows, .. }
                if rows >= min_rows.max(1) && rows as usize <= Graph::MAX_ROWS =>
            {
                let graph = Graph::of(metric, dim, file.rows(), &params)?;
                let name = generation.name(GRAPH);
                let written = graph::write(segment.join(&name), &graph)?;
                files.push(FileRecord::new(name, written));
            }
            _ => {
                if metric != Metric::L2 {
                    let name = generation.name(CODES);
                    let written = codes::write(segment.join(&name), metric, dim, file.rows())?;
                    files.push(FileRecord::new(name, written));
                }
                for (name, written) in
                    dump::write(&generation.path(&segment), generation.settings, file.rows())?
                {
                    files.push(FileRecord::new(generation.name(name), written));
                }
            }
        }
        if let Some(folder) = generation.folder() {
            sync_folder(&segment.join(folder))?;
        }
        Ok(files)
    }
}

/// The vectors of a generation in a segment, opened for reading.
pub(super) struct Embeddings {
    generation: GenerationFiles,
    vectors: VectorsFile,
    codes: Option<CodesFile>,
    graph: Option<GraphFile>,
    dump: Option<Dump>,
}

impl Embeddings {
    pub fn open(segment: &Path, record: &SegmentRecord, generation: GenerationFiles) -> Result<Embeddings> {
        let name = generation.name(GRAPH);
        let graph = match record.size_of(segment, &name) {
            Ok(size) => Some(GraphFile::open(segment.join(name), size, record.rows, generation.settings)?),
            Err(_) => None,
        };
        let name = generation.name(CODES);
        let codes = match record.size_of(segment, &name) {
            Ok(size) => Some(CodesFile::open(segment.join(name), size, record.rows, generation.settings)?),
            Err(_) => None,
        };
        let file = |name: &str| record.file(&generation.name(name));
        let dump = Dump::open(generation.path(segment), generation.settings, file)?;
        let name = generation.name(VECTORS);
        let size = record.size_of(segment, &name)?;
        let vectors = VectorsFile::open(segment.join(name), size, record.rows, generation.settings)?;
        Ok(Embeddings { generation, vectors, codes, graph, dump })
    }

    pub fn generation(&self) -> GenerationFiles {
        self.generation
    }

    pub fn vectors(&self) -> &VectorsFile {
        &self.vectors
    }

    /// What finds candidates among the vectors, if anything was built for that.
    pub fn source(&self) -> Result<Option<Source<'_>>> {
        if let Some(graph) = &self.graph {
            return Ok(Some(Source::Graph(graph.view(), graph.path())));
        }
        match &self.dump {
            Some(dump) => dump.source(self.vectors.rows()),
            None => Ok(None),
        }
    }

    /// The 8-bit copies of the vectors, unless they were written before there were any, or a graph has 1-bit copies.
    pub fn codes(&self) -> Option<Int8Codes<'_>> {
        let of_graph = self.graph.as_ref().and_then(|graph| graph.view().copies.int8());
        of_graph.or_else(|| self.codes.as_ref().map(CodesFile::codes))
    }

    /// A whole file, if it is one of these.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let is = |file| name == self.generation.name(file);
        let codes = self.codes.as_ref().filter(|_| is(CODES)).map(CodesFile::bytes);
        let graph = self.graph.as_ref().filter(|_| is(GRAPH)).map(GraphFile::bytes);
        let dump = || self.dump.as_ref().and_then(|dump| dump.bytes(name));
        codes.or(graph).or_else(dump).or_else(|| is(VECTORS).then(|| self.vectors.bytes()))
    }

    /// Checks what the checksums cannot know.
    pub fn verify(&self) -> Result<()> {
        self.vectors.verify()?;
        let rows = self.vectors.rows();
        self.codes.as_ref().map_or(Ok(()), |codes| codes.verify(rows))?;
        self.graph.as_ref().map_or(Ok(()), |graph| graph.verify(rows))?;
        self.source().map(drop)
    }
}
