//! Rows that stay go to new segments.

use std::borrow::Cow;

use super::embeddings::GenerationFiles;
use super::manifest::SegmentRecord;
use super::segment::Segment;
use super::segment_files::Piece;
use super::segment_writer::{BM25_BUDGET, PACKED_ROWS, SegmentWriter};
use super::snapshot::SegmentView;
use super::store::{NewFolders, Store};
use crate::bitmap::Bitmap;
use crate::error::Result;

/// Segments being written anew.
pub(super) struct Rewriting<'s> {
    store: &'s Store,
    generations: Vec<GenerationFiles>,
    max_rows: u32,
    postings: usize,
    folders: NewFolders,
    /// The number of the first segment that is written, among those that the next commit adds.
    first: usize,
    done: usize,
    total: usize,
}

impl<'s> Rewriting<'s> {
    /// Segments that are full with `max_rows` rows or vectors, numbered from `first`.
    pub fn new(
        store: &'s Store,
        generations: Vec<GenerationFiles>,
        max_rows: u32,
        first: usize,
    ) -> Rewriting<'s> {
        Rewriting {
            store,
            generations,
            max_rows,
            postings: BM25_BUDGET,
            folders: NewFolders::default(),
            first,
            done: 0,
            total: 0,
        }
    }

    /// With another bound on the bytes of postings in memory.
    pub fn with_postings(self, postings: usize) -> Rewriting<'s> {
        Rewriting { postings, ..self }
    }

    /// With the number of all rows to be written, for `progress`.
    pub fn with_total(self, total: usize) -> Rewriting<'s> {
        Rewriting { total, ..self }
    }

    /// The folders that were written.
    pub fn into_folders(self) -> NewFolders {
        self.folders
    }

    /// Writes the rows of segments that are not deleted to new ones.
    pub fn rewrite(
        &mut self,
        views: &[SegmentView],
        progress: &mut impl FnMut(usize, usize),
    ) -> Result<Vec<SegmentRecord>> {
        views.iter().try_for_each(|view| view.segment.check_files())?;
        let mut records = Vec::new();
        for pieces in divide(views, self.max_rows) {
            let pieces = pieces?;
            let rows: usize = pieces.iter().flat_map(|piece| &piece.runs).map(ExactSizeIterator::len).sum();
            let mut writer = self.start();
            if rows < PACKED_ROWS as usize {
                // Row by row, because so few may become a pack.
                add_rows(&mut writer, &pieces)?;
            } else {
                writer.copy(&pieces)?;
            }
            for _ in 0..rows {
                self.done += 1;
                progress(self.done, self.total);
            }
            records.push(writer.finish(&Bitmap::default())?);
        }
        Ok(records)
    }

    fn start(&mut self) -> SegmentWriter {
        let folder = self.store.new_segment_folder(self.first + self.folders.len());
        self.folders.push(folder.clone());
        let analyzer = self.store.snapshot().settings().analyzer;
        SegmentWriter::create(folder, &self.generations, analyzer, self.postings)
    }
}

/// The rows that are not deleted, for one segment after the other that is full with `max_rows` rows or vectors.
fn divide(views: &[SegmentView], max_rows: u32) -> impl Iterator<Item = Result<Vec<Piece<'_>>>> {
    let (mut view, mut next) = (0, 0);
    std::iter::from_fn(move || {
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        let (mut rows, mut vectors, mut is_full): (u32, Vec<u32>, bool) = (0, Vec::new(), false);
        while !is_full && let Some(SegmentView { segment, deleted, .. }) = views.get(view) {
            let embeddings = match segment.embeddings() {
                Ok(embeddings) => embeddings,
                Err(error) => return Some(Err(error)),
            };
            vectors.resize(embeddings.len(), 0);
            let mut runs = Vec::new();
            while !is_full && next < segment.rows() {
                let row = next;
                next += 1;
                if deleted.contains(row) {
                    continue;
                }
                extend(&mut runs, row);
                rows += 1;
                for (sum, embeddings) in vectors.iter_mut().zip(&embeddings) {
                    *sum += embeddings.num_vectors_of(row..row + 1);
                }
                is_full = vectors.iter().copied().fold(rows, u32::max) >= max_rows;
            }
            if !runs.is_empty() {
                pieces.push(Piece { segment, runs });
            }
            if next == segment.rows() {
                (view, next) = (view + 1, 0);
            }
        }
        (!pieces.is_empty()).then_some(Ok(pieces))
    })
}

/// Adds a row to those before it.
fn extend(runs: &mut Vec<std::ops::Range<u32>>, row: u32) {
    match runs.last_mut() {
        Some(last) if last.end == row => last.end += 1,
        _ => runs.push(row..row + 1),
    }
}

