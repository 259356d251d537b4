//! Writing a segment. What is small is collected in memory and becomes a pack; everything else goes to a folder of
//! files, as it comes.

use std::fs;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, disk};

use super::columns;
use super::documents::{Documents, DocumentsWriter, NewDocument};
use super::embeddings::{EmbeddingsWriter, GenerationFiles};
use super::manifest::{FileRecord, PACK, SegmentRecord};
use super::pack::{self, NewFile};
use super::segment::{BM25, DOCUMENTS, LENGTHS};
use crate::bitmap::Bitmap;
use crate::bm25::{Analyzer, Bm25Writer, lengths};
use crate::error::Result;
use crate::file_format::files::{FileBytes, Output, Written, sync_foreign};

/// Postings held in memory while a segment is written, in bytes, before a part of them goes to disk.
pub(super) const BM25_BUDGET: usize = 128 << 20;

/// A pack has fewer rows, so it has no columns.
const PACKED_ROWS: u32 = columns::MIN_ROWS;

/// A pack has at most so many bytes of texts and vectors.
const PACKED_BYTES: usize = 1 << 20;

/// Writes a segment, one document at a time.
pub(super) struct SegmentWriter {
    folder: PathBuf,
    settings: Parameters,
    /// The first documents, until there are too many of them for a pack.
    waiting: Vec<Row>,
    /// The bytes of their texts and vectors, and the number of their vectors in each generation.
    num_bytes: usize,
    num_vectors: Vec<u32>,
    parts: Option<Parts>,
}

struct Parameters {
    generations: Vec<GenerationFiles>,
    analyzer: Option<Analyzer>,
    bm25_budget: usize,
}

/// A document with its vectors in each generation.
struct Row {
    id: String,
    title: String,
    text: String,
    metadata: Option<String>,
    vectors: Vec<Vec<f32>>,
}

impl Row {
    fn new(document: &NewDocument<'_>, vectors: &[&[f32]]) -> Row {
        let NewDocument { id, title, text, metadata } = *document;
        Row {
            id: id.to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
            metadata: metadata.map(str::to_owned),
            vectors: vectors.iter().map(|vectors| vectors.to_vec()).collect(),
        }
    }

    fn num_bytes(&self) -> usize {
        let texts = [&self.id, &self.title, &self.text].map(String::len).iter().sum::<usize>();
        let vectors: usize = self.vectors.iter().map(|vectors| size_of_val(&vectors[..])).sum();
        texts + self.metadata.as_ref().map_or(0, String::len) + vectors
    }
}

impl SegmentWriter {
    /// Starts a segment in `folder`, which must not exist. `bm25_budget` is usually [`BM25_BUDGET`].
    pub fn create(
        folder: PathBuf,
        generations: &[GenerationFiles],
        analyzer: Option<Analyzer>,
        bm25_budget: usize,
    ) -> SegmentWriter {
        let settings = Parameters { generations: generations.to_vec(), analyzer, bm25_budget };
        let num_vectors = vec![0; generations.len()];
        SegmentWriter { folder, settings, waiting: Vec::new(), num_bytes: 0, num_vectors, parts: None }
    }

    /// Adds the next row, with its vectors in each generation that was given at creation.
    pub fn add(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        if self.parts.is_none() {
            let row = Row::new(document, vectors);
            let num_bytes = self.num_bytes.saturating_add(row.num_bytes());
            if self.waiting.len() + 1 < PACKED_ROWS as usize && num_bytes <= PACKED_BYTES {
                self.num_bytes = num_bytes;
                for (sum, (vectors, generation)) in
                    self.num_vectors.iter_mut().zip(vectors.iter().zip(&self.settings.generations))
                {
                    *sum += (vectors.len() / generation.settings.dim) as u32;
                }
                self.waiting.push(row);
                return Ok(());
            }
        }
        self.in_a_folder()?.add(document, vectors)
    }

    /// The rows added so far, or their vectors in the generation that has the most.
    pub fn size(&self) -> u32 {
        match &self.parts {
            Some(parts) => parts.size(),
            None => self.num_vectors.iter().copied().fold(self.waiting.len() as u32, u32::max),
        }
    }

