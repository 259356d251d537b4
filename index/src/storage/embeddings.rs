//! The vectors of one generation in a segment, with their index, or their codes where exact searches alone read them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rkyv::util::AlignedVec;
use secateur_files::disk;
use secateur_files::header::HEADER_LEN;

use super::manifest::SegmentRecord;
use super::pack::{NewFile, SegmentFiles};
use super::passages::{self, PassagesFile};
use super::settings::VectorSettings;
use super::vectors::{VectorsFile, VectorsWriter};
use crate::candidates::Candidates;
use crate::error::{Damage, Error, Result};
use crate::file_format::file_set::FileSet;
use crate::file_format::files::{FileBytes, Output, Written, corrupt};
use crate::format::{Format, FormatFiles, IndexFiles};
use crate::metric::Metric;
use crate::quantization::Int8Codes;
use crate::quantization::file::{self, CodesFile};
use crate::rows::Rows;
use crate::search::Passages;

const VECTORS: &str = "vectors";
const CODES: &str = "codes";
const PASSAGES: &str = "passages";

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

    /// How many vectors a segment has, by the length of its file.
    pub fn num_vectors(&self, record: &SegmentRecord) -> u32 {
        let bytes = record.file(&self.name(VECTORS)).map_or(0, |file| file.size);
        let row = self.settings.components.size() * self.settings.dim;
        (bytes.saturating_sub(HEADER_LEN as u64) / row as u64) as u32
    }

    /// Whether a file of a segment is one of its own.
    pub fn owns(&self, name: &str) -> bool {
        let of_index = self.settings.index.format().map_or(&[][..], FormatFiles::files);
        [VECTORS, CODES, PASSAGES].iter().chain(of_index).any(|file| self.name(file) == name)
    }
}

/// The position of the generation that a file of a segment is of, where it is one's alone. A pack is of several.
pub(super) fn owner(
    mut generations: impl Iterator<Item = GenerationFiles>,
    segments: &Path,
    file: &Path,
) -> Option<usize> {
    let mut parts = file.strip_prefix(segments).ok()?.components();
    let _segment = parts.next();
    let name = parts.as_path().to_string_lossy();
    generations.position(|files| files.owns(&name))
}

/// The rows of a segment, or its vectors in the generation that has the most of them.
pub(super) fn size_of(record: &SegmentRecord, generations: &[GenerationFiles]) -> u32 {
    generations.iter().map(|generation| generation.num_vectors(record)).fold(record.rows, u32::max)
}

/// Its rows that are not deleted, or about so many vectors as they have in that generation.
pub(super) fn live_size_of(record: &SegmentRecord, generations: &[GenerationFiles]) -> u32 {
    let live = u64::from(record.rows - record.num_deleted());
    let size = u64::from(size_of(record, generations));
    (size * live).div_ceil(u64::from(record.rows).max(1)) as u32
}

/// Writes the vectors of a segment.
pub(super) struct EmbeddingsWriter {
    output: Output,
    generation: GenerationFiles,
    vectors: VectorsWriter,
    /// The number of the first vector of each row, and of the next one.
    starts: Vec<u32>,
}

impl EmbeddingsWriter {
    /// Starts the files of a generation in the folder of a segment, where they must not exist.
    pub fn create(output: &Output, generation: GenerationFiles) -> Result<EmbeddingsWriter> {
        if let (Output::Folder(segment), Some(folder)) = (output, generation.folder()) {
            disk::create_folder(&segment.join(folder))?;
        }
        let vectors = VectorsWriter::create(output, &generation.name(VECTORS), generation.settings)?;
        Ok(EmbeddingsWriter { output: output.clone(), generation, vectors, starts: vec![0] })
    }

    /// Adds the vectors of the next row, (n, D) row-major; n is 1 without passages.
    pub fn add(&mut self, vectors: &[f32]) -> Result<()> {
        self.add_rows(vectors, &[vectors.len()])
    }

    /// Adds the vectors of several rows, given the number of components of each.
    pub fn add_rows(&mut self, vectors: &[f32], lengths: &[usize]) -> Result<()> {
        self.vectors.add(vectors)?;
        let dim = self.generation.settings.dim;
        lengths.iter().for_each(|components| self.end_row((components / dim) as u32));
        Ok(())
    }

    /// Adds the vectors of rows of another segment, as they lie there.
    pub fn copy(&mut self, embeddings: &Embeddings, rows: Range<u32>) -> Result<()> {
        let Some(passages) = embeddings.passages() else {
            rows.clone().for_each(|_| self.end_row(1));
            return self.vectors.copy(&embeddings.vectors, rows);
        };
        let mut vectors = 0..0;
        for row in rows {
            let of_row = passages.of_row(row);
            vectors.start = if vectors.is_empty() { of_row.start } else { vectors.start };
            vectors.end = of_row.end;
            self.end_row(of_row.len() as u32);
        }
        self.vectors.copy(&embeddings.vectors, vectors)
    }

    fn end_row(&mut self, num_vectors: u32) {
        self.starts.push(self.num_vectors() + num_vectors);
    }

