//! The files of a segment while they are written: documents, vectors and words at the same time.

use std::fs;
use std::ops::Range;
use std::path::Path;

use secateur_files::{AtPath, disk, join};

use super::batch::{Batch, Vectors};
use super::columns;
use super::documents::{Documents, DocumentsWriter};
use super::embeddings::{EmbeddingsWriter, GenerationFiles};
use super::manifest::FileRecord;
use super::pack::NewFile;
use super::segment::{BM25, DOCUMENTS, LENGTHS, Segment};
use crate::bitmap::Bitmap;
use crate::bm25::{Analyzer, Bm25Writer, lengths};
use crate::error::Result;
use crate::file_format::files::{FileBytes, Output, Written, sync_foreign};

/// Documents and vectors go to their files when they have so many bytes. The parts of a segment are written at the same
/// time, and a piece must be worth the handing over.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// Rows of a segment that are copied to another.
pub(super) struct Piece<'s> {
    pub segment: &'s Segment,
    /// Rows that follow one another, ascending; none is empty.
    pub runs: Vec<Range<u32>>,
}

/// What is to be written.
pub(super) struct Parameters {
    pub generations: Vec<GenerationFiles>,
    pub analyzer: Option<Analyzer>,
    pub bm25_budget: usize,
}

/// The files of a segment.
pub(super) struct SegmentFiles {
    output: Output,
    documents: DocumentsWriter,
    embeddings: Vec<EmbeddingsWriter>,
    bm25: Bm25Writer,
    rows: u32,
}

impl SegmentFiles {
    /// Begins the files. A folder is there.
    pub fn create(output: Output, settings: &Parameters) -> Result<SegmentFiles> {
        let embeddings = settings.generations.iter();
        let embeddings = embeddings.map(|generation| EmbeddingsWriter::create(&output, *generation));
        Ok(SegmentFiles {
            documents: DocumentsWriter::create(&output, DOCUMENTS)?,
            embeddings: embeddings.collect::<Result<_>>()?,
            bm25: Bm25Writer::create(&output, BM25, settings.analyzer, settings.bm25_budget),
            output,
            rows: 0,
        })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &Batch) -> Result<()> {
        let SegmentFiles { output, documents, embeddings, bm25, rows } = self;
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

    /// Adds rows of other segments as they lie there.
    pub fn copy(&mut self, pieces: &[Piece<'_>]) -> Result<()> {
        let SegmentFiles { output, documents, embeddings, bm25, rows } = self;
        let runs =
            || pieces.iter().flat_map(|Piece { segment, runs }| runs.iter().map(move |run| (*segment, run)));
        *rows += runs().map(|(_, run)| run.len() as u32).sum::<u32>();
        both(
            output,
            || {
                for (segment, run) in runs() {
                    documents.copy(segment.documents(), run.clone())?;
                    for (embeddings, source) in embeddings.iter_mut().zip(segment.embeddings()?) {
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

    /// Completes and syncs the files and folders.
    pub fn finish(self) -> Result<Vec<NewFile>> {
        let SegmentFiles { output, documents, embeddings, bm25, rows } = self;
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