    /// Where documents go that are too many for a pack.
    fn in_a_folder(&mut self) -> Result<&mut Parts> {
        if self.parts.is_none() {
            disk::create_folder(&self.folder)?;
            let parts = Parts::create(Output::Folder(self.folder.clone()), &self.settings)?;
            self.parts = Some(self.filled(parts)?);
        }
        Ok(self.parts.as_mut().expect("it was made where there was none"))
    }

    /// Moves the documents that wait.
    fn filled(&mut self, mut parts: Parts) -> Result<Parts> {
        for Row { id, title, text, metadata, vectors } in std::mem::take(&mut self.waiting) {
            let document = NewDocument { id: &id, title: &title, text: &text, metadata: metadata.as_deref() };
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            parts.add(&document, &vectors)?;
        }
        Ok(parts)
    }

    /// Whether so few vectors already get an index, which has files that cannot be packed.
    fn has_index(&self) -> bool {
        let mut generations = self.settings.generations.iter().zip(&self.num_vectors);
        generations.any(|(generation, number)| generation.settings.index.format_for(*number).is_some())
    }

    /// Completes and syncs every file and folder of the segment, but for the names in the folder that it lies in.
    pub fn finish(mut self, deleted: &Bitmap) -> Result<SegmentRecord> {
        if self.parts.is_none() && self.has_index() {
            self.in_a_folder()?;
        }
        let (rows, mut files) = match self.parts.take() {
            Some(parts) => (parts.rows, parts.finish()?),
            None => {
                let path = pack::path(&self.folder);
                let parts = Parts::create(Output::Memory(path.clone()), &self.settings)?;
                let parts = self.filled(parts)?;
                let (rows, mut files) = (parts.rows, parts.finish()?);
                let written = pack::write(path, &files)?;
                files.insert(0, NewFile::on_disk(PACK, written));
                (rows, files)
            }
        };
        let name = self.folder.file_name().unwrap_or_default();
        Ok(SegmentRecord {
            folder: name.to_string_lossy().into_owned(),
            rows,
            files: files.drain(..).map(|file| file.record).collect(),
            deleted: deleted_words(deleted, rows),
        })
    }
}

/// The files of a segment.
struct Parts {
    output: Output,
    documents: DocumentsWriter,
    embeddings: Vec<EmbeddingsWriter>,
    bm25: Bm25Writer,
    rows: u32,
    has_metadata: bool,
}

impl Parts {
    fn create(output: Output, settings: &Parameters) -> Result<Parts> {
        let embeddings = settings.generations.iter();
        let embeddings = embeddings.map(|generation| EmbeddingsWriter::create(&output, *generation));
        Ok(Parts {
            documents: DocumentsWriter::create(&output, DOCUMENTS)?,
            embeddings: embeddings.collect::<Result<_>>()?,
            bm25: Bm25Writer::create(&output, BM25, settings.analyzer, settings.bm25_budget),
            output,
            rows: 0,
            has_metadata: false,
        })
    }

    fn add(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        self.documents.add(document)?;
        for (embeddings, vector) in self.embeddings.iter_mut().zip(vectors) {
            embeddings.add(vector)?;
        }
        self.bm25.add(document.title, document.text)?;
        self.has_metadata |= document.metadata.is_some();
        self.rows += 1;
        Ok(())
    }

    fn size(&self) -> u32 {
        self.embeddings.iter().map(EmbeddingsWriter::num_vectors).fold(self.rows, u32::max)
    }

    fn finish(self) -> Result<Vec<NewFile>> {
        let Parts { output, documents, embeddings, bm25, rows, has_metadata } = self;
        let documents = documents.finish()?;
        let written = documents.written;
        let mut files = vec![NewFile::new(DOCUMENTS, documents)];
        if let Output::Folder(folder) = &output
            && has_metadata
            && rows >= columns::MIN_ROWS
        {
            files.extend(write_columns(folder, written, rows)?);
        }
        for embeddings in embeddings {
            files.extend(embeddings.finish()?);
        }
        let bm25 = bm25.finish()?;
        files.push(NewFile::new(LENGTHS, lengths::write(&output, LENGTHS, &bm25.lengths)?));
        match bm25.in_memory {
            Some(in_memory) => files.extend(in_memory.into_iter().map(|(name, bytes)| NewFile {
                record: FileRecord::new(format!("{BM25}/{name}"), Written::of(&bytes)),
                bytes: Some(bytes),
            })),
            None => {
                files.extend(sync_bm25(&output.path().join(BM25))?);
                disk::sync_folder(output.path())?;
            }
        }
        Ok(files)
    }
}

