//! Writing a segment. What is small is collected in memory and becomes a pack; everything else goes to a folder of
//! files, a few MiB at a time.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, disk, join};

use super::batch::{Batch, Vectors};
use super::columns;
use super::documents::{Documents, DocumentsWriter, NewDocument};
use super::embeddings::{EmbeddingsWriter, GenerationFiles};
use super::manifest::{FileRecord, PACK, SegmentRecord};
use super::pack::{self, NewFile};
use super::segment::{BM25, DOCUMENTS, LENGTHS, Segment};
use crate::bitmap::Bitmap;
use crate::bm25::{Analyzer, Bm25Writer, lengths};
use crate::error::Result;
use crate::file_format::files::{FileBytes, Output, Written, sync_foreign};

/// Postings held in memory while a segment is written, in bytes, before a part of them goes to disk.
pub(super) const BM25_BUDGET: usize = 128 << 20;

/// A pack has fewer rows, so it has no columns.
pub(super) const PACKED_ROWS: u32 = columns::MIN_ROWS;

/// A pack has at most so many bytes of texts and vectors.
const PACKED_BYTES: usize = 1 << 20;

/// Documents and vectors go to their files when they have so many bytes. The parts of a segment are written at the same
/// time, and a piece must be worth the handing over.
const BATCH_BYTES: usize = 4 << 20;

/// Writes a segment, one document at a time.
pub(super) struct SegmentWriter {
    folder: PathBuf,
    settings: Parameters,
    /// What is in no file yet: everything, until it is too much for a pack.
    waiting: Batch,
    rows: u32,
    /// The number of vectors in each generation.
    num_vectors: Vec<u32>,
    parts: Option<Parts>,
}

struct Parameters {
    generations: Vec<GenerationFiles>,
    analyzer: Option<Analyzer>,
    bm25_budget: usize,
}

