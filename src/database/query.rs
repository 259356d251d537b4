//! Searching a database: by meaning, by words, by both, or by a vector.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use secateur_datasets::{Document, Query, Run};
use secateur_encoders::{Encoder, TextKind};
use secateur_index::bm25::{Bm25Options, Bm25Statistics};
use secateur_index::flat::FlatIndex;
use secateur_index::search::{SearchOptions, VectorSearch};
use secateur_index::storage::VectorSettings;
use secateur_index::{Bitmap, Hit as RowHit, RowId};

use super::Database;
use super::reading::Reading;
use crate::error::{Error, Result};
use crate::fusion::Fusion;
use crate::search::{
    Asked, Explanation, Hit, Lists, SearchMode, SearchParams, SearchTimes, Sides, Words, run_of,
};

impl Database {
    /// Searches for one query.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn search(&self, query: &str, params: &SearchParams) -> Result<Vec<Hit>> {
        Ok(self.search_batch(&[query], params)?.pop().unwrap_or_default())
    }

    /// Searches for one query and reads the documents that are found.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn search_documents(&self, query: &str, params: &SearchParams) -> Result<Vec<(Hit, Document)>> {
        let with_document = |hit: Hit| {
            // Hits and documents are read from one snapshot, so each hit has its document.
            let document = self.document(&hit.doc_id)?.unwrap_or_default();
            Ok((hit, document))
        };
        self.search(query, params)?.into_iter().map(with_document).collect()
    }

    /// Searches for many queries at once, which is faster than one by one. Returns the hits of each query, at most
    /// `params.k`, best first. With a filter only matching documents are hits, and there are `k` of them if so many
    /// match. The first filter that names a field reads the metadata of all documents.
    ///
    /// # Errors
    ///
    /// [`Error::NoVectors`], [`Error::EncoderRequired`] or [`Error::NoEncoder`] for a dense or hybrid search without
    /// vectors or encoder. A parameter is out of range. A file is damaged.
    pub fn search_batch(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<Hit>>> {
        let (rankings, _) = self.rankings(queries, params)?;
        rankings.iter().map(|ranking| Ok(ranking.hits(params, self.encoder.as_deref())?)).collect()
    }

    /// Searches for one query, as [`Database::search`], and says where the time went.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn search_timed(&self, query: &str, params: &SearchParams) -> Result<(Vec<Hit>, SearchTimes)> {
        let (mut rankings, mut times) = self.rankings(&[query], params)?;
        let start = Instant::now();
        let hits = match rankings.pop() {
            Some(ranking) => ranking.hits(params, self.encoder.as_deref())?,
            None => Vec::new(),
        };
        times.fuse = start.elapsed();
        Ok((hits, times))
    }

    /// Searches for many queries, and says of each hit where it stands in the ranking of either index.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn search_sides(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<(Hit, Sides)>>> {
        let (rankings, _) = self.rankings(queries, params)?;
        rankings.iter().map(|ranking| Ok(ranking.with_sides(params, self.encoder.as_deref())?)).collect()
    }

    /// Searches for one query, and says where each score comes from and where the time went.
    ///
    /// ```
    /// use secateur::{Database, Document, SearchParams};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// database.add(&[Document::new("1", "Prune roses in late winter."), Document::new("2", "Bees dance.")])?;
    /// database.commit()?;
    /// let explained = database.explain("dancing bees", &SearchParams::default())?;
    /// let (hit, sides) = &explained.hits[0];
    /// assert_eq!((hit.doc_id.as_str(), sides.bm25.unwrap().rank), ("2", Some(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn explain(&self, query: &str, params: &SearchParams) -> Result<Explanation> {
        let (mut rankings, mut times) = self.rankings(&[query], params)?;
        let start = Instant::now();
        let hits = match rankings.pop() {
            Some(ranking) => ranking.with_sides(params, self.encoder.as_deref())?,
            None => Vec::new(),
        };
        times.fuse = start.elapsed();
        Ok(Explanation { hits, times })
    }

    /// The rankings of each query, not fused yet, and how long they took.
    fn rankings(
        &self,
        queries: &[&str],
        params: &SearchParams,
    ) -> Result<(Vec<Lists<Row<'_>>>, SearchTimes)> {
        let mut times = SearchTimes::default();
        let mode = self.mode(params);
        let vectors = match mode {
            SearchMode::Bm25 => None,
            SearchMode::Dense | SearchMode::Hybrid => {
                Some(encode(self.query_encoder()?, queries, &mut times)?)
            }
        };
        let words = (mode != SearchMode::Dense).then_some(Words { queries, statistics: None });
        let completes = params.completes(mode, self.encoder.as_deref());
        let asked = Asked { vectors: vectors.as_deref(), words, k: params.depth_in(mode), completes, params };
        let rankings = self.ranked(&asked, &mut times)?;
        Ok((rankings.into_iter().map(Lists::settled).collect(), times))
    }

    /// The rankings of each query; equal scores by row.
    pub(crate) fn ranked(&self, asked: &Asked<'_>, times: &mut SearchTimes) -> Result<Vec<Lists<Row<'_>>>> {
        let start = Instant::now();
        let params = asked.params;
        let among = self.matching(params)?;
        times.filter += start.elapsed();
        let among = among.as_ref();
        let (mut dense, mut bm25) = (None, None);
        if let Some(vectors) = asked.vectors {
            let start = Instant::now();
            dense = Some(self.nearest(vectors, params, asked.k, among)?);
            times.dense += start.elapsed();
        }
        if let Some(words) = &asked.words {
            let start = Instant::now();
            let found = dense.as_deref().filter(|_| asked.completes).unwrap_or_default();
            let also: Vec<Vec<RowId>> = found.iter().map(|hits| rows(hits)).collect();
            let options = Bm25Options { among, statistics: words.statistics, also: &also };
            let found = self.snapshot.bm25()?.search_batch(words.queries, asked.k, params.bm25, &options)?;
            bm25 = Some(found);
            times.bm25 += start.elapsed();
        }
        if let (true, Some(vectors), Some(dense), Some(bm25)) =
            (asked.completes, asked.vectors, &mut dense, &bm25)
        {
            let start = Instant::now();
            self.complete(vectors, dense, bm25)?;
            times.dense += start.elapsed();
        }
        let num_queries = dense.as_ref().or(bm25.as_ref()).map_or(0, Vec::len);
        let mut found = [dense, bm25].map(|lists| lists.map(Vec::into_iter));
        let mut next = |side: usize| {
            let hits = found[side].as_mut().and_then(Iterator::next);
            hits.map(|hits| self.of_rows(hits)).transpose()
        };
        (0..num_queries).map(|_| Ok(Lists { dense: next(0)?, bm25: next(1)? })).collect()
    }

    /// Adds to the hits by each of the vectors (Q, D) those by words, with their scores by the vector.
    fn complete(&self, vectors: &[f32], dense: &mut [Vec<RowHit>], bm25: &[Vec<RowHit>]) -> Result<()> {
        let index = self.vectors_searched()?;
        let vectors = vectors.chunks_exact(index.flat().dim());
        for ((vector, dense), bm25) in vectors.zip(dense).zip(bm25) {
            let mut found = rows(dense);
            found.sort_unstable();
            let mut missing = rows(bm25);
            missing.retain(|row| found.binary_search(row).is_err());
            dense.extend(index.score(vector, &missing)?);
            // An approximate index may have missed some that are better than what it found.
            dense.sort_by(RowHit::rank);
        }
        Ok(())
    }

    /// What the scores of these terms depend on besides the texts of single documents.
    pub(crate) fn term_statistics(&self, terms: &[&str]) -> Result<Bm25Statistics> {
        Ok(self.snapshot.bm25()?.statistics(terms)?)
    }

    /// The vectors of queries (Q, D), as searches make them.
    pub(crate) fn encode_queries(&self, queries: &[&str]) -> Result<Vec<f32>> {
        Ok(self.query_encoder()?.encode(queries, TextKind::Query)?)
    }

    /// Searches for the documents whose vectors are nearest to this one. The caller has made it as the vectors of the
    /// documents were made. Only the parameters `k`, `ef_search` and `filter` are read.
    ///
    /// ```
    /// use secateur::{Database, Document, SearchParams};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).vectors(2).create()?;
    /// let documents = [Document::new("north", "up"), Document::new("east", "right")];
    /// database.add_with_vectors(&documents, &[0.0, 1.0, 1.0, 0.0])?;
    /// database.commit()?;
    /// assert_eq!(database.search_vector(&[0.9, 0.1], &SearchParams::default())?[0].doc_id, "east");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoVectors`]. The parameters ask for another mode than dense. The vector has another dimension than
    /// the documents' vectors, or a component that is not finite. A file is damaged.
    pub fn search_vector(&self, vector: &[f32], params: &SearchParams) -> Result<Vec<Hit>> {
        if let Some(mode @ (SearchMode::Bm25 | SearchMode::Hybrid)) = params.mode {
            return Err(Error::NoWords { mode });
        }
        let Some(expected) = self.dim() else { return Err(Error::NoVectors { path: self.path.clone() }) };
        if vector.len() != expected {
            return Err(secateur_index::Error::DimensionMismatch { expected, got: vector.len() }.into());
        }
        let asked = Asked { vectors: Some(vector), words: None, k: params.k, completes: false, params };
        match self.ranked(&asked, &mut SearchTimes::default())?.pop() {
            Some(ranking) => Ok(ranking.settled().hits(params, None)?),
            None => Ok(Vec::new()),
        }
    }

    /// The passage of each of these documents that is nearest to a query, as the encoder reads it: with the title.
    /// `None` where documents are not split, or there is no such document.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`] by vectors, where documents are split.
    pub fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
        if !self.generation_read().is_some_and(|generation| generation.vectors.passages) {
            return Ok(vec![None; doc_ids.len()]);
        }
        self.nearest_passages(&self.encode_queries(&[query])?, doc_ids)
    }

    /// [`Database::best_passages`] given the query's vector (D).
    pub(crate) fn nearest_passages(&self, vector: &[f32], doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
        let Some(generation) = self.generation_read().filter(|generation| generation.vectors.passages) else {
            return Ok(vec![None; doc_ids.len()]);
        };
        let encoder = self.query_encoder()?;
        let VectorSettings { metric, dim, .. } = generation.vectors;
        let best = |doc_id: &&str| {
            let (Some(row), Some(document)) = (self.snapshot.row(doc_id)?, self.document(doc_id)?) else {
                return Ok(None);
            };
            let vectors = self.snapshot.vector(row)?;
            let nearest = FlatIndex::new(metric, dim, &vectors)?.search(vector, 1)?;
            let texts = Reading::of(&[document], generation, encoder)?.texts;
            Ok(nearest.first().and_then(|hit| texts.into_iter().nth(hit.row.0 as usize)))
        };
        doc_ids.iter().map(best).collect()
    }

    /// The answers to the queries of a data set, as a run. A query without hits has an entry without documents.
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`].
    pub fn run(&self, queries: &[Query], params: &SearchParams) -> Result<Run> {
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        Ok(run_of(queries, self.search_batch(&texts, params)?))
    }

    /// Which index answers: the one that is asked for, or the best there is. That is hybrid where an encoder makes
    /// the vectors, and words elsewhere.
    pub fn mode(&self, params: &SearchParams) -> SearchMode {
        let best =
            if self.snapshot.settings().encoder.is_some() { SearchMode::Hybrid } else { SearchMode::Bm25 };
        params.mode.unwrap_or(best)
    }

    /// How a hybrid search fuses, and how much the ranking by vectors counts, if the ranking by words counts 1. It is
    /// what is asked for, or what the encoder's files say.
    pub fn fusing(&self, params: &SearchParams) -> (Fusion, f64) {
        params.fusing(self.encoder.as_deref())
    }

    fn matching(&self, params: &SearchParams) -> Result<Option<Bitmap>> {
        Ok(params.filter.as_ref().map(|filter| self.snapshot.matching(filter)).transpose()?)
    }

    /// The hits of each of the vectors (Q, D).
    fn nearest(
        &self,
        vectors: &[f32],
        params: &SearchParams,
        k: usize,
        among: Option<&Bitmap>,
    ) -> Result<Vec<Vec<RowHit>>> {
        let ef_search = params.ef_search.or(self.ef_search()).unwrap_or(SearchOptions::DEFAULT_EF);
        let options = SearchOptions { ef_search, filter: among };
        Ok(self.vectors_searched()?.search_batch(vectors, k, &options)?)
    }

    fn vectors_searched(&self) -> Result<Box<dyn VectorSearch + '_>> {
        Ok(match &self.codes {
            Some(codes) => self.snapshot.index_on(codes)?,
            None => self.snapshot.index()?,
        })
    }

    /// The true hits of each of the vectors (Q, D).
    pub(crate) fn nearest_exactly(&self, vectors: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        let hits = self.snapshot.index()?.search_exactly(vectors, k)?;
        let named = |hits| {
            let hit = |(row, score): (Row<'_>, f64)| Hit { doc_id: row.id.to_owned(), score };
            Ok(self.of_rows(hits)?.into_iter().map(hit).collect())
        };
        hits.into_iter().map(named).collect()
    }

    fn of_rows(&self, hits: Vec<RowHit>) -> Result<Vec<(Row<'_>, f64)>> {
        let of_row = |hit: RowHit| {
            let row = Row { row: hit.row, id: self.snapshot.id_at(hit.row)? };
            Ok((row, f64::from(hit.score)))
        };
        hits.into_iter().map(of_row).collect()
    }
}

/// A document of the snapshot. It is told from others by its row, which takes less time than by its id, and ordered by
/// its id.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    row: RowId,
    id: &'a str,
}

impl AsRef<str> for Row<'_> {
    fn as_ref(&self) -> &str {
        self.id
    }
}

impl Hash for Row<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.row.hash(state);
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Row<'_>) -> bool {
        self.row == other.row
    }
}

impl Eq for Row<'_> {}

impl PartialOrd for Row<'_> {
    fn partial_cmp(&self, other: &Row<'_>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Row<'_> {
    fn cmp(&self, other: &Row<'_>) -> Ordering {
        self.id.cmp(other.id)
    }
}

fn rows(hits: &[RowHit]) -> Vec<RowId> {
    hits.iter().map(|hit| hit.row).collect()
}

/// The vectors of queries (Q, D).
pub(crate) fn encode(encoder: &Encoder, queries: &[&str], times: &mut SearchTimes) -> Result<Vec<f32>> {
    let start = Instant::now();
    let tokens = encoder.tokenize(queries, TextKind::Query)?;
    times.tokenize = start.elapsed();
    let start = Instant::now();
    let vectors = encoder.encode_tokens(&tokens, TextKind::Query)?;
    times.encode = start.elapsed();
    Ok(vectors)
}