fn write_columns(folder: &Path, documents: Written, rows: u32) -> Result<Option<NewFile>> {
    let path = folder.join(DOCUMENTS);
    let bytes = FileBytes::map(&path, documents.size)?;
    let written = columns::write(&folder.join(columns::FILE_NAME), &Documents::open(path, bytes, rows)?)?;
    Ok(written.map(|written| NewFile::on_disk(columns::FILE_NAME, written)))
}

/// Syncs and checksums what tantivy wrote, in the order of names.
fn sync_bm25(folder: &Path) -> Result<Vec<NewFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        files.push(NewFile::on_disk(format!("{BM25}/{name}"), sync_foreign(&path)?));
    }
    disk::sync_folder(folder)?;
    files.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    Ok(files)
}

/// The bitmap as the manifest keeps it: empty, or one bit for each row.
pub(super) fn deleted_words(deleted: &Bitmap, rows: u32) -> Vec<u64> {
    let mut words = deleted.words().to_vec();
    if !deleted.is_empty() {
        words.resize((rows as usize).div_ceil(64), 0);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::segment::Segment;
    use super::*;
    use crate::bm25::{Bm25Index, Bm25Params};

    fn row(number: usize) -> (String, String) {
        (number.to_string(), format!("word w{} {}", number % 3, "again ".repeat(number)))
    }

    /// Postings that do not fit their memory go to disk in parts. Merged, they are those of a segment written at once.
    /// So are those of a pack.
    #[test]
    fn small_budgets_and_packs_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let segments = [Some(BM25_BUDGET), Some(0), None].map(|budget| {
            let path = folder.path().join(format!("{budget:?}"));
            let mut writer = SegmentWriter::create(path.clone(), &[], None, budget.unwrap_or(BM25_BUDGET));
            if budget.is_some() {
                writer.in_a_folder().unwrap();
            }
            for number in 0..30 {
                let (id, text) = row(number);
                writer.add(&NewDocument { id: &id, title: "", text: &text, metadata: None }, &[]).unwrap();
            }
            let record = writer.finish(&Bitmap::default()).unwrap();
            let segment = Segment::open(folder.path(), &record, &[]).unwrap();
            segment.verify(&Bitmap::default()).unwrap();
            match budget {
                Some(_) => {
                    let names = fs::read_dir(&path).unwrap().count();
                    assert_eq!(names, 3, "documents, lengths, bm25 and no parts");
                    assert!(!pack::path(&path).exists());
                }
                None => assert!(pack::path(&path).exists() && !path.exists()),
            }
            segment
        });
        let answers = segments.map(|segment| {
            let index = Bm25Index::new(None, [(0, Arc::clone(segment.bm25().unwrap()), Arc::default())]);
            index.search("w1 again", 30, Bm25Params::default()).unwrap()
        });
        assert_eq!(answers[0].len(), 29, "all but the first have a term of the query");
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }

    /// What is too much for a pack goes to the folder, with what was there before.
    #[test]
    fn packs_are_small() {
        let folder = tempfile::tempdir().unwrap();
        let text = "x".repeat(PACKED_BYTES / 4);
        for (name, rows, text, is_packed) in [
            ("few", 3, text.as_str(), true),
            ("long", 4, text.as_str(), false),
            ("one less", PACKED_ROWS - 1, "", true),
            ("many", PACKED_ROWS, "", false),
            ("none", 0, "", true),
        ] {
            let path = folder.path().join(name);
            let mut writer = SegmentWriter::create(path.clone(), &[], None, BM25_BUDGET);
            for number in 0..rows {
                let document =
                    NewDocument { id: &number.to_string(), title: "", text, metadata: Some("{\"a\": 1}") };
                writer.add(&document, &[]).unwrap();
                assert_eq!(writer.size(), number + 1);
            }
            let record = writer.finish(&Bitmap::default()).unwrap();
            assert_eq!(
                (record.rows, path.exists(), pack::path(&path).exists()),
                (rows, !is_packed, is_packed)
            );
            let segment = Segment::open(folder.path(), &record, &[]).unwrap();
            segment.verify(&Bitmap::default()).unwrap();
            assert_eq!(segment.num_files() == 1, is_packed, "{name}");
        }
    }
}
