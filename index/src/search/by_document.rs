//! Searching documents that have several vectors, one for each of their passages: a document is found once, with the
//! score of its best vector.
//!
//! Vectors are asked for, more and more of them, until they belong to enough documents. A document's best vector comes
//! before its others in a ranking. So the first k documents of the ranking of all vectors are those of a long enough
//! part of it.

use rayon::prelude::*;

use super::options::SearchOptions;
use super::passages::Passages;
use super::vector_search::VectorSearch;
use crate::bitmap::Bitmap;
use crate::error::Result;
use crate::flat::FlatIndex;
use crate::topk::{Hit, RowId};

/// An index of vectors, as an index of the rows that they belong to.
pub(crate) struct ByDocument<'a, I> {
    /// Its rows are vectors.
    vectors: I,
    segments: Vec<Segment<'a>>,
    num_rows: u32,
    num_vectors: u32,
}

/// The rows of a segment.
struct Segment<'a> {
    /// The numbers of its first row and of its first vector, over all segments.
    first_row: u32,
    first_vector: u32,
    passages: Passages<'a>,
}

impl<'a, I: VectorSearch> ByDocument<'a, I> {
    /// Of no row yet.
    pub fn new(vectors: I) -> ByDocument<'a, I> {
        ByDocument { vectors, segments: Vec::new(), num_rows: 0, num_vectors: 0 }
    }

    /// Adds the rows of the next segment of the index.
    pub fn push(&mut self, passages: Passages<'a>) {
        self.segments.push(Segment { first_row: self.num_rows, first_vector: self.num_vectors, passages });
        self.num_rows += passages.num_rows();
        self.num_vectors += passages.num_vectors();
    }

    /// The row that a vector belongs to.
    fn row_of(&self, vector: u32) -> RowId {
        let segment = self.segments.partition_point(|segment| segment.first_vector <= vector) - 1;
        let Segment { first_row, first_vector, passages } = &self.segments[segment];
        RowId(first_row + passages.row_of(vector - first_vector))
    }

    /// The vectors of a set of rows.
    fn vectors_of(&self, rows: &Bitmap) -> Bitmap {
        let mut vectors = Bitmap::default();
        for Segment { first_row, first_vector, passages } in &self.segments {
            let rows = rows.iter_within(*first_row..first_row + passages.num_rows());
            for vector in passages.of_rows(rows.map(|row| row - first_row)) {
                vectors.insert(first_vector + vector);
            }
        }
        vectors
    }

    /// The vectors of a row.
    fn vectors_of_row(&self, row: RowId) -> impl Iterator<Item = RowId> {
        let segment = self.segments.partition_point(|segment| segment.first_row <= row.0) - 1;
        let Segment { first_row, first_vector, passages } = &self.segments[segment];
        passages.of_row(row.0 - first_row).map(move |vector| RowId(first_vector + vector))
    }

    /// The first `k` rows of a ranking of vectors.
    fn rows(&self, vectors: &[Hit], k: usize) -> Vec<Hit> {
        let mut seen = Bitmap::default();
        let rows = vectors.iter().map(|hit| Hit { row: self.row_of(hit.row.0), score: hit.score });
        rows.filter(|hit| seen.insert(hit.row.0)).take(k).collect()
    }

    /// So many vectors belong to `k` rows if all rows have equally many, each a vector among the best.
    fn first_guess(&self, k: usize) -> usize {
        k.saturating_mul(self.num_vectors.div_ceil(self.num_rows.max(1)).max(1) as usize)
    }

    /// The best rows, given the best `found` of `asked` vectors, and how more of them are found.
    fn grow(
        &self,
        mut found: Vec<Hit>,
        mut asked: usize,
        k: usize,
        search: impl Fn(usize) -> Result<Vec<Hit>>,
    ) -> Result<Vec<Hit>> {
        loop {
            let rows = self.rows(&found, k);
            // Fewer than were asked for are all that there are.
            if rows.len() == k || found.len() < asked {
                return Ok(rows);
            }
            asked = asked.saturating_mul(4);
            found = search(asked)?;
        }
    }

    fn batch(
        &self,
        queries: &[f32],
        k: usize,
        search: impl Fn(&[f32], usize) -> Result<Vec<Vec<Hit>>> + Sync,
    ) -> Result<Vec<Vec<Hit>>> {
        let asked = self.first_guess(k);
        let found = search(queries, asked)?;
        let grown = |(query, found): (&[f32], Vec<Hit>)| {
            let more = |asked| Ok(search(query, asked)?.pop().unwrap_or_default());
            self.grow(found, asked, k, more)
        };
        queries.par_chunks_exact(self.vectors.flat().dim()).zip(found).map(grown).collect()
    }
}

