//! Searching: exhaustive scoring, window by window.

use std::sync::Arc;

use rayon::prelude::*;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;

use super::analysis::{Analysis, Analyzer};
use super::segment::Bm25Segment;
use super::statistics::Bm25Statistics;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::topk::{Hit, RowId, TopK};

/// The two free parameters of BM25. The defaults are Anserini's for BEIR.
///
/// ```
/// let params = secateur_index::bm25::Bm25Params::default();
/// assert_eq!((params.k1, params.b), (0.9, 0.4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25Params {
    /// How slowly repeated occurrences of a term saturate: 0 or more; at 0 only presence counts.
    pub k1: f32,
    /// How strongly long documents are discounted: 0 (not at all) to 1 (in full).
    pub b: f32,
}

impl Default for Bm25Params {
    fn default() -> Bm25Params {
        Bm25Params { k1: 0.9, b: 0.4 }
    }
}

impl Bm25Params {
    fn check(&self) -> Result<()> {
        let invalid =
            |name, got: f32, allowed| Error::InvalidParameter { name, got: f64::from(got), allowed };
        if !(self.k1.is_finite() && self.k1 >= 0.0) {
            return Err(invalid("k1", self.k1, "a finite number of at least 0"));
        }
        if !(0.0..=1.0).contains(&self.b) {
            return Err(invalid("b", self.b, "a number from 0 to 1"));
        }
        Ok(())
    }
}

/// A BM25 index over the segments of a snapshot; see the [module](super) for the formula.
///
/// ```
/// use secateur_index::{Metric, bm25::Bm25Params, storage::{NewDocument, Settings, Store}};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("db"), &Settings::bm25_only())?;
/// let mut transaction = store.begin()?;
/// for (id, text) in [("a", "cats purr"), ("b", "dogs bark"), ("c", "cats chase cats")] {
///     transaction.add(&NewDocument { id, title: "", text, metadata: None }, None)?;
/// }
/// let snapshot = transaction.commit()?;
/// let hits = snapshot.bm25()?.search("the cat", 10, Bm25Params::default())?;
/// assert_eq!(hits.iter().map(|hit| hit.row.0).collect::<Vec<_>>(), [2, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Bm25Index {
    /// What made the terms.
    analyzer: Option<Analyzer>,
    segments: Vec<SegmentView>,
    /// N and the sum of all dl, over the documents that are alive.
    num_docs: u64,
    num_terms: u64,
}

struct SegmentView {
    /// The row number of the segment's first document.
    base: u32,
    segment: Arc<Bm25Segment>,
    deleted: Arc<Bitmap>,
}

impl Bm25Index {
    pub(crate) fn new(
        analyzer: Option<Analyzer>,
        segments: impl IntoIterator<Item = (u32, Arc<Bm25Segment>, Arc<Bitmap>)>,
    ) -> Bm25Index {
        let mut index = Bm25Index { analyzer, segments: Vec::new(), num_docs: 0, num_terms: 0 };
        for (base, segment, deleted) in segments {
            let lengths = segment.lengths();
            index.num_docs += u64::from(lengths.num_docs());
            index.num_terms += lengths.num_terms();
            for row in deleted.iter() {
                let length = lengths.length(row);
                index.num_docs -= u64::from(length > 0);
                index.num_terms -= u64::from(length);
            }
            index.segments.push(SegmentView { base, segment, deleted });
        }
        index
    }

    /// The `k` best documents for a query, best first: those that contain at least one of its terms.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for k1 below 0 or b outside 0 to 1.
    pub fn search(&self, query: &str, k: usize, params: Bm25Params) -> Result<Vec<Hit>> {
        let asked = Asked { k, params, among: None, statistics: None };
        self.search_with(query, asked, &mut Scratch::new(self.analyzer))
    }

    /// [`Bm25Index::search`] among the documents of a set of rows. The statistics cover all documents, so the set
    /// does not change a document's score.
    ///
    /// # Errors
    /// As [`Bm25Index::search`].
    pub fn search_among(&self, query: &str, k: usize, params: Bm25Params, rows: &Bitmap) -> Result<Vec<Hit>> {
        let asked = Asked { k, params, among: Some(rows), statistics: None };
        self.search_with(query, asked, &mut Scratch::new(self.analyzer))
    }

    /// [`Bm25Index::search`] for many queries, or [`Bm25Index::search_among`] if there is a set of rows, on the
    /// current rayon pool. Answers are in the order of the queries and equal the answers of single searches.
    ///
    /// # Errors
    /// As [`Bm25Index::search`].
    pub fn search_batch<S: AsRef<str> + Sync>(
        &self,
        queries: &[S],
        k: usize,
        params: Bm25Params,
        among: Option<&Bitmap>,
    ) -> Result<Vec<Vec<Hit>>> {
        self.batch(queries, Asked { k, params, among, statistics: None })
    }