/// What [`SegmentWriter::copy`] does, one row after the other, as if each was new.
fn add_rows(writer: &mut SegmentWriter, pieces: &[Piece<'_>]) -> Result<()> {
    for Piece { segment, runs } in pieces {
        runs.iter().cloned().flatten().try_for_each(|row| add_row(writer, segment, row))?;
    }
    Ok(())
}

fn add_row(writer: &mut SegmentWriter, segment: &Segment, row: u32) -> Result<()> {
    let document = segment.documents().document(row)?;
    let vectors: Vec<Cow<'_, [f32]>> =
        segment.embeddings()?.into_iter().map(|embeddings| embeddings.of_row(row).to_f32()).collect();
    let vectors: Vec<&[f32]> = vectors.iter().map(|vector| &**vector).collect();
    writer.add(&document.as_new(), &vectors)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::bm25::Bm25Params;
    use crate::hnsw::HnswParams;
    use crate::metric::Metric;
    use crate::rows::ComponentType;
    use crate::storage::{Generation, NewDocument, Settings, VectorSettings};
    use crate::topk::Hit;
    use crate::vector_index::VectorIndex;

    /// A database with segments of these rows, less every document whose number `divisor` divides. It has two
    /// generations, the second with passages, components of 16 bits and perhaps a graph.
    fn store(path: &Path, segments: &[u32], divisor: u32, has_graph: bool) -> Store {
        let one = VectorSettings::new(Metric::L2, 3);
        let mut several = VectorSettings { components: ComponentType::F16, passages: true, ..one };
        several.metric = Metric::Cosine;
        if has_graph {
            several.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(20);
        }
        let mut store = Store::create(path, &Settings::with_vectors(Metric::L2, 3)).unwrap();
        let generation =
            Generation { name: "b".into(), vectors: several, encoder: None, properties: BTreeMap::new() };
        store.begin_generation(generation).unwrap().finish().unwrap();
        let mut number = 0u32;
        for rows in segments {
            let mut transaction = store.begin().unwrap();
            for _ in 0..*rows {
                let (id, text) = (
                    format!("id {number}"),
                    format!("word w{} {}", number % 7, "again ".repeat(number as usize % 5)),
                );
                let metadata = number.is_multiple_of(3).then(|| format!("{{\"n\": {number}}}"));
                let document =
                    NewDocument { id: &id, title: "Title", text: &text, metadata: metadata.as_deref() };
                let x = number as f32;
                let passages = [x / 7.0, 1.0, -x].repeat(1 + number as usize % 3);
                transaction.add_all(&document, &[&[x, 0.1, -0.0], &passages]).unwrap();
                number += 1;
            }
            transaction.commit().unwrap();
        }
        let mut transaction = store.begin().unwrap();
        (0..number)
            .step_by(divisor as usize)
            .for_each(|number| transaction.delete(&format!("id {number}")).unwrap());
        transaction.commit().unwrap();
        store
    }

    /// The files of a segment but for those of tantivy, whose order within the file may differ.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for (prefix, folder) in [("", folder.to_owned()), ("g1/", folder.join("g1"))] {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.file_name().unwrap().to_string_lossy();
                    found.insert(format!("{prefix}{name}"), fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    fn answers(segment: &Segment) -> Vec<Vec<Hit>> {
        let index = crate::bm25::Bm25Index::new(
            Some(crate::bm25::Analyzer::English),
            [(0, std::sync::Arc::clone(segment.bm25().unwrap()), std::sync::Arc::default())],
        );
        let queries = ["title", "word", "w1", "w2 again", "again w6", "absent"];
        queries.map(|query| index.search(query, 10_000, Bm25Params::default()).unwrap()).to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Copying rows writes what adding them one by one writes.
        #[test]
        fn copies_are_what_rows_are(
            segments in prop::collection::vec(0u32..60, 1..4),
            divisor in 1u32..5,
            max_rows in 10u32..90,
            has_graph in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let store = store(&folder.path().join("db"), &segments, divisor, has_graph);
            let generations = store.generation_files();
            let analyzer = store.snapshot().settings().analyzer;
            let mut rows = 0;
            for (number, pieces) in divide(store.snapshot().views(), max_rows).enumerate() {
                let pieces = pieces.unwrap();
                let write = |name: &str, fill: fn(&mut SegmentWriter, &[Piece<'_>]) -> Result<()>| {
                    let path = folder.path().join(format!("{name}{number}"));
                    let mut writer = SegmentWriter::create(path, &generations, analyzer, BM25_BUDGET);
                    // A pack would hold the same files in one.
                    writer.copy(&[]).unwrap();
                    fill(&mut writer, &pieces).unwrap();
                    let size = writer.size();
                    let record = writer.finish(&Bitmap::default()).unwrap();
                    let segment = Segment::open(folder.path(), &record, &generations).unwrap();
                    segment.verify(&Bitmap::default()).unwrap();
                    (size, segment)
                };
                let (copied_size, copied) = write("copied", SegmentWriter::copy);
                let (plain_size, plain) = write("plain", add_rows);
                prop_assert_eq!(copied_size, plain_size);
                let [of_copied, of_plain] = ["copied", "plain"].map(|name| files(&folder.path().join(format!("{name}{number}"))));
                prop_assert_eq!(of_copied.keys().collect::<Vec<_>>(), of_plain.keys().collect::<Vec<_>>());
                prop_assert!(of_copied == of_plain);
                prop_assert_eq!(answers(&copied), answers(&plain));
                rows += copied.rows();
            }
            prop_assert_eq!(rows as usize, store.snapshot().len());
        }
    }
}
