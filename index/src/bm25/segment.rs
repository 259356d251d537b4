//! The BM25 part of one segment, opened for reading.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Index, InvertedIndexReader, SegmentReader, Term};

use super::lengths::Lengths;
use super::mapped::MappedFiles;
use super::schema::schema;
use crate::bitmap::Bitmap;
use crate::error::{Damage, Error, Result};

/// Postings and document lengths of one segment. Document numbers are the segment's row numbers.
pub(crate) struct Bm25Segment {
    folder: PathBuf,
    segment: tantivy::Segment,
    inverted: Arc<InvertedIndexReader>,
    field: Field,
    lengths: Arc<Lengths>,
}

impl Bm25Segment {
    /// Opens the index whose files, in `folder`, are these. They must have been checked against their checksums:
    /// tantivy may panic on damaged bytes.
    pub fn open(folder: &Path, files: MappedFiles, lengths: Arc<Lengths>) -> Result<Bm25Segment> {
        let error = |source: tantivy::TantivyError| Error::Bm25 {
            action: "read",
            path: folder.to_owned(),
            source: Box::new(source),
        };
        let damaged = |field, expected: String, got: String| Error::Corrupt {
            file: folder.to_owned(),
            damage: Damage::Field { field, expected, got },
        };
        let directory: Box<dyn tantivy::Directory> = Box::new(files);
        let index = Index::open(directory).map_err(error)?;
        let (expected_schema, field) = schema();
        if index.schema() != expected_schema {
            return Err(damaged("schema", "the BM25 schema".into(), "another".into()));
        }
        let segments = index.searchable_segments().map_err(error)?;
        let [segment] = segments.as_slice() else {
            return Err(damaged("tantivy segments", "1".into(), segments.len().to_string()));
        };
        let reader = SegmentReader::open(segment).map_err(error)?;
        if reader.max_doc() as usize != lengths.len() || reader.has_deletes() {
            let got = format!("{} of which {} deleted", reader.max_doc(), reader.num_deleted_docs());
            return Err(damaged("tantivy documents", lengths.len().to_string(), got));
        }
        Ok(Bm25Segment {
            folder: folder.to_owned(),
            segment: segment.clone(),
            inverted: reader.inverted_index(field).map_err(error)?,
            field,
            lengths,
        })
    }

    pub fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// What tantivy merges.
    pub fn segment(&self) -> &tantivy::Segment {
        &self.segment
    }

    /// What the dictionary says of a term; `None` if no document has it.
    pub fn term(&self, term: &str) -> Result<Option<TermInfo>> {
        let term = Term::from_field_text(self.field, term);
        self.inverted.get_term_info(&term).map_err(|source| self.unread(source))
    }

    /// The postings of a term, positioned on its first block.
    pub fn postings(&self, term: &TermInfo) -> Result<BlockSegmentPostings> {
        let postings = self.inverted.read_block_postings_from_terminfo(term, IndexRecordOption::WithFreqs);
        postings.map_err(|source| self.unread(source))
    }

    fn unread(&self, source: io::Error) -> Error {
        Error::Bm25 { action: "read", path: self.folder.clone(), source: Box::new(source) }
    }

    /// The number of documents that contain a term and are not deleted.
    pub fn document_frequency(&self, term: &TermInfo, deleted: &Bitmap) -> Result<u32> {
        if deleted.is_empty() {
            return Ok(term.doc_freq);
        }
        let mut postings = self.postings(term)?;
        let mut alive = 0;
        let mut rest = postings.doc_freq() as usize;
        while rest > 0 && postings.block_len() > 0 {
            let docs = &postings.docs()[..postings.block_len()];
            alive += docs.iter().filter(|doc| !deleted.contains(**doc)).count() as u32;
            rest = rest.saturating_sub(docs.len());
            postings.advance();
        }
        Ok(alive)
    }

    /// Goes through all postings. The frequencies of a document's terms must add up to its length, and the one-byte
    /// lengths must follow from the exact ones.
    pub fn verify(&self) -> Result<()> {
        let wrong = |field, expected: String, got: String| Error::Corrupt {
            file: self.folder.clone(),
            damage: Damage::Field { field, expected, got },
        };
        let mut found = vec![0u32; self.lengths.len()];
        let mut terms = self.inverted.terms().stream().map_err(|source| self.unread(source))?;
        while terms.advance() {
            let mut postings = self.postings(terms.value())?;
            let mut rest = postings.doc_freq() as usize;
            while rest > 0 && postings.block_len() > 0 {
                let len = postings.block_len();
                for (doc, freq) in postings.docs()[..len].iter().zip(&postings.freqs()[..len]) {
                    if let Some(found) = found.get_mut(*doc as usize) {
                        *found = found.saturating_add(*freq);
                    }
                }
                rest = rest.saturating_sub(len);
                postings.advance();
            }
        }
        for (row, (&found, &code)) in found.iter().zip(self.lengths.codes()).enumerate() {
            let length = self.lengths.length(row as u32);
            if length != found {
                return Err(wrong(
                    "the number of terms of a document",
                    length.to_string(),
                    found.to_string(),
                ));
            }
            if code != FieldNormReader::fieldnorm_to_id(length) {
                return Err(wrong("the short length of a document", length.to_string(), code.to_string()));
            }
        }
        Ok(())
    }
}