/// Rows of a segment that are copied to another.
pub(super) struct Piece<'s> {
    pub segment: &'s Segment,
    /// Rows that follow one another, ascending; none is empty.
    pub runs: Vec<Range<u32>>,
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
        let (waiting, num_vectors) = (Batch::new(generations.len()), vec![0; generations.len()]);
        SegmentWriter { folder, settings, waiting, rows: 0, num_vectors, parts: None }
    }

    /// Adds the next row, with its vectors in each generation that was given at creation.
    pub fn add(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) -> Result<()> {
        self.waiting.push(document, vectors);
        self.rows += 1;
        let generations = vectors.iter().zip(&self.settings.generations);
        for (sum, (vectors, generation)) in self.num_vectors.iter_mut().zip(generations) {
            *sum += (vectors.len() / generation.settings.dim) as u32;
        }
        if self.waiting.num_bytes() + self.waiting.num_bytes_besides() < BATCH_BYTES {
            return Ok(());
        }
        self.write_waiting()
    }

    /// Adds rows of other segments of the database as they lie there. Nothing is encoded again, and only texts of a
    /// segment of which less than half is copied are analyzed again. What is
    /// written is what [`SegmentWriter::add`] would write, but for the order of bytes within the BM25 index.
    pub fn copy(&mut self, pieces: &[Piece<'_>]) -> Result<()> {
        self.write_waiting()?;
        self.in_a_folder()?.copy(pieces)?;
        for Piece { segment, runs } in pieces {
            self.rows += runs.iter().map(|run| run.len() as u32).sum::<u32>();
            for (sum, embeddings) in self.num_vectors.iter_mut().zip(segment.embeddings()) {
                *sum += runs.iter().map(|run| embeddings.num_vectors_of(run.clone())).sum::<u32>();
            }
        }
        Ok(())
    }

    /// The rows added so far, or their vectors in the generation that has the most.
    pub fn size(&self) -> u32 {
        self.num_vectors.iter().copied().fold(self.rows, u32::max)
    }

    fn write_waiting(&mut self) -> Result<()> {
        let waiting = std::mem::replace(&mut self.waiting, Batch::new(0));
        let written = self.in_a_folder().and_then(|parts| parts.write(&waiting));
        self.waiting = waiting;
        self.waiting.clear();
        written
    }

    /// Where documents go that are too many for a pack.
    fn in_a_folder(&mut self) -> Result<&mut Parts> {
        if self.parts.is_none() {
            disk::create_folder(&self.folder)?;
            self.parts = Some(Parts::create(Output::Folder(self.folder.clone()), &self.settings)?);
        }
        Ok(self.parts.as_mut().expect("it was made where there was none"))
    }

    /// Whether everything fits into a pack. An index has files that cannot be packed.
    fn fits_a_pack(&self) -> bool {
        let mut generations = self.settings.generations.iter().zip(&self.num_vectors);
        let has_index =
            generations.any(|(generation, number)| generation.settings.index.format_for(*number).is_some());
        self.parts.is_none()
            && self.rows < PACKED_ROWS
            && self.waiting.num_bytes() <= PACKED_BYTES
            && !has_index
    }

    /// Completes and syncs every file and folder of the segment, but for the names in the folder that it lies in.
    pub fn finish(mut self, deleted: &Bitmap) -> Result<SegmentRecord> {
        let files = if self.fits_a_pack() {
            let path = pack::path(&self.folder);
            let mut parts = Parts::create(Output::Memory(path.clone()), &self.settings)?;
            parts.write(&self.waiting)?;
            let mut files = parts.finish()?;
            let written = pack::write(path, &files)?;
            files.insert(0, NewFile::on_disk(PACK, written));
            files
        } else {
            self.write_waiting()?;
            self.in_a_folder()?;
            self.parts.take().map(Parts::finish).transpose()?.unwrap_or_default()
        };
        let name = self.folder.file_name().unwrap_or_default();
        Ok(SegmentRecord {
            folder: name.to_string_lossy().into_owned(),
            rows: self.rows,
            files: files.into_iter().map(|file| file.record).collect(),
            deleted: deleted_words(deleted, self.rows),
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
        })
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let Parts { output, documents, embeddings, bm25, rows } = self;
        *rows += batch.len() as u32;
        both(
            output,
            || {
                batch.documents().try_for_each(|document| documents.add(&document))?;
                let mut generations = embeddings.iter_mut().zip(batch.generations());
                generations.try_for_each(|(embeddings, Vectors { components, lengths })| {
                    embeddings.add_rows(components, lengths)
                })
            },
            || {
                let texts: Vec<_> =
                    batch.documents().map(|document| [document.title, document.text]).collect();
                bm25.add(&texts)
            },
        )?;
        Ok(())
    }

    fn copy(&mut self, pieces: &[Piece<'_>]) -> Result<()> {
        let Parts { output, documents, embeddings, bm25, rows } = self;
        let runs =
            || pieces.iter().flat_map(|Piece { segment, runs }| runs.iter().map(move |run| (*segment, run)));
        *rows += runs().map(|(_, run)| run.len() as u32).sum::<u32>();
        both(
            output,
            || {
                for (segment, run) in runs() {
                    documents.copy(segment.documents(), run.clone())?;
                    for (embeddings, source) in embeddings.iter_mut().zip(segment.embeddings()) {
                        embeddings.copy(source, run.clone())?;
                    }
                }
                Ok(())
            },
            || {
                pieces.iter().try_for_each(|Piece { segment, runs }| {
                    let num_kept: u32 = runs.iter().map(|run| run.len() as u32).sum();
                    // A merge reads all postings of a segment, and has 8 bytes for each of its rows.
                    if num_kept < segment.rows() / 2 {
                        return analyze(bm25, segment.documents(), runs.iter().cloned().flatten());
                    }
                    let kept = Bitmap::of_rows(runs.iter().cloned().flatten(), segment.rows());
                    bm25.copy(segment.bm25()?, &kept)
                })
            },
        )?;
        Ok(())
    }

    fn finish(self) -> Result<Vec<NewFile>> {
        let Parts { output, documents, embeddings, bm25, rows } = self;
        let (mut files, words) = both(
            &output,
            || {
                let has_metadata = documents.has_metadata();
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
                Ok(files)
            },
            || {
                let bm25 = bm25.finish()?;
                let mut files = vec![NewFile::new(LENGTHS, lengths::write(&output, LENGTHS, &bm25.lengths)?)];
                match bm25.in_memory {
                    Some(in_memory) => files.extend(in_memory.into_iter().map(|(name, bytes)| NewFile {
                        record: FileRecord::new(format!("{BM25}/{name}"), Written::of(&bytes)),
                        bytes: Some(bytes),
                    })),
                    None => files.extend(sync_bm25(&output.path().join(BM25))?),
                }
                Ok(files)
            },
        )?;
        files.extend(words);
        if let Output::Folder(folder) = &output {
            disk::sync_folder(folder)?;
        }
        Ok(files)
    }
}

/// Does two pieces of work, for a folder at the same time. What goes to a pack is done before a second thread is awake.
fn both<A: Send, B: Send>(
    output: &Output,
    a: impl FnOnce() -> Result<A> + Send,
    b: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    let (a, b) = match output {
        Output::Folder(_) => join(a, b),
        Output::Memory(_) => (a(), b()),
    };
    Ok((a?, b?))
}

/// Adds the texts of rows, a few MiB at a time.
fn analyze(bm25: &mut Bm25Writer, documents: &Documents, rows: impl Iterator<Item = u32>) -> Result<()> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let (mut read, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES
            && let Some(row) = rows.next()
        {
            let document = documents.document(row)?;
            bytes += size_of_val(&document) + document.title.len() + document.text.len();
            read.push(document);
        }
        let texts: Vec<[&str; 2]> = read.iter().map(|document| [&*document.title, &*document.text]).collect();
        bm25.add(&texts)?;
    }
    Ok(())
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
