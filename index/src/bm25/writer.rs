//! Writing the BM25 part of a segment: documents go in one at a time, one tantivy segment comes out.

use std::path::{Path, PathBuf};

use secateur_files::disk;
use tantivy::directory::RamDirectory;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Directory, Index, IndexSettings, SingleSegmentIndexWriter, TantivyDocument};

use super::analysis::{Analysis, Analyzer};
use super::folder::IndexFolder;
use super::terms::{Terms, tokenizers};
use crate::error::{Error, Result};
use crate::file_format::files::Output;

/// The name of the one field, of title and text together.
const FIELD: &str = "contents";

/// The name of the tokenizer, which is part of the schema. Nothing but [`Bm25Writer`] has tantivy make terms.
const TOKENIZER: &str = "raw";

/// The file in which tantivy says what an index has.
const META: &str = "meta.json";

/// Terms with their frequencies. Positions, stored text and tantivy's document lengths are not kept, because nothing
/// reads them. The text lies in the documents file, and the lengths file has exact lengths.
pub(crate) fn schema() -> (Schema, Field) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(false);
    let field = builder.add_text_field(FIELD, TextOptions::default().set_indexing_options(indexing));
    (builder.build(), field)
}

/// What tantivy sizes its first hash table of terms by; the table grows with the terms. Small, because most commits
/// are.
const TABLE_BUDGET: usize = 4 << 20;

/// Builds a BM25 index whose document numbers are the order of the calls to [`Bm25Writer::add`].
///
/// Memory: at most about `budget` bytes of postings, then they go to disk as a part; [`Bm25Writer::finish`] merges the
/// parts in order. Besides, 4 bytes a document for its length. An index that goes to no folder stays in memory.
pub(crate) struct Bm25Writer {
    folder: PathBuf,
    memory: Option<RamDirectory>,
    budget: usize,
    schema: Schema,
    field: Field,
    analysis: Analysis,
    current: Option<SingleSegmentIndexWriter>,
    parts: Vec<Index>,
    lengths: Vec<u32>,
}

/// A BM25 index that is written.
pub(crate) struct FinishedIndex {
    /// The number of terms of each document.
    pub lengths: Vec<u32>,
    /// Its files, in the order of their names, if they are not in its folder.
    pub in_memory: Option<Vec<(String, Vec<u8>)>>,
}

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
            analysis: Analysis::new(analyzer),
            current: None,
            parts: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// Adds the next document.
    pub fn add(&mut self, title: &str, text: &str) -> Result<()> {
        let mut terms = Terms::default();
        for field_text in [title, text] {
            self.analysis.for_each_term(field_text, |term| terms.push(term));
        }
        self.lengths.push(terms.len());
        let mut document = TantivyDocument::default();
        document.add_text(self.field, terms.into_text());

        let mut writer = match self.current.take() {
            Some(writer) => writer,
            None => self.start_part()?,
        };
        writer.add_document(document).map_err(|error| self.error(error))?;
        if self.memory.is_some() || writer.mem_usage() < self.budget {
            self.current = Some(writer);
        } else {
            self.parts.push(writer.finalize().map_err(|error| self.error(error))?);
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<FinishedIndex> {
        let writer = match self.current.take() {
            Some(writer) => Some(writer),
            None if self.parts.is_empty() => Some(self.start_part()?),
            None => None,
        };
        if let Some(writer) = writer {
            let part = writer.finalize().map_err(|error| self.error(error))?;
            self.parts.push(part);
        }
        let in_memory = match (&self.memory, &self.parts[..]) {
            (Some(files), [index]) => Some(files_of(index, files).map_err(|error| self.error(error))?),
            (None, [_]) => {
                disk::rename(&self.part_folder(0), &self.folder)?;
                None
            }
            _ => {
                self.merge()?;
                None
            }
        };
        Ok(FinishedIndex { lengths: self.lengths, in_memory })
    }

    fn merge(&self) -> Result<()> {
        let mut segments = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            segments.extend(part.searchable_segments().map_err(|error| self.error(error))?);
        }
        let keep_all = segments.iter().map(|_| None).collect();
        let directory = IndexFolder::create(&self.folder)?;
        tantivy::indexer::merge_filtered_segments(&segments, IndexSettings::default(), keep_all, directory)
            .map_err(|error| self.error(error))?;
        for number in 0..self.parts.len() {
            disk::remove_folder(&self.part_folder(number))?;
        }
        Ok(())
    }

    fn start_part(&self) -> Result<SingleSegmentIndexWriter> {
        let directory: Box<dyn Directory> = match &self.memory {
            Some(memory) => Box::new(memory.clone()),
            None => IndexFolder::create(&self.part_folder(self.parts.len()))?,
        };
        Index::builder()
            .schema(self.schema.clone())
            .tokenizers(tokenizers(TOKENIZER))
            .single_segment_index_writer(directory, TABLE_BUDGET)
            .map_err(|error| self.error(error))
    }

    fn part_folder(&self, number: usize) -> PathBuf {
        self.folder.with_extension(format!("part{number}"))
    }

    fn error(&self, source: tantivy::TantivyError) -> Error {
        Error::Bm25 { action: "written", path: self.folder.clone(), source: Box::new(source) }
    }
}

/// The files of an index of one segment, in the order of their names. tantivy reads no others to search. What it keeps
/// besides is a list of what it may remove.
fn files_of(index: &Index, files: &RamDirectory) -> tantivy::Result<Vec<(String, Vec<u8>)>> {
    let mut paths: Vec<PathBuf> = index.load_metas()?.list_segment_files().into_iter().collect();
    paths.push(Path::new(META).to_owned());
    paths.sort();
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        // Some are listed that there are only for documents that were deleted.
        if files.exists(&path)? {
            found.push((path.to_string_lossy().into_owned(), files.atomic_read(&path)?));
        }
    }
    Ok(found)
}
