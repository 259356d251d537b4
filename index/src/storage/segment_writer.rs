//! Writing a segment. What is small is collected in memory and becomes a pack; everything else goes to a folder of
//! files, a few MiB at a time.

use std::path::PathBuf;

use secateur_files::disk;

use super::batch::Batch;
use super::columns;
use super::documents::NewDocument;
use super::embeddings::GenerationFiles;
use super::manifest::{PACK, SegmentRecord};
use super::pack::{self, NewFile};
use super::segment_files::{BATCH_BYTES, Parameters, Piece, SegmentFiles};
use crate::bitmap::Bitmap;
use crate::bm25::Analyzer;
use crate::error::Result;
use crate::file_format::files::Output;

/// Postings held in memory while a segment is written, in bytes, before a part of them goes to disk.
pub(super) const BM25_BUDGET: usize = 128 << 20;

/// A pack has fewer rows, so it has no columns.
pub(super) const PACKED_ROWS: u32 = columns::MIN_ROWS;

/// A pack has at most so many bytes of texts and vectors.
const PACKED_BYTES: usize = 1 << 20;

/// Writes a segment, one document at a time.
pub(super) struct SegmentWriter {
    folder: PathBuf,
    settings: Parameters,
    /// What is in no file yet: everything, until it is too much for a pack.
    waiting: Batch,
    rows: u32,
    /// The number of vectors in each generation.
    num_vectors: Vec<u32>,
    open: Option<SegmentFiles>,
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
        SegmentWriter { folder, settings, waiting, rows: 0, num_vectors, open: None }
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
            for (sum, embeddings) in self.num_vectors.iter_mut().zip(segment.embeddings()?) {
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
        let written = self.in_a_folder().and_then(|files| files.write(&waiting));
        self.waiting = waiting;
        self.waiting.clear();
        written
    }

    /// Where documents go that are too many for a pack.
    fn in_a_folder(&mut self) -> Result<&mut SegmentFiles> {
        if self.open.is_none() {
            disk::create_folder(&self.folder)?;
            self.open = Some(SegmentFiles::create(Output::Folder(self.folder.clone()), &self.settings)?);
        }
        Ok(self.open.as_mut().expect("it was made where there was none"))
    }

    /// Whether everything fits into a pack. An index has files that cannot be packed.
    fn fits_a_pack(&self) -> bool {
        let mut generations = self.settings.generations.iter().zip(&self.num_vectors);
        let has_index =
            generations.any(|(generation, number)| generation.settings.index.format_for(*number).is_some());
        self.open.is_none()
            && self.rows < PACKED_ROWS
            && self.waiting.num_bytes() <= PACKED_BYTES
            && !has_index
    }

    /// Completes and syncs every file and folder of the segment, but for the names in the folder that it lies in.
    pub fn finish(mut self, deleted: &Bitmap) -> Result<SegmentRecord> {
        let files = if self.fits_a_pack() {
            let path = pack::path(&self.folder);
            let mut open = SegmentFiles::create(Output::Memory(path.clone()), &self.settings)?;
            open.write(&self.waiting)?;
            let mut files = open.finish()?;
            let written = pack::write(path, &files)?;
            files.insert(0, NewFile::on_disk(PACK, written));
            files
        } else {
            self.write_waiting()?;
            self.in_a_folder()?;
            self.open.take().map(SegmentFiles::finish).transpose()?.unwrap_or_default()
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
    use std::fs;
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
