//! A segment: the documents of one commit with their vectors and postings, never changed once committed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use secateur_files::{AtPath, disk};

use super::columns::{self, ColumnsFile};
use super::documents::{Documents, DocumentsWriter, NewDocument};
use super::embeddings::{Embeddings, EmbeddingsWriter, GenerationFiles};
use super::fields::{Counts, Fields};
use super::manifest::{FileRecord, SegmentRecord};
use crate::bitmap::Bitmap;
use crate::bm25::lengths::{self, Lengths};
use crate::bm25::{Analyzer, Bm25Segment, Bm25Writer, MappedFiles};
use crate::error::{Damage, Result};
use crate::file_format::files::{check_crc, corrupt, map, sync_foreign};
use crate::filter::{Field, Filter, ValueKind};

const DOCUMENTS: &str = "documents";
const LENGTHS: &str = "lengths";
const BM25: &str = "bm25";
/// What this crate keeps of vectors, in its own formats.
const OWN_FILES: [&str; 4] = ["vectors", "passages", "codes", "graph"];

/// Postings held in memory while a segment is written, in bytes, before a part of them goes to disk.
pub(super) const BM25_BUDGET: usize = 128 << 20;

/// Writes a segment, one document at a time.
pub(super) struct SegmentWriter {
    folder: PathBuf,
    documents: DocumentsWriter,
    embeddings: Vec<EmbeddingsWriter>,
    bm25: Bm25Writer,
    rows: u32,
    has_metadata: bool,
}

impl SegmentWriter {
    /// Starts a segment in `folder`, which must not exist. `bm25_budget` is usually [`BM25_BUDGET`].
    pub fn create(
        folder: PathBuf,
        generations: &[GenerationFiles],
        analyzer: Option<Analyzer>,
        bm25_budget: usize,
    ) -> Result<SegmentWriter> {
        disk::create_folder(&folder)?;
        let embeddings = generations.iter().map(|generation| EmbeddingsWriter::create(&folder, *generation));
        Ok(SegmentWriter {
            documents: DocumentsWriter::create(folder.join(DOCUMENTS))?,
            embeddings: embeddings.collect::<Result<_>>()?,
            bm25: Bm25Writer::create(folder.join(BM25), analyzer, bm25_budget),
            folder,
            rows: 0,
            has_metadata: false,
        })
    }

    /// Adds the next row, with its vectors in each generation that was given at creation.
    pub fn add(&mut self, document: &NewDocument, vectors: &[&[f32]]) -> Result<()> {
        self.documents.add(document)?;
        for (embeddings, vector) in self.embeddings.iter_mut().zip(vectors) {
            embeddings.add(vector)?;
        }
        self.bm25.add(document.title, document.text)?;
        self.has_metadata |= document.metadata.is_some();
        self.rows += 1;
        Ok(())
    }

    /// The rows added so far, or their vectors in the generation that has the most.
    pub fn size(&self) -> u32 {
        self.embeddings.iter().map(EmbeddingsWriter::num_vectors).fold(self.rows, u32::max)
    }

    /// Completes and syncs every file and folder of the segment.
    pub fn finish(self, deleted: &Bitmap) -> Result<SegmentRecord> {
        let SegmentWriter { folder, documents, embeddings, bm25, rows, has_metadata } = self;
        let written = documents.finish()?;
        let mut files = vec![FileRecord::new(DOCUMENTS, written)];
        if has_metadata && rows >= columns::MIN_ROWS {
            let documents = Documents::open(folder.join(DOCUMENTS), written.size, rows)?;
            let columns = columns::write(&folder.join(columns::FILE_NAME), &documents)?;
            files.extend(columns.map(|written| FileRecord::new(columns::FILE_NAME, written)));
        }
        for embeddings in embeddings {
            files.extend(embeddings.finish()?);
        }
        let lengths = bm25.finish()?;
        files.push(FileRecord::new(LENGTHS, lengths::write(folder.join(LENGTHS), &lengths)?));
        files.extend(sync_bm25(&folder.join(BM25))?);
        disk::sync_folder(&folder)?;
        let name = folder.file_name().unwrap_or_default();
        Ok(SegmentRecord {
            folder: name.to_string_lossy().into_owned(),
            rows,
            files,
            deleted: deleted_words(deleted, rows),
        })
    }
}

