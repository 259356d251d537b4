//! The indexes over the documents of a snapshot: of their vectors, and of their words.

use std::sync::Arc;

use secateur_gpu::Gpu;

use super::settings::{RECALL, VectorSettings};
use super::snapshot::{SegmentView, Snapshot};
use crate::bitmap::Bitmap;
use crate::bm25::Bm25Index;
use crate::error::{Error, Result};
use crate::file_format::files::{corrupt, wrong_field};
use crate::flat::{DeviceCodes, DeviceIndex, FlatIndex};
use crate::search::{ApproximateIndex, ByDocument, RecallCurve, VectorSearch};
use crate::vector_index::VectorIndex;

/// The first search by vectors compares the checksums of so many bytes of their files: milliseconds of work. Beyond,
/// it would be most of what a search of a new process takes, and [`Snapshot::verify`] is for that.
const CHECKED_BYTES: u64 = 64 << 20;

impl Snapshot {
    /// The exact vector index over this snapshot's documents. Its rows are vectors, numbered over all segments, where
    /// documents have several: [`Snapshot::index`] finds documents.
    ///
    /// # Errors
    /// [`Error::NoVectors`], [`Error::Corrupt`] if one of the first files does not match its checksum.
    pub fn flat(&self) -> Result<FlatIndex<'_>> {
        self.check_vectors()?;
        let VectorSettings { metric, dim, .. } = self.0.settings.vectors.ok_or(Error::NoVectors)?;
        let mut index = FlatIndex::empty(metric, dim);
        for (number, view) in self.0.views.iter().enumerate() {
            let embeddings = self.embeddings(view)?;
            index.push(embeddings.vectors().rows(), self.deleted_vectors(number), embeddings.codes());
        }
        Ok(index)
    }

    /// The vectors of deleted rows in a segment.
    fn deleted_vectors(&self, segment: usize) -> Option<&Bitmap> {
        if !self.0.settings.vectors?.passages {
            return Some(&self.0.views.get(segment)?.deleted);
        }
        let of_view = |view: &SegmentView| {
            let passages = view.segment.embeddings_of(self.0.generation).ok()??.passages()?;
            Some(passages.of_rows(view.deleted.iter()).collect())
        };
        let deleted = self
            .0
            .deleted_vectors
            .get_or_init(|| self.0.views.iter().map(|view| of_view(view).unwrap_or_default()).collect());
        deleted.get(segment)
    }

    /// The vector index that the database was created with, over this snapshot's documents. It is exact or an
    /// approximate index. The approximate one searches the indexes of the segments that have one, and the other
    /// segments exactly.
    ///
    /// # Errors
    /// [`Error::NoVectors`]. The first call reads the files of an index of another library: [`Error::Corrupt`] if one
    /// does not match its checksum, [`Error::Backend`], and [`Error::NoFaiss`].
    pub fn index(&self) -> Result<Box<dyn VectorSearch + '_>> {
        let VectorSettings { metric, dim, index, passages, .. } =
            self.0.settings.vectors.ok_or(Error::NoVectors)?;
        if index == VectorIndex::Flat {
            let index = self.flat()?;
            return if passages { self.by_document(index) } else { Ok(Box::new(index)) };
        }
        self.check_vectors()?;
        let mut index = ApproximateIndex::empty(metric, dim);
        for (number, view) in self.0.views.iter().enumerate() {
            let embeddings = self.embeddings(view)?;
            let (rows, deleted) = (embeddings.vectors().rows(), self.deleted_vectors(number));
            index.push(rows, deleted, embeddings.codes(), embeddings.candidates()?);
        }
        if passages { self.by_document(index) } else { Ok(Box::new(index)) }
    }

    /// Whether any segment has an approximate index. Segments that are too small for one are searched exactly.
    ///
    /// # Errors
    /// As [`Snapshot::index`].
    pub fn has_approximate_index(&self) -> Result<bool> {
        for view in &self.0.views {
            if self.embeddings(view)?.candidates()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies the 8-bit codes of this snapshot's vectors to a GPU, for [`Snapshot::index_on`].
    ///
    /// # Errors
    /// As [`Snapshot::flat`] and [`DeviceCodes::upload`].
    pub fn upload_codes(&self, gpu: &Gpu) -> Result<DeviceCodes> {
        DeviceCodes::upload(&self.flat()?, gpu)
    }

    /// The exact index over this snapshot's documents, whose first pass a GPU does: with the hits of
    /// [`Snapshot::index`] where that is exact. The codes must be those of this snapshot.
    ///
    /// # Errors
    /// As [`Snapshot::flat`]; [`Error::RowsMismatch`] if the codes are of another number of vectors.
    pub fn index_on<'s>(&'s self, codes: &'s DeviceCodes) -> Result<Box<dyn VectorSearch + 's>> {
        let index = DeviceIndex::new(self.flat()?, codes)?;
        let passages = self.0.settings.vectors.is_some_and(|vectors| vectors.passages);
        if passages { self.by_document(index) } else { Ok(Box::new(index)) }
    }

    /// An index of vectors that finds documents.
    fn by_document<'s>(&'s self, index: impl VectorSearch + 's) -> Result<Box<dyn VectorSearch + 's>> {
        let mut index = ByDocument::new(index);
        for view in &self.0.views {
            if let Some(passages) = self.embeddings(view)?.passages() {
                index.push(passages);
            }
        }
        Ok(Box::new(index))
    }

    /// What [`Store::set_recall_curve`](super::Store::set_recall_curve) kept of the generation that is read: of its
    /// documents at that time.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it cannot be read.
    pub fn recall_curve(&self) -> Result<Option<RecallCurve>> {
        let record = self.0.manifest.generations.get(self.0.generation);
        let Some(text) = record.and_then(|record| record.properties.get(RECALL)) else { return Ok(None) };
        let damage = |_| {
            let file = self.0.path.join(super::manifest::FILE_NAME);
            corrupt(&file, wrong_field(RECALL, "a recall curve", text))
        };
        text.parse().map(Some).map_err(damage)
    }

    /// The BM25 index over this snapshot's documents. The first call reads the index files through to check them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a file does not match its checksum, [`Error::Io`], [`Error::Bm25`].
    pub fn bm25(&self) -> Result<&Bm25Index> {
        if let Some(index) = self.0.bm25.get() {
            return Ok(index);
        }
        let mut segments = Vec::with_capacity(self.0.views.len());
        for view in &self.0.views {
            segments.push((view.base, Arc::clone(view.segment.bm25()?), Arc::clone(&view.deleted)));
        }
        Ok(self.0.bm25.get_or_init(|| Arc::new(Bm25Index::new(self.0.settings.analyzer, segments))))
    }

    /// Compares the checksums of the first of the files that searches by vectors read, once for each segment.
    fn check_vectors(&self) -> Result<()> {
        if self.0.is_checked.get().is_some() {
            return Ok(());
        }
        let mut left = CHECKED_BYTES;
        for view in &self.0.views {
            let Some(embeddings) = view.segment.embeddings_of(self.0.generation)? else { continue };
            let generation = embeddings.generation();
            let Some(rest) = left.checked_sub(view.segment.vector_bytes(&generation)) else { continue };
            left = rest;
            view.segment.check_vectors(&generation).map_err(|error| self.whose(error))?;
        }
        let _ = self.0.is_checked.set(());
        Ok(())
    }
}