    /// [`Bm25Index::search_batch`] with statistics that are not this index's own: those of all documents, of which this
    /// index has a part. Its documents get the scores that they have in one index of all of them.
    ///
    /// ```
    /// use secateur_index::bm25::Bm25Params;
    /// use secateur_index::storage::{NewDocument, Settings, Snapshot, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let of = |name: &str, texts: &[&str]| -> Result<Snapshot, Box<dyn std::error::Error>> {
    ///     let mut store = Store::create(folder.path().join(name), &Settings::bm25_only())?;
    ///     let mut transaction = store.begin()?;
    ///     for text in texts {
    ///         transaction.add(&NewDocument { id: text, title: "", text, metadata: None }, None)?;
    ///     }
    ///     Ok(transaction.commit()?)
    /// };
    /// let whole = of("whole", &["cats purr", "dogs bark", "cats chase cats"])?;
    /// let parts = [of("first", &["cats purr", "dogs bark"])?, of("last", &["cats chase cats"])?];
    /// let mut statistics = parts[0].bm25()?.statistics(&["cat"])?;
    /// statistics.add(&parts[1].bm25()?.statistics(&["cat"])?);
    /// let found = parts[1].bm25()?.search_batch_with(&["cats"], 1, Bm25Params::default(), None, &statistics)?;
    /// assert_eq!(found[0][0].score, whole.bm25()?.search("cats", 1, Bm25Params::default())?[0].score);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Bm25Index::search`]; [`Error::MissingTerm`] if the statistics lack a term of a query.
    pub fn search_batch_with<S: AsRef<str> + Sync>(
        &self,
        queries: &[S],
        k: usize,
        params: Bm25Params,
        among: Option<&Bitmap>,
        statistics: &Bm25Statistics,
    ) -> Result<Vec<Vec<Hit>>> {
        self.batch(queries, Asked { k, params, among, statistics: Some(statistics) })
    }

    /// What the scores of these terms depend on besides the texts of single documents.
    ///
    /// # Errors
    /// [`Error::Bm25`].
    pub fn statistics<S: AsRef<str> + Sync>(&self, terms: &[S]) -> Result<Bm25Statistics> {
        let counted = |term: &S| Ok((term.as_ref().to_owned(), self.document_frequency(term.as_ref())?));
        Ok(Bm25Statistics {
            num_docs: self.num_docs,
            num_terms: self.num_terms,
            document_frequencies: terms.par_iter().map(counted).collect::<Result<_>>()?,
        })
    }

    fn batch<S: AsRef<str> + Sync>(&self, queries: &[S], asked: Asked) -> Result<Vec<Vec<Hit>>> {
        let answer = |scratch: &mut Scratch, query: &S| self.search_with(query.as_ref(), asked, scratch);
        queries.par_iter().map_init(|| Scratch::new(self.analyzer), answer).collect()
    }

    fn search_with(&self, query: &str, asked: Asked, scratch: &mut Scratch) -> Result<Vec<Hit>> {
        let Asked { k, params, among, statistics } = asked;
        params.check()?;
        let (num_docs, num_terms) = match statistics {
            Some(given) => (given.num_docs, given.num_terms),
            None => (self.num_docs, self.num_terms),
        };
        if num_docs == 0 {
            return Ok(Vec::new());
        }
        scratch.read_query(query);
        let weights = self.weights(&scratch.terms, num_docs, statistics)?;
        // As Lucene rounds it: the quotient in f64, then f32.
        let avgdl = (num_terms as f64 / num_docs as f64) as f32;
        let norm_inverse = std::array::from_fn(|code| {
            let dl = FieldNormReader::id_to_fieldnorm(code as u8) as f32;
            1.0 / (params.k1 * ((1.0 - params.b) + params.b * dl / avgdl))
        });

        let mut best = TopK::new(k);
        for segment in &self.segments {
            let mut cursors = Vec::with_capacity(weights.len());
            for ((term, _), &weight) in scratch.terms.iter().zip(&weights) {
                if let Some(postings) = segment.segment.postings(term)? {
                    cursors.push(Cursor::new(postings, weight));
                }
            }
            segment.score(&mut cursors, &norm_inverse, among, &mut scratch.window, &mut best);
        }
        Ok(best.into_sorted())
    }

    /// qₜ · idf(t) of each term, where N is `num_docs`.
    fn weights(
        &self,
        terms: &[(String, u32)],
        num_docs: u64,
        statistics: Option<&Bm25Statistics>,
    ) -> Result<Vec<f32>> {
        terms
            .iter()
            .map(|(term, multiplicity)| {
                let n = match statistics {
                    Some(given) => given.document_frequency(term)?,
                    None => self.document_frequency(term)?,
                };
                Ok(*multiplicity as f32 * idf(num_docs, n))
            })
            .collect()
    }

    /// n: the documents that contain a term.
    fn document_frequency(&self, term: &str) -> Result<u64> {
        self.segments.iter().try_fold(0, |n, segment| {
            Ok(n + u64::from(segment.segment.document_frequency(term, &segment.deleted)?))
        })
    }
}