/// The bitmap as the manifest keeps it: empty, or one bit for each row.
pub(super) fn deleted_words(deleted: &Bitmap, rows: u32) -> Vec<u64> {
    let mut words = deleted.words().to_vec();
    if !deleted.is_empty() {
        words.resize((rows as usize).div_ceil(64), 0);
    }
    words
}

/// The name of a file in the folder of the BM25 index.
fn in_bm25(name: &str) -> Option<&str> {
    name.strip_prefix(BM25)?.strip_prefix('/')
}

/// Syncs and checksums what tantivy wrote, in the order of names.
fn sync_bm25(folder: &Path) -> Result<Vec<FileRecord>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        records.push(FileRecord::new(format!("{BM25}/{name}"), sync_foreign(&path)?));
    }
    disk::sync_folder(folder)?;
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(records)
}

/// A segment opened for reading: all of its files are mapped, so that it can be read when their names have been
/// removed.
pub(super) struct Segment {
    name: String,
    folder: PathBuf,
    files: Vec<FileRecord>,
    rows: u32,
    documents: Documents,
    /// In the order of the generations.
    embeddings: Vec<Embeddings>,
    lengths: Arc<Lengths>,
    bm25_files: MappedFiles,
    bm25: OnceLock<Arc<Bm25Segment>>,
    fields: Fields,
    /// The generations whose files were compared with their checksums.
    checked: Mutex<HashSet<u64>>,
}

impl Segment {
    /// Opens a segment: every file must be there in its length; headers and tables are checked, payloads are not read.
    pub fn open(segments: &Path, record: &SegmentRecord, generations: &[GenerationFiles]) -> Result<Segment> {
        let folder = segments.join(&record.folder);
        let size_of = |name| record.size_of(&folder, name);
        let documents = Documents::open(folder.join(DOCUMENTS), size_of(DOCUMENTS)?, record.rows)?;
        let embeddings = generations.iter().map(|generation| Embeddings::open(&folder, record, *generation));
        let embeddings = embeddings.collect::<Result<_>>()?;
        let lengths = Lengths::open(folder.join(LENGTHS), size_of(LENGTHS)?, record.rows)?;
        let mut bm25_files = MappedFiles::default();
        for file in &record.files {
            if let Some(name) = in_bm25(&file.name) {
                bm25_files.insert(name, map(&folder.join(&file.name), file.size)?);
            }
        }
        let columns = record.file(columns::FILE_NAME);
        let columns = columns
            .map(|file| ColumnsFile::open(folder.join(columns::FILE_NAME), file.size, record.rows))
            .transpose()?;
        Ok(Segment {
            name: record.folder.clone(),
            files: record.files.clone(),
            rows: record.rows,
            documents,
            embeddings,
            lengths: Arc::new(lengths),
            bm25_files,
            bm25: OnceLock::new(),
            fields: Fields::new(columns),
            checked: Mutex::default(),
            folder,
        })
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
    pub fn embeddings(&self) -> &[Embeddings] {
        &self.embeddings
    }

    /// The rows that match a filter, deleted ones among them.
    pub fn matching(&self, filter: &Filter) -> Result<Bitmap> {
        self.fields.matching(filter, &self.documents)
    }

    /// The kinds of the values of a field, those of deleted rows among them.
    pub fn kinds(&self, field: &Field) -> Result<Vec<ValueKind>> {
        self.fields.kinds(field, &self.documents)
    }

    /// Counts the values of all fields in the rows that are not deleted.
    pub fn count_fields(&self, deleted: &Bitmap, counts: Counts) -> Result<Counts> {
        self.fields.count(&self.documents, deleted, counts)
    }

    /// The length of a generation's files.
    pub fn vector_bytes(&self, generation: &GenerationFiles) -> u64 {
        self.vector_files(generation).map(|file| file.size).sum()
    }

    /// A generation's files, but for those of other libraries, which are compared before a library opens them.
    fn vector_files(&self, generation: &GenerationFiles) -> impl Iterator<Item = &FileRecord> {
        let is_own = |name: &str| name.rsplit('/').next().is_some_and(|name| OWN_FILES.contains(&name));
        self.files.iter().filter(move |file| generation.owns(&file.name) && is_own(&file.name))
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
            if file.name == LENGTHS || in_bm25(&file.name).is_some() {
                self.check_file(file)?;
            }
        }
        self.lengths.check()?;
        let folder = self.folder.join(BM25);
        let index = Bm25Segment::open(&folder, self.bm25_files.clone(), Arc::clone(&self.lengths))?;
        Ok(self.bm25.get_or_init(|| Arc::new(index)))
    }

