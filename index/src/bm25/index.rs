//! Searching: exhaustive scoring, window by window.

use std::sync::Arc;

use rayon::prelude::*;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};

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

/// How queries are answered, besides [`Bm25Params`].
///
/// ```
/// use secateur_index::bm25::Bm25Options;
/// assert_eq!(Bm25Options::default(), Bm25Options { among: None, statistics: None, also: &[] });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bm25Options<'a> {
    /// The documents that may be found; `None` for all. The statistics cover all documents, so the set does not change
    /// a document's score.
    pub among: Option<&'a Bitmap>,
    /// Statistics that are not the index's own: those of all documents, of which the index has a part. Its documents
    /// get the scores that they have in one index of all of them.
    pub statistics: Option<&'a Bm25Statistics>,
    /// For each query, in their order, documents whose scores are wanted besides those of the best ones. They follow
    /// these, best first, as far as they may be found and contain a term.
    pub also: &'a [Vec<RowId>],
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
        let asked = Asked { k, params, options: Bm25Options::default(), also: &[] };
        self.search_with(query, asked, &mut Scratch::new(self.analyzer))
    }

    /// [`Bm25Index::search`] among the documents of a set of rows. The statistics cover all documents, so the set
    /// does not change a document's score.
    ///
    /// # Errors
    /// As [`Bm25Index::search`].
    pub fn search_among(&self, query: &str, k: usize, params: Bm25Params, rows: &Bitmap) -> Result<Vec<Hit>> {
        let options = Bm25Options { among: Some(rows), ..Bm25Options::default() };
        let asked = Asked { k, params, options, also: &[] };
        self.search_with(query, asked, &mut Scratch::new(self.analyzer))
    }

    /// [`Bm25Index::search`] for many queries, on the current rayon pool. Answers are in the order of the queries and
    /// equal the answers of single searches, but for what the options say.
    ///
    /// ```
    /// use secateur_index::RowId;
    /// use secateur_index::bm25::{Bm25Options, Bm25Params};
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
    /// let all = whole.bm25()?.search("cats", 2, Bm25Params::default())?;
    ///
    /// let parts = [of("first", &["cats purr", "dogs bark"])?, of("last", &["cats chase cats"])?];
    /// let mut statistics = parts[0].bm25()?.statistics(&["cat"])?;
    /// statistics.add(&parts[1].bm25()?.statistics(&["cat"])?);
    /// let options = Bm25Options { statistics: Some(&statistics), ..Bm25Options::default() };
    /// let found = parts[1].bm25()?.search_batch(&["cats"], 1, Bm25Params::default(), &options)?;
    /// assert_eq!(found[0][0].score, all[0].score);
    ///
    /// let options = Bm25Options { also: &[vec![RowId(0), RowId(1)]], ..Bm25Options::default() };
    /// assert_eq!(whole.bm25()?.search_batch(&["cats"], 1, Bm25Params::default(), &options)?, [all]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Bm25Index::search`]; [`Error::MissingTerm`] if given statistics lack a term of a query.
    pub fn search_batch<S: AsRef<str> + Sync>(
        &self,
        queries: &[S],
        k: usize,
        params: Bm25Params,
        options: &Bm25Options<'_>,
    ) -> Result<Vec<Vec<Hit>>> {
        let answer = |scratch: &mut Scratch, (number, query): (usize, &S)| {
            let also = options.also.get(number).map_or(&[][..], Vec::as_slice);
            self.search_with(query.as_ref(), Asked { k, params, options: *options, also }, scratch)
        };
        queries.par_iter().enumerate().map_init(|| Scratch::new(self.analyzer), answer).collect()
    }

    /// What the scores of these terms depend on besides the texts of single documents.
    ///
    /// # Errors
    /// [`Error::Bm25`].
    pub fn statistics<S: AsRef<str> + Sync>(&self, terms: &[S]) -> Result<Bm25Statistics> {
        let counted = |term: &S| {
            let found = self.term(term.as_ref())?;
            Ok((term.as_ref().to_owned(), self.document_frequency(&found)?))
        };
        Ok(Bm25Statistics {
            num_docs: self.num_docs,
            num_terms: self.num_terms,
            document_frequencies: terms.par_iter().map(counted).collect::<Result<_>>()?,
        })
    }

    fn search_with(&self, query: &str, asked: Asked, scratch: &mut Scratch) -> Result<Vec<Hit>> {
        let Asked { k, params, options: Bm25Options { among, statistics, .. }, also } = asked;
        params.check()?;
        let (num_docs, num_terms) = match statistics {
            Some(given) => (given.num_docs, given.num_terms),
            None => (self.num_docs, self.num_terms),
        };
        if num_docs == 0 {
            return Ok(Vec::new());
        }
        scratch.read_query(query);
        let found = scratch.terms.iter().map(|(term, _)| self.term(term)).collect::<Result<Vec<_>>>()?;
        let weights = self.weights(&scratch.terms, &found, num_docs, statistics)?;
        // As Lucene rounds it: the quotient in f64, then f32.
        let avgdl = (num_terms as f64 / num_docs as f64) as f32;
        let norm_inverse = std::array::from_fn(|code| {
            let dl = FieldNormReader::id_to_fieldnorm(code as u8) as f32;
            1.0 / (params.k1 * ((1.0 - params.b) + params.b * dl / avgdl))
        });

        let mut also = also.to_vec();
        also.sort_unstable();
        also.dedup();
        let mut selection = Selection { best: TopK::new(k), also: &also, others: Vec::new() };
        for (number, segment) in self.segments.iter().enumerate() {
            let mut cursors = Vec::with_capacity(weights.len());
            for (term, &weight) in found.iter().zip(&weights) {
                if let Some(term) = &term[number] {
                    cursors.push(Cursor::new(segment.segment.postings(term)?, weight));
                }
            }
            segment.score(&mut cursors, &norm_inverse, among, &mut scratch.window, &mut selection);
        }
        Ok(selection.into_sorted())
    }

    /// qₜ · idf(t) of each term, where N is `num_docs`.
    fn weights(
        &self,
        terms: &[(String, u32)],
        found: &[Vec<Option<TermInfo>>],
        num_docs: u64,
        statistics: Option<&Bm25Statistics>,
    ) -> Result<Vec<f32>> {
        let weight = |((term, multiplicity), found): (&(String, u32), &Vec<Option<TermInfo>>)| {
            let n = match statistics {
                Some(given) => given.document_frequency(term)?,
                None => self.document_frequency(found)?,
            };
            Ok(*multiplicity as f32 * idf(num_docs, n))
        };
        terms.iter().zip(found).map(weight).collect()
    }

    /// What the dictionary of each segment says of a term.
    fn term(&self, term: &str) -> Result<Vec<Option<TermInfo>>> {
        self.segments.iter().map(|segment| segment.segment.term(term)).collect()
    }

    /// n: the documents that contain a term.
    fn document_frequency(&self, term: &[Option<TermInfo>]) -> Result<u64> {
        self.segments.iter().zip(term).try_fold(0, |n, (segment, term)| match term {
            Some(term) => Ok(n + u64::from(segment.segment.document_frequency(term, &segment.deleted)?)),
            None => Ok(n),
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

/// What is asked besides the query.
#[derive(Clone, Copy)]
struct Asked<'a> {
    k: usize,
    params: Bm25Params,
    options: Bm25Options<'a>,
    /// Those of the options that are of this query.
    also: &'a [RowId],
}

/// The hits of a query so far.
struct Selection<'a> {
    best: TopK,
    /// What is wanted besides the best, ascending, from the current window on.
    also: &'a [RowId],
    /// Its hits, some of them among the best perhaps.
    others: Vec<Hit>,
}

impl Selection<'_> {
    /// Takes the documents that are wanted below a row, whose window has these scores.
    fn take_also(&mut self, end: u32, score: impl Fn(u32) -> Option<f32>) {
        let (of_window, rest) = self.also.split_at(self.also.partition_point(|row| row.0 < end));
        self.also = rest;
        self.others.extend(of_window.iter().filter_map(|&row| Some(Hit { row, score: score(row.0)? })));
    }

    fn into_sorted(self) -> Vec<Hit> {
        let (k, mut hits, mut others) = (self.best.k(), self.best.into_sorted(), self.others);
        // The best are all that are as good as the last of them, and all there are where they are fewer than k.
        match hits.last() {
            Some(last) => others.retain(|hit| hits.len() == k && hit.rank(last).is_gt()),
            None => others.retain(|_| k == 0),
        }
        others.sort_unstable_by(Hit::rank);
        hits.extend(others);
        hits
    }
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
        selection: &mut Selection<'_>,
    ) {
        let codes = self.segment.lengths().codes();
        let may_be_found =
            |doc| !self.deleted.contains(doc) && among.is_none_or(|rows| rows.contains(self.base + doc));
        while let Some(next) = cursors.iter().filter_map(Cursor::next_doc).min() {
            let start = next - next % WINDOW as u32;
            for cursor in cursors.iter_mut() {
                cursor.add_to(window, start, codes, norm_inverse);
            }
            let end = codes.len().min(start as usize + WINDOW) as u32;
            selection.take_also(self.base + start, |_| None);
            selection.take_also(self.base + end, |row| {
                let doc = row - self.base;
                let slot = (doc - start) as usize;
                let is_touched = window.touched[slot / 64] >> (slot % 64) & 1 == 1;
                (is_touched && may_be_found(doc)).then(|| window.scores[slot] as f32)
            });
            let best = &mut selection.best;
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