impl<I: VectorSearch> VectorSearch for ByDocument<'_, I> {
    fn flat(&self) -> &FlatIndex<'_> {
        self.vectors.flat()
    }

    fn search_exactly(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.batch(queries, k, |queries, asked| self.vectors.search_exactly(queries, asked))
    }

    fn score(&self, query: &[f32], rows: &[RowId]) -> Result<Vec<Hit>> {
        let vectors: Vec<RowId> = rows.iter().flat_map(|row| self.vectors_of_row(*row)).collect();
        Ok(self.rows(&self.vectors.score(query, &vectors)?, rows.len()))
    }

    fn search(&self, query: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Hit>> {
        let filter = options.filter.map(|rows| self.vectors_of(rows));
        let options = SearchOptions { filter: filter.as_ref(), ..*options };
        let search = |asked| self.vectors.search(query, asked, &options);
        let asked = self.first_guess(k);
        self.grow(search(asked)?, asked, k, search)
    }

    fn search_batch(&self, queries: &[f32], k: usize, options: &SearchOptions<'_>) -> Result<Vec<Vec<Hit>>> {
        let filter = options.filter.map(|rows| self.vectors_of(rows));
        let options = SearchOptions { filter: filter.as_ref(), ..*options };
        self.batch(queries, k, |queries, asked| self.vectors.search_batch(queries, asked, &options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::{Graph, HnswParams};
    use crate::metric::Metric;
    use crate::search::ApproximateIndex;
    use proptest::prelude::*;

    /// Segments of documents of one or more vectors of small integers, so that scores are exact and often equal.
    fn segments() -> impl Strategy<Value = Vec<Vec<Vec<[i8; 2]>>>> {
        let document = prop::collection::vec([-3i8..4, -3..4], 1..6);
        prop::collection::vec(prop::collection::vec(document, 1..12), 1..4)
    }

    proptest! {
        /// Against all documents, each with the best of its scores, sorted.
        #[test]
        fn equals_sorting_all_documents(
            segments in segments(),
            filter in prop::option::of(prop::collection::btree_set(0u32..30, 0..20)),
            query in [-3i8..4, -3..4],
            k in 0usize..40,
        ) {
            let numbers = |vectors: &[[i8; 2]]| vectors.iter().flatten().map(|x| f32::from(*x)).collect::<Vec<_>>();
            let rows: Vec<f32> = segments.iter().flatten().flat_map(|document| numbers(document)).collect();
            let starts: Vec<Vec<u32>> = segments.iter().map(|documents| {
                documents.iter().fold(vec![0], |mut starts, document| {
                    starts.push(starts.last().unwrap() + document.len() as u32);
                    starts
                })
            }).collect();
            let query = query.map(f32::from);
            let score = |vector: &[i8; 2]| query.iter().zip(vector).map(|(q, x)| q * f32::from(*x)).sum::<f32>() + 0.0;
            let mut expected: Vec<Hit> = segments.iter().flatten().zip(0u32..)
                .filter(|(_, row)| filter.as_ref().is_none_or(|filter| filter.contains(row)))
                .map(|(document, row)| Hit { row: RowId(row), score: document.iter().map(score).fold(f32::MIN, f32::max) })
                .collect();
            expected.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
            let matching = expected.clone();
            let rows_of_all: Vec<RowId> = matching.iter().rev().map(|hit| hit.row).collect();
            expected.truncate(k);

            let filter: Option<Bitmap> = filter.map(|rows| rows.into_iter().collect());
            let options = SearchOptions { filter: filter.as_ref(), ..SearchOptions::new(1000) };
            let graph = Graph::build(Metric::InnerProduct, 2, &rows, &HnswParams::default()).unwrap();
            let flat = FlatIndex::new(Metric::InnerProduct, 2, &rows).unwrap();
            let indexes: [Box<dyn VectorSearch>; 2] = {
                let mut flat = ByDocument::new(flat);
                let mut approximate = ByDocument::new(ApproximateIndex::new(&rows, &graph).unwrap());
                starts.iter().for_each(|starts| flat.push(Passages::new(starts)));
                starts.iter().for_each(|starts| approximate.push(Passages::new(starts)));
                [Box::new(flat), Box::new(approximate)]
            };
            let twice = [query, query].concat();
            for index in indexes {
                prop_assert_eq!(&index.search(&query, k, &options).unwrap(), &expected);
                prop_assert_eq!(&index.score(&query, &rows_of_all).unwrap(), &matching);
                prop_assert_eq!(index.search_batch(&twice, k, &options).unwrap(), vec![expected.clone(); 2]);
                if filter.is_none() {
                    prop_assert_eq!(index.search_exactly(&twice, k).unwrap(), vec![expected.clone(); 2]);
                }
            }
        }
    }
}