    /// Reads every file through: checksums first, then what the checksums cannot know.
    pub fn verify(&self, deleted: &Bitmap) -> Result<u64> {
        for file in &self.files {
            self.check_file(file)?;
        }
        self.documents.verify(|row| !deleted.contains(row))?;
        self.fields.file().map_or(Ok(()), ColumnsFile::verify)?;
        self.embeddings.iter().try_for_each(Embeddings::verify)?;
        self.bm25()?.verify()?;
        Ok(self.num_bytes())
    }

    pub fn num_files(&self) -> usize {
        self.files.len()
    }

    /// The length of all files in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn check_file(&self, record: &FileRecord) -> Result<()> {
        let path = self.folder.join(&record.name);
        let bytes = match record.name.as_str() {
            DOCUMENTS => Some(self.documents.bytes()),
            columns::FILE_NAME => self.fields.file().map(ColumnsFile::bytes),
            LENGTHS => Some(self.lengths.bytes()),
            name => match in_bm25(name) {
                Some(name) => self.bm25_files.get(name),
                None => self.embeddings.iter().find_map(|embeddings| embeddings.bytes(name)),
            },
        };
        let bytes = bytes.ok_or_else(|| corrupt(&path, Damage::Unknown))?;
        check_crc(&path, "the file", record.crc, crc32fast::hash(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bm25::{Bm25Index, Bm25Params};

    /// Postings that do not fit their memory go to disk in parts; merged, they are those of a segment written at once.
    #[test]
    fn small_budgets_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let segments = [BM25_BUDGET, 0].map(|budget| {
            let mut writer =
                SegmentWriter::create(folder.path().join(budget.to_string()), &[], None, budget).unwrap();
            for number in 0..30 {
                let text = format!("word w{} {}", number % 3, "again ".repeat(number));
                let id = number.to_string();
                writer.add(&NewDocument { id: &id, title: "", text: &text, metadata: None }, &[]).unwrap();
            }
            let record = writer.finish(&Bitmap::default()).unwrap();
            let segment = Segment::open(folder.path(), &record, &[]).unwrap();
            segment.verify(&Bitmap::default()).unwrap();
            let names = fs::read_dir(folder.path().join(&record.folder)).unwrap().count();
            assert_eq!(names, 3, "documents, lengths, bm25 and no parts");
            segment
        });
        let answers = segments.map(|segment| {
            let index = Bm25Index::new(None, [(0, Arc::clone(segment.bm25().unwrap()), Arc::default())]);
            index.search("w1 again", 30, Bm25Params::default()).unwrap()
        });
        assert_eq!(answers[0].len(), 29, "all but the first have a term of the query");
        assert_eq!(answers[0], answers[1]);
    }
}
