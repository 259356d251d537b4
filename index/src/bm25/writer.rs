//! Writing the BM25 part of a segment: documents go in one at a time, one tantivy segment comes out.

use std::path::PathBuf;

use rayon::prelude::*;
use secateur_files::disk;
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::fastfield::AliveBitSet;
use tantivy::indexer::merge_filtered_segments;
use tantivy::schema::{Field, Schema};
use tantivy::{Directory, Document, Index, SingleSegmentIndexWriter};

use super::analysis::{Analysis, Analyzer};
use super::folder::IndexFolder;
use super::one_name::{self, META};
use super::postings::Postings;
use super::schema::{schema, settings};
use super::segment::Bm25Segment;
use super::terms::Terms;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::file_format::files::Output;

/// What tantivy sizes its hash table of terms by, of which it gets none: about the least that it takes.
const TABLE_BUDGET: usize = 256 << 10;

/// Builds a BM25 index whose document numbers are the order in which documents are added.
///
/// Memory: at most about `budget` bytes of postings, then they go to disk as a part; [`Bm25Writer::finish`] merges the
/// parts in order. Besides, 4 bytes a document for its length. An index that goes to no folder stays in memory.
pub(crate) struct Bm25Writer {
    folder: PathBuf,
    memory: Option<RamDirectory>,
    budget: usize,
    schema: Schema,
    field: Field,
    analyzer: Option<Analyzer>,
    current: Option<NewPart>,
    parts: Vec<SegmentRun>,
    /// The number of parts that were begun in folders of their own.
    num_written: usize,
    lengths: Vec<u32>,
}

/// A part that was begun.
struct NewPart {
    /// Writes what tantivy wants besides postings.
    documents: SingleSegmentIndexWriter<NoFields>,
    postings: Postings,
}

/// A document of which tantivy sees nothing, for it would take its own time about the terms.
struct NoFields;

impl Document for NoFields {
    type Value<'a> = &'a str;
    type FieldsValuesIter<'a> = std::iter::Empty<(Field, &'a str)>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        std::iter::empty()
    }
}

/// Postings of documents that follow one another.
struct SegmentRun {
    segments: Vec<tantivy::Segment>,
    /// Those that are kept, unless all are.
    alive: Option<AliveBitSet>,
    /// Its own folder, which goes when it has been merged.
    folder: Option<PathBuf>,
}

/// A BM25 index that is written.
pub(crate) struct FinishedIndex {
    /// The number of terms of each document.
    pub lengths: Vec<u32>,
    /// Its files, in the order of their names, if they are not in its folder.
    pub in_memory: Option<Vec<(String, Vec<u8>)>>,
}

/// So many documents are analyzed together. Fewer take less time than waking another thread of the pool.
const ANALYZED_TOGETHER: usize = 64;

impl Bm25Writer {
    /// Starts a BM25 index in a folder of this name, which must not exist.
    pub fn create(output: &Output, name: &str, analyzer: Option<Analyzer>, budget: usize) -> Bm25Writer {
        let (schema, field) = schema();
        Bm25Writer {
            folder: output.path().join(name),
            memory: matches!(output, Output::Memory(_)).then(RamDirectory::create),
            budget,
            schema,
            field,
            analyzer,
            current: None,
            parts: Vec::new(),
            num_written: 0,
            lengths: Vec::new(),
        }
    }

    /// Adds documents, each a title and a text. Many are analyzed in parallel on the current rayon pool.
    pub fn add(&mut self, documents: &[[&str; 2]]) -> Result<()> {
        let analyzer = self.analyzer;
        let analysis = || Analysis::new(analyzer);
        if documents.len() <= ANALYZED_TOGETHER {
            return self.index(&terms(&mut analysis(), documents));
        }
        let analyzed: Vec<Terms> =
            documents.par_chunks(ANALYZED_TOGETHER).map_init(analysis, terms).collect();
        analyzed.iter().try_for_each(|terms| self.index(terms))
    }

    /// Adds documents with these terms.
    fn index(&mut self, terms: &Terms) -> Result<()> {
        for terms in terms.documents() {
            // A document has at most 4 GiB of text, so fewer terms than that.
            self.lengths.push(terms.len() as u32);
            if self.current.is_none() {
                self.current = Some(self.start_part()?);
            }
            let Some(part) = &mut self.current else { continue };
            part.postings.add(terms);
            let is_full = self.memory.is_none() && part.postings.num_bytes() >= self.budget;
            part.documents.add_document(NoFields).map_err(|error| self.error(error))?;
            if is_full {
                self.end_part()?;
            }
        }
        Ok(())
    }