    /// The vectors added so far.
    pub fn num_vectors(&self) -> u32 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Builds the index, if there is to be one, and encodes the rows unless the index has codes. In memory no index is
    /// built. Syncs the files, but not the folder of the segment.
    pub fn finish(self) -> Result<Vec<NewFile>> {
        let num_vectors = self.num_vectors();
        let EmbeddingsWriter { output, generation, vectors, starts } = self;
        let VectorSettings { metric, dim, index, passages, components } = generation.settings;
        let finished = vectors.finish()?;
        let mut files = Vec::new();
        if passages {
            let name = generation.name(PASSAGES);
            files.push(NewFile::new(name.clone(), passages::write(&output, &name, &starts)?));
        }
        let mut write = |rows: Rows<'_>| -> Result<()> {
            let format = match output {
                Output::Folder(_) => index.format_for(num_vectors),
                Output::Memory(_) => None,
            };
            if metric != Metric::L2 && format.and_then(Format::code_type).is_none() {
                let name = generation.name(CODES);
                let written = file::write(&output, &name, metric, dim, rows)?;
                files.push(NewFile::new(name, written));
            }
            if let Some(format) = format {
                let written = format.write(&generation.path(output.path()), metric, dim, rows)?;
                let file = |(name, file)| NewFile::on_disk(generation.name(name), file);
                files.extend(written.into_iter().map(file));
            }
            Ok(())
        };
        match &finished.bytes {
            Some(bytes) => {
                let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
                aligned.extend_from_slice(&bytes[HEADER_LEN..]);
                write(Rows::from_bytes(components, &aligned))?;
            }
            None => {
                // Read back where they lie: they need not fit into memory.
                let path = output.path().join(generation.name(VECTORS));
                let bytes = FileBytes::map(&path, finished.written.size)?;
                write(VectorsFile::open(path, bytes, num_vectors, generation.settings)?.rows())?;
            }
        }
        files.insert(0, NewFile::new(generation.name(VECTORS), finished));
        if let (Output::Folder(segment), Some(folder)) = (&output, generation.folder()) {
            disk::sync_folder(&segment.join(folder))?;
        }
        Ok(files)
    }
}

/// The vectors of a generation in a segment, or why its files cannot be read: others can then be read all the same.
pub(super) enum Opened {
    Whole(Box<Embeddings>),
    Damaged { file: PathBuf, damage: Damage },
}

impl Opened {
    /// Opens the files of a generation. What is no damage, such as a file that may not be read, is an error.
    pub fn open(files: &SegmentFiles<'_>, generation: GenerationFiles) -> Result<Opened> {
        match Embeddings::open(files, generation) {
            Ok(embeddings) => Ok(Opened::Whole(Box::new(embeddings))),
            Err(Error::Corrupt { file, damage }) => Ok(Opened::Damaged { file, damage }),
            Err(error) => Err(error),
        }
    }

    /// The vectors.
    ///
    /// # Errors
    /// [`Error::Corrupt`]
    pub fn get(&self) -> Result<&Embeddings> {
        match self {
            Opened::Whole(embeddings) => Ok(embeddings),
            Opened::Damaged { file, damage } => Err(corrupt(file, damage.clone())),
        }
    }
}

/// The vectors of a generation in a segment, opened for reading.
pub(super) struct Embeddings {
    generation: GenerationFiles,
    vectors: VectorsFile,
    passages: Option<PassagesFile>,
    codes: Option<CodesFile>,
    index: Option<Box<dyn IndexFiles>>,
}

impl Embeddings {
    pub fn open(files: &SegmentFiles<'_>, generation: GenerationFiles) -> Result<Embeddings> {
        let VectorSettings { metric, dim, index, .. } = generation.settings;
        let record = files.record();
        let file = |name| -> Result<(PathBuf, FileBytes)> {
            let name = generation.name(name);
            Ok((files.path(&name), files.bytes(&name)?))
        };
        let passages = match generation.settings.passages {
            true => {
                let (path, bytes) = file(PASSAGES)?;
                Some(PassagesFile::open(path, bytes, record.rows)?)
            }
            false => None,
        };
        let num_vectors = passages.as_ref().map_or(record.rows, |file| file.passages().num_vectors());
        let written = |name: &str| {
            record.file(&generation.name(name)).map(|file| Written { size: file.size, crc: file.crc })
        };
        let index = match index.format() {
            Some(format) => FileSet::open(generation.path(files.folder()), format.files(), written)?
                .map(|files| format.open(files, metric, dim, num_vectors))
                .transpose()?,
            None => None,
        };
        let codes = match written(CODES) {
            Some(_) => {
                let (path, bytes) = file(CODES)?;
                Some(CodesFile::open(path, bytes, metric, dim, num_vectors)?)
            }
            None => None,
        };
        let (path, bytes) = file(VECTORS)?;
        let vectors = VectorsFile::open(path, bytes, num_vectors, generation.settings)?;
        Ok(Embeddings { generation, vectors, passages, codes, index })
    }

    pub fn generation(&self) -> GenerationFiles {
        self.generation
    }

    pub fn vectors(&self) -> &VectorsFile {
        &self.vectors
    }

    /// Which vectors are those of each row, where a row may have several.
    pub fn passages(&self) -> Option<Passages<'_>> {
        self.passages.as_ref().map(PassagesFile::passages)
    }

    /// The vectors of a row, (n, D) row-major; n is 1 without passages.
    pub fn of_row(&self, row: u32) -> Rows<'_> {
        let of_row = self.passages().map_or(row..row + 1, |passages| passages.of_row(row));
        self.vectors.between(of_row)
    }

    /// The number of vectors of some rows.
    pub fn num_vectors_of(&self, rows: Range<u32>) -> u32 {
        match self.passages() {
            Some(passages) => rows.map(|row| passages.of_row(row).len() as u32).sum(),
            None => rows.len() as u32,
        }
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
        let passages = self.passages.iter().map(|passages| (PASSAGES, passages.bytes()));
        let index = self.index.iter().flat_map(|index| index.files().iter());
        let mut files = vectors.chain(codes).chain(passages).chain(index);
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
