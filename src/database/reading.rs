//! What encoders read of documents, and the vectors that they make of it.

use secateur_datasets::Document;
use secateur_encoders::Encoder;
use secateur_index::storage::Generation;

use super::{PASSAGES, SEPARATOR};
use crate::encode::Passages;
use crate::encode::stream::Vectors;
use crate::error::Result;

/// What an encoder reads of some documents, one or more texts of each.
pub(super) struct Reading {
    pub texts: Vec<String>,
    /// Where the texts of each document begin, and at the end their number.
    starts: Vec<usize>,
}

/// The vectors of some documents in one generation.
pub(super) struct PassageVectors {
    dim: usize,
    rows: Vec<f32>,
    starts: Vec<usize>,
}

impl Reading {
    pub fn of(documents: &[Document], generation: &Generation, encoder: &Encoder) -> Result<Reading> {
        let mut reading = Reading { texts: Vec::with_capacity(documents.len()), starts: vec![0] };
        for document in documents {
            reading.texts.extend(texts_of(document, generation, encoder)?);
            reading.starts.push(reading.texts.len());
        }
        Ok(reading)
    }

    /// The same texts with their vectors, (B, D) row-major.
    pub fn rows(self, dim: usize, rows: Vec<f32>) -> PassageVectors {
        PassageVectors { dim, rows, starts: self.starts }
    }
}

impl PassageVectors {
    /// One vector for each document, (B, D) row-major.
    pub fn one_each(dim: usize, rows: Vec<f32>) -> PassageVectors {
        let num_documents = rows.len() / dim.max(1);
        PassageVectors { dim, rows, starts: (0..=num_documents).collect() }
    }

    /// Vectors of a corpus as they come.
    pub fn streamed(dim: usize, vectors: Vectors) -> PassageVectors {
        let Vectors { rows, starts } = vectors;
        PassageVectors { dim, rows, starts }
    }

    /// The vectors of a document, (n, D).
    pub fn of_document(&self, number: usize) -> &[f32] {
        &self.rows[self.starts[number] * self.dim..self.starts[number + 1] * self.dim]
    }

    /// The vectors of each document.
    pub fn documents(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.starts.len() - 1).map(|number| self.of_document(number))
    }
}

/// What an encoder reads of a document: title, separator and text, or the same of each of its passages.
pub(super) fn texts_of(
    document: &Document,
    generation: &Generation,
    encoder: &Encoder,
) -> Result<Vec<String>> {
    let separator = separator(generation);
    Ok(match passages(generation) {
        Some(passages) => passages.of(document, separator, encoder)?,
        None => vec![document.passage(separator)],
    })
}

/// What errors call a document.
pub(super) fn name_of(document: &Document) -> String {
    format!("document {:?}", document.id)
}

/// What stands between title and text when the encoder of a generation reads them.
pub(crate) fn separator(generation: &Generation) -> &str {
    generation.properties.get(SEPARATOR).map_or(" ", String::as_str)
}

/// How the documents of a generation are split.
pub(crate) fn passages(generation: &Generation) -> Option<Passages> {
    generation.properties.get(PASSAGES)?.parse().ok().filter(|_| generation.vectors.passages)
}
