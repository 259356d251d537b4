//! A segment: the documents of one commit with their vectors and postings, never changed once committed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::columns::{self, ColumnsFile};
use super::documents::Documents;
use super::embeddings::{Embeddings, GenerationFiles, Opened};
use super::fields::{Counts, Fields};
use super::manifest::{FileRecord, PACK, SegmentRecord};
use super::pack::SegmentFiles;
use crate::bitmap::Bitmap;
use crate::bm25::lengths::Lengths;
use crate::bm25::{Bm25Segment, MappedFiles};
use crate::error::{Damage, Result};
use crate::file_format::files::{FileBytes, check_crc, corrupt};
use crate::filter::{Field, Filter, ValueKind};

pub(super) const DOCUMENTS: &str = "documents";
pub(super) const LENGTHS: &str = "lengths";
pub(super) const BM25: &str = "bm25";
/// What this crate keeps of vectors, in its own formats.
const OWN_FILES: [&str; 4] = ["vectors", "passages", "codes", "graph"];

/// The name of a file in the folder of the BM25 index.
fn in_bm25(name: &str) -> Option<&str> {
    name.strip_prefix(BM25)?.strip_prefix('/')
}

/// A segment opened for reading: all of its files are mapped, so that it can be read when their names have been
/// removed.
pub(super) struct Segment {
    name: String,
    files: Vec<SegmentFile>,
    /// The path of the BM25 index, for errors.
    bm25_path: PathBuf,
    pack: Option<FileBytes>,
    rows: u32,
    documents: Documents,
    /// In the order of the generations.
    generations: Vec<GenerationFiles>,
    embeddings: Vec<Opened>,
    lengths: Arc<Lengths>,
    bm25_files: MappedFiles,
    bm25: OnceLock<Arc<Bm25Segment>>,
    fields: Fields,
    /// The generations whose files were compared with their checksums.
    checked: Mutex<HashSet<u64>>,
}

/// A file of a segment as the manifest has it.
struct SegmentFile {
    record: FileRecord,
    path: PathBuf,
    /// Whether it is a part of the pack.
    is_packed: bool,
}

impl Segment {
    /// Opens a segment: every file must be there in its length; headers and tables are checked, payloads are not read.
    /// Damage to the files of a generation is an error of those who read it, by [`Segment::embeddings`].
    pub fn open(segments: &Path, record: &SegmentRecord, generations: &[GenerationFiles]) -> Result<Segment> {
        let files = SegmentFiles::open(segments, record)?;
        let documents = Documents::open(files.path(DOCUMENTS), files.bytes(DOCUMENTS)?, record.rows)?;
        let embeddings = generations.iter().map(|generation| Opened::open(&files, *generation));
        let embeddings = embeddings.collect::<Result<_>>()?;
        let lengths = Lengths::open(files.path(LENGTHS), files.bytes(LENGTHS)?, record.rows)?;
        let mut bm25_files = MappedFiles::default();
        for file in &record.files {
            if let Some(name) = in_bm25(&file.name) {
                bm25_files.insert(name, files.bytes(&file.name)?);
            }
        }
        let open_columns = |name| ColumnsFile::open(files.path(name), files.bytes(name)?, record.rows);
        let columns =
            record.file(columns::FILE_NAME).map(|_| open_columns(columns::FILE_NAME)).transpose()?;
        let pack = record.file(PACK).map(|_| files.bytes(PACK)).transpose()?;
        let file = |record: &FileRecord| SegmentFile {
            path: files.path(&record.name),
            is_packed: files.is_packed(&record.name),
            record: record.clone(),
        };
        Ok(Segment {
            name: record.folder.clone(),
            files: record.files.iter().map(file).collect(),
            bm25_path: files.path(&format!("{BM25}/meta.json")),
            pack,
            rows: record.rows,
            documents,
            generations: generations.to_vec(),
            embeddings,
            lengths: Arc::new(lengths),
            bm25_files,
            bm25: OnceLock::new(),
            fields: Fields::new(columns),
            checked: Mutex::default(),
        })
    }

    /// Whether it is what a manifest says, with the files of these generations. Another database may be at the path by
    /// now, with a segment of the same name.
    pub fn is_of(&self, record: &SegmentRecord, generations: &[GenerationFiles]) -> bool {
        self.name == record.folder
            && self.rows == record.rows
            && self.files.iter().map(|file| &file.record).eq(&record.files)
            && self.generations.iter().map(|one| one.id).eq(generations.iter().map(|one| one.id))
    }

