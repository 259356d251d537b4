//! The vectors of one generation in a segment, with their index, or their codes where exact searches alone read them.

use std::path::{Path, PathBuf};

use secateur_files::disk;

use super::manifest::{FileRecord, SegmentRecord};
use super::settings::VectorSettings;
use super::vectors::{VectorsFile, VectorsWriter};
use crate::candidates::Candidates;
use crate::error::Result;
use crate::file_format::file_set::FileSet;
use crate::file_format::files::Written;
use crate::format::{Format, FormatFiles, IndexFiles};
use crate::metric::Metric;
use crate::quantization::Int8Codes;
use crate::quantization::file::{self, CodesFile};

const VECTORS: &str = "vectors";
const CODES: &str = "codes";

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
        let of_index = self.settings.index.format().map_or(&[][..], FormatFiles::files);
        [VECTORS, CODES].iter().chain(of_index).any(|file| self.name(file) == name)
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
            disk::create_folder(&segment.join(folder))?;
        }
        let path = segment.join(generation.name(VECTORS));
        let vectors = VectorsWriter::create(path, generation.settings)?;
        Ok(EmbeddingsWriter { segment: segment.to_owned(), generation, vectors, rows: 0 })
    }

    pub fn add(&mut self, vector: &[f32]) -> Result<()> {
        self.rows += 1;
        self.vectors.add(vector)
    }

    /// Builds the index, if there is to be one, and encodes the rows unless the index has codes. Syncs the files, but
    /// not the folder of the segment.
    pub fn finish(self) -> Result<Vec<FileRecord>> {
        let EmbeddingsWriter { segment, generation, vectors, rows } = self;
        let VectorSettings { metric, dim, index, .. } = generation.settings;
        let path = segment.join(generation.name(VECTORS));
        let written = vectors.finish()?;
        let mut files = vec![FileRecord::new(generation.name(VECTORS), written)];
        // Read back where they lie: they need not fit into memory.
        let vectors = VectorsFile::open(path, written.size, rows, generation.settings)?;
        let format = index.format_for(rows);
        if metric != Metric::L2 && format.and_then(Format::code_type).is_none() {
            let name = generation.name(CODES);
            let written = file::write(segment.join(&name), metric, dim, vectors.rows())?;
            files.push(FileRecord::new(name, written));
        }
        if let Some(format) = format {
            let written = format.write(&generation.path(&segment), metric, dim, vectors.rows())?;
            files
                .extend(written.into_iter().map(|(name, file)| FileRecord::new(generation.name(name), file)));
        }
        if let Some(folder) = generation.folder() {
            disk::sync_folder(&segment.join(folder))?;
        }
        Ok(files)
    }
}

/// The vectors of a generation in a segment, opened for reading.
pub(super) struct Embeddings {
    generation: GenerationFiles,
    vectors: VectorsFile,
    codes: Option<CodesFile>,
    index: Option<Box<dyn IndexFiles>>,
}

impl Embeddings {
    pub fn open(segment: &Path, record: &SegmentRecord, generation: GenerationFiles) -> Result<Embeddings> {
        let VectorSettings { metric, dim, index, .. } = generation.settings;
        let written = |name: &str| {
            record.file(&generation.name(name)).map(|file| Written { size: file.size, crc: file.crc })
        };
        let index = match index.format() {
            Some(format) => FileSet::open(generation.path(segment), format.files(), written)?
                .map(|files| format.open(files, metric, dim, record.rows))
                .transpose()?,
            None => None,
        };
        let path = |name| segment.join(generation.name(name));
        let codes = written(CODES)
            .map(|file| CodesFile::open(path(CODES), file.size, metric, dim, record.rows))
            .transpose()?;
        let size = record.size_of(segment, &generation.name(VECTORS))?;
        let vectors = VectorsFile::open(path(VECTORS), size, record.rows, generation.settings)?;
        Ok(Embeddings { generation, vectors, codes, index })
    }

    pub fn generation(&self) -> GenerationFiles {
        self.generation
    }

    pub fn vectors(&self) -> &VectorsFile {
        &self.vectors
    }

    /// What finds candidates among the vectors, if anything was built for that.
    pub fn candidates(&self) -> Result<Option<&dyn Candidates>> {
        match &self.index {
            Some(index) => index.candidates(self.vectors.rows()),
            None => Ok(None),
        }
    }

    /// The 8-bit codes of the vectors, unless they were written before there were any, or a graph has 1-bit codes.
    pub fn codes(&self) -> Option<Int8Codes<'_>> {
        let of_index = self.index.as_ref().and_then(|index| index.int8_codes());
        of_index.or_else(|| self.codes.as_ref().map(CodesFile::codes))
    }

    /// A whole file, if it is one of these.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let vectors = std::iter::once((VECTORS, self.vectors.bytes()));
        let codes = self.codes.iter().map(|codes| (CODES, codes.bytes()));
        let index = self.index.iter().flat_map(|index| index.files().iter());
        let mut files = vectors.chain(codes).chain(index);
        files.find(|(file, _)| self.generation.name(file) == name).map(|(_, bytes)| bytes)
    }

    /// Checks what the checksums cannot know.
    pub fn verify(&self) -> Result<()> {
        self.vectors.verify()?;
        let rows = self.vectors.rows();
        self.codes.as_ref().map_or(Ok(()), |codes| codes.verify(rows))?;
        self.index.as_ref().map_or(Ok(()), |index| index.verify(rows))
    }
}