/// ln(1 + (N - n + 0.5) / (n + 0.5)), in f64 and rounded once, as Lucene does.
pub(super) fn idf(num_docs: u64, n: u64) -> f32 {
    (1.0 + (num_docs as f64 - n as f64 + 0.5) / (n as f64 + 0.5)).ln() as f32
}

/// Documents scored at a time. Scores of a window are added up term by term in 32 KiB, which stay in the L1 cache.
const WINDOW: usize = 4096;

/// The scores of the documents of a window, and which of them have one.
struct Window {
    /// f64, as Lucene adds the f32 contributions of the terms, so that the order of terms hardly matters.
    scores: Box<[f64; WINDOW]>,
    touched: [u64; WINDOW / 64],
}

/// What is asked besides the query: how many documents, scored how, among which, and by which statistics if not the
/// index's own.
#[derive(Clone, Copy)]
struct Asked<'a> {
    k: usize,
    params: Bm25Params,
    among: Option<&'a Bitmap>,
    statistics: Option<&'a Bm25Statistics>,
}

/// What a search needs besides its answer, reused by the next one.
struct Scratch {
    analysis: Analysis,
    /// The distinct terms of the query with their multiplicity, sorted.
    terms: Vec<(String, u32)>,
    window: Window,
}

impl Scratch {
    fn new(analyzer: Option<Analyzer>) -> Scratch {
        Scratch {
            analysis: Analysis::new(analyzer),
            terms: Vec::new(),
            window: Window { scores: Box::new([0.0; WINDOW]), touched: [0; WINDOW / 64] },
        }
    }

    fn read_query(&mut self, query: &str) {
        let Scratch { analysis, terms, .. } = self;
        terms.clear();
        analysis.for_each_term(query, |term| terms.push((term.to_owned(), 1)));
        terms.sort_unstable();
        terms.dedup_by(|repeated, kept| {
            let is_same = repeated.0 == kept.0;
            kept.1 += u32::from(is_same);
            is_same
        });
    }
}

/// A position in the postings of one term.
struct Cursor {
    postings: BlockSegmentPostings,
    weight: f32,
    /// The next entry of the current block, and its number of entries; equal once the postings are used up.
    at: usize,
    block_len: usize,
    /// Entries of the blocks after the current one.
    rest: usize,
}

impl Cursor {
    fn new(postings: BlockSegmentPostings, weight: f32) -> Cursor {
        let block_len = postings.block_len();
        let rest = (postings.doc_freq() as usize).saturating_sub(block_len);
        Cursor { postings, weight, at: 0, block_len, rest }
    }

    fn next_doc(&self) -> Option<u32> {
        (self.at < self.block_len).then(|| self.postings.docs()[self.at])
    }

    /// Adds the contribution of this term to the documents from `start` up to `start + WINDOW`.
    fn add_to(&mut self, window: &mut Window, start: u32, codes: &[u8], norm_inverse: &[f32; 256]) {
        loop {
            let docs = &self.postings.docs()[..self.block_len];
            let freqs = &self.postings.freqs()[..self.block_len];
            while self.at < self.block_len {
                let doc = docs[self.at];
                let slot = (doc - start) as usize;
                if slot >= WINDOW {
                    return;
                }
                let norm = norm_inverse[usize::from(codes[doc as usize])];
                // tf / (tf + 1/norm), in the form that Lucene evaluates.
                let score = self.weight - self.weight / (1.0 + freqs[self.at] as f32 * norm);
                window.scores[slot] += f64::from(score);
                window.touched[slot / 64] |= 1 << (slot % 64);
                self.at += 1;
            }
            if self.rest == 0 {
                return;
            }
            self.postings.advance();
            self.at = 0;
            self.block_len = self.postings.block_len();
            self.rest = self.rest.saturating_sub(self.block_len.max(1));
        }
    }
}

impl SegmentView {
    fn score(
        &self,
        cursors: &mut [Cursor],
        norm_inverse: &[f32; 256],
        among: Option<&Bitmap>,
        window: &mut Window,
        best: &mut TopK,
    ) {
        let codes = self.segment.lengths().codes();
        let may_be_found =
            |doc| !self.deleted.contains(doc) && among.is_none_or(|rows| rows.contains(self.base + doc));
        while let Some(next) = cursors.iter().filter_map(Cursor::next_doc).min() {
            let start = next - next % WINDOW as u32;
            for cursor in cursors.iter_mut() {
                cursor.add_to(window, start, codes, norm_inverse);
            }
            for word in 0..window.touched.len() {
                let mut bits = std::mem::take(&mut window.touched[word]);
                while bits != 0 {
                    let slot = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let score = std::mem::take(&mut window.scores[slot]) as f32;
                    let doc = start + slot as u32;
                    if score >= best.threshold() && may_be_found(doc) {
                        best.push(Hit { row: RowId(self.base + doc), score });
                    }
                }
            }
        }
    }
}