    /// Adds documents of another index, which are in this set, without their texts.
    pub fn copy(&mut self, segment: &Bm25Segment, rows: &Bitmap) -> Result<()> {
        self.end_part()?;
        self.lengths.extend(rows.iter().map(|row| segment.lengths().length(row)));
        let num_rows = segment.lengths().len() as u32;
        self.parts.push(SegmentRun {
            segments: vec![segment.segment().clone()],
            alive: (rows.len() < num_rows).then(|| alive(rows, num_rows)),
            folder: None,
        });
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<FinishedIndex> {
        if self.current.is_none() && self.parts.is_empty() {
            self.current = Some(self.start_part()?);
        }
        if let Some(memory) = self.memory.take() {
            let part = self.current.take();
            let index = part.map(|part| part.finish(self.field)).transpose();
            let files = index.and_then(|index| index.map(|index| files_of(&index, &memory)).transpose());
            let in_memory = files.map_err(|error| self.error(error))?;
            return Ok(FinishedIndex { lengths: self.lengths, in_memory });
        }
        self.end_part()?;
        match &self.parts[..] {
            [SegmentRun { folder: Some(folder), segments, .. }] => {
                segments.iter().try_for_each(|segment| one_name::rename_files(folder, segment))?;
                disk::rename(folder, &self.folder)?;
            }
            _ => {
                let merged = self.merge()?;
                merged.iter().try_for_each(|segment| one_name::rename_files(&self.folder, segment))?;
            }
        }
        Ok(FinishedIndex { lengths: self.lengths, in_memory: None })
    }

    /// Merges the parts in the folder of the index, and gives back its segment.
    fn merge(&self) -> Result<Vec<tantivy::Segment>> {
        let segments = self.parts.iter().flat_map(|part| part.segments.iter().cloned());
        let alive = self.parts.iter().flat_map(|part| part.segments.iter().map(|_| part.alive.clone()));
        let directory = IndexFolder::create(&self.folder)?;
        let merged =
            merge_filtered_segments(&segments.collect::<Vec<_>>(), settings(), alive.collect(), directory)
                .and_then(|index| index.searchable_segments())
                .map_err(|error| self.error(error))?;
        for folder in self.parts.iter().filter_map(|part| part.folder.as_ref()) {
            disk::remove_folder(folder)?;
        }
        Ok(merged)
    }

    fn start_part(&mut self) -> Result<NewPart> {
        let directory: Box<dyn Directory> = match &self.memory {
            Some(memory) => Box::new(memory.clone()),
            None => {
                self.num_written += 1;
                IndexFolder::create(&self.part_folder())?
            }
        };
        let documents = Index::builder()
            .schema(self.schema.clone())
            .settings(settings())
            .single_segment_index_writer(directory, TABLE_BUDGET)
            .map_err(|error| self.error(error))?;
        Ok(NewPart { documents, postings: Postings::default() })
    }

    /// Writes the part that was begun, if one was.
    fn end_part(&mut self) -> Result<()> {
        let Some(part) = self.current.take() else { return Ok(()) };
        let segments = part.finish(self.field).and_then(|index| index.searchable_segments());
        let segments = segments.map_err(|error| self.error(error))?;
        self.parts.push(SegmentRun { segments, alive: None, folder: Some(self.part_folder()) });
        Ok(())
    }

    /// Where the part that was begun last is.
    fn part_folder(&self) -> PathBuf {
        self.folder.with_extension(format!("part{}", self.num_written))
    }

    fn error(&self, source: tantivy::TantivyError) -> Error {
        Error::Bm25 { action: "written", path: self.folder.clone(), source: Box::new(source) }
    }
}

impl NewPart {
    /// Writes its files.
    fn finish(self, field: Field) -> tantivy::Result<Index> {
        let index = self.documents.finalize()?;
        for segment in index.searchable_segments()? {
            self.postings.write(&segment, field)?;
        }
        Ok(index)
    }
}

/// The terms of documents, of each those of the title and then those of the text.
fn terms(analysis: &mut Analysis, documents: &[[&str; 2]]) -> Terms {
    let mut terms = Terms::default();
    for document in documents {
        for text in document {
            analysis.for_each_term(text, |term| terms.push(term));
        }
        terms.end_document();
    }
    terms
}

/// The rows of an index of `num_rows` that are kept, as tantivy stores them: their number and a bit for each.
fn alive(rows: &Bitmap, num_rows: u32) -> AliveBitSet {
    let words = (0..num_rows.div_ceil(64) as usize).map(|at| rows.words().get(at).copied().unwrap_or(0));
    let mut bytes = num_rows.to_le_bytes().to_vec();
    bytes.extend(words.flat_map(u64::to_le_bytes));
    AliveBitSet::open(OwnedBytes::new(bytes))
}

/// The files of an index of one segment, in the order of their names. tantivy reads no others to search. What it keeps
/// besides is a list of what it may remove.
fn files_of(index: &Index, files: &RamDirectory) -> tantivy::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for segment in index.searchable_segments()? {
        let drawn = segment.id().uuid_string();
        for path in index.load_metas()?.list_segment_files() {
            // Some are listed that there are only for documents that were deleted.
            if files.exists(&path)? {
                let name = one_name::renamed(&path.to_string_lossy(), &drawn);
                found.push((name, files.atomic_read(&path)?));
            }
        }
        found.push((META.to_owned(), one_name::meta(&segment)?));
    }
    found.sort();
    Ok(found)
}