    /// The name of its folder, which no other segment of the database ever has.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn rows(&self) -> u32 {
        self.rows
    }

    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// The vectors of each generation, in their order.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if one of them cannot be read.
    pub fn embeddings(&self) -> Result<Vec<&Embeddings>> {
        self.embeddings.iter().map(Opened::get).collect()
    }

    /// The vectors of the generation at this position, if there is one.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if they cannot be read.
    pub fn embeddings_of(&self, generation: usize) -> Result<Option<&Embeddings>> {
        self.embeddings.get(generation).map(Opened::get).transpose()
    }

    /// The rows that match a filter, deleted ones among them.
    pub fn matching(&self, filter: &Filter, deleted: &Bitmap) -> Result<Bitmap> {
        self.fields.matching(filter, &self.documents, deleted)
    }

    /// The kinds of the values of a field, those of deleted rows among them.
    pub fn kinds(&self, field: &Field, deleted: &Bitmap) -> Result<Vec<ValueKind>> {
        self.fields.kinds(field, &self.documents, deleted)
    }

    /// Counts the values of all fields in the rows that are not deleted.
    pub fn count_fields(&self, deleted: &Bitmap, counts: Counts) -> Result<Counts> {
        self.fields.count(&self.documents, deleted, counts)
    }

    /// The length of a generation's files.
    pub fn vector_bytes(&self, generation: &GenerationFiles) -> u64 {
        self.vector_files(generation).map(|file| file.record.size).sum()
    }

    /// A generation's files, but for those of other libraries, which are compared before a library opens them.
    fn vector_files(&self, generation: &GenerationFiles) -> impl Iterator<Item = &SegmentFile> {
        let is_own = |name: &str| name.rsplit('/').next().is_some_and(|name| OWN_FILES.contains(&name));
        self.files.iter().filter(move |file| generation.owns(&file.record.name) && is_own(&file.record.name))
    }

    /// Compares the checksums of a generation's own files, the first time it is called.
    pub fn check_vectors(&self, generation: &GenerationFiles) -> Result<()> {
        if self.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(&generation.id) {
            return Ok(());
        }
        self.vector_files(generation).try_for_each(|file| self.check_file(file))?;
        self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(generation.id);
        Ok(())
    }

    /// The BM25 index, opened on first use. Its files are read through once to check them, because tantivy may panic
    /// or answer wrongly on damaged bytes.
    pub fn bm25(&self) -> Result<&Arc<Bm25Segment>> {
        if let Some(index) = self.bm25.get() {
            return Ok(index);
        }
        for file in &self.files {
            if file.record.name == LENGTHS || in_bm25(&file.record.name).is_some() {
                self.check_file(file)?;
            }
        }
        self.lengths.check()?;
        let index = Bm25Segment::open(&self.bm25_path, self.bm25_files.clone(), Arc::clone(&self.lengths))?;
        Ok(self.bm25.get_or_init(|| Arc::new(index)))
    }

    /// Compares every file with its checksum, in parallel on the current rayon pool.
    pub fn check_files(&self) -> Result<()> {
        self.embeddings()?;
        // The first error in the order of the files, whichever is found first.
        let found: Vec<Result<()>> = self.files.par_iter().map(|file| self.check_file(file)).collect();
        found.into_iter().collect()
    }

    /// Reads every file through: checksums first, then what the checksums cannot know.
    pub fn verify(&self, deleted: &Bitmap) -> Result<u64> {
        self.check_files()?;
        self.documents.verify(|row| !deleted.contains(row))?;
        self.documents.check_metadata(deleted)?;
        self.fields.file().map_or(Ok(()), ColumnsFile::verify)?;
        self.embeddings()?.into_iter().try_for_each(Embeddings::verify)?;
        self.bm25()?.verify()?;
        Ok(self.num_bytes())
    }

    /// The number of files on the disk, of which a pack is one.
    pub fn num_files(&self) -> usize {
        self.files.iter().filter(|file| !file.is_packed).count()
    }

    /// The length of all files in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().filter(|file| !file.is_packed).map(|file| file.record.size).sum()
    }

    fn check_file(&self, SegmentFile { record, path, .. }: &SegmentFile) -> Result<()> {
        let bytes = match record.name.as_str() {
            PACK => self.pack.as_deref(),
            DOCUMENTS => Some(self.documents.bytes()),
            columns::FILE_NAME => self.fields.file().map(ColumnsFile::bytes),
            LENGTHS => Some(self.lengths.bytes()),
            name => match in_bm25(name) {
                Some(name) => self.bm25_files.get(name),
                None => self.embeddings.iter().find_map(|embeddings| embeddings.get().ok()?.bytes(name)),
            },
        };
        let bytes = bytes.ok_or_else(|| corrupt(path, Damage::Unknown))?;
        check_crc(path, "the file", record.crc, crc32fast::hash(bytes))
    }
}
