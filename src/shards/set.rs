//! A set of shards, opened for searching.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rayon::prelude::*;
use secateur_datasets::{Document, Query, Run};
use secateur_encoders::Encoder;
use secateur_index::bm25::{Analyzer, Bm25Statistics};
use secateur_index::filter::Filter;
use secateur_index::storage::{VectorIndex, VectorSettings, check_filter_of_fields};

use super::manifest::ShardRecord;
use super::plan::ShardPlan;
use super::shard::{Shard, in_shard};
use crate::database::{Database, EncoderRecord, encode};
use crate::error::{Error, Result};
use crate::search::{
    Asked, Explanation, Hit, Ranking, SearchMode, SearchParams, SearchTimes, Sides, Words, run_of,
};
use crate::shard_error::ShardError;

/// Terms whose statistics are kept for later searches: some 60 bytes of memory for each.
const MAX_KNOWN: usize = 1 << 20;

/// A finished set of shards, opened as its manifest has it. Threads may share it to search it.
///
/// Its answers are those of one database of the same documents: exact searches, searches by words and hybrid searches
/// bit for bit. See the [module](super) for why, and for an example.
pub struct ShardSet {
    path: PathBuf,
    shards: Vec<Box<dyn Shard>>,
    num_documents: u64,
    analyzer: Analyzer,
    vectors: Option<VectorSettings>,
    encoder_record: Option<EncoderRecord>,
    encoder: Option<Arc<Encoder>>,
    /// The statistics of all shards for the terms of earlier searches; `None` before the first.
    known: Mutex<Option<Bm25Statistics>>,
}

impl ShardSet {
    /// Opens the set in the folder `path` without an encoder, to be searched by words and by vectors.
    ///
    /// # Errors
    ///
    /// [`ShardError::NotASet`], [`ShardError::NotFinished`], [`ShardError::BadFile`], [`ShardError::OtherVersion`]. A
    /// shard is missing, damaged or not the one that the set was finished with.
    pub fn open(path: impl AsRef<Path>) -> Result<ShardSet> {
        let databases = open_shards(path.as_ref())?;
        Ok(ShardSet::new(path.as_ref(), databases, None))
    }

    /// Opens a set with the encoder of its vectors, in the named generation or in the one in use. `reload` loads it
    /// from what the set remembers, as for [`Database::open_with`]. A set whose vectors no encoder makes is opened as
    /// [`ShardSet::open`] does.
    ///
    /// # Errors
    ///
    /// As [`ShardSet::open`], those of `reload`, and [`Error::EncoderMismatch`]. There is no such generation.
    pub fn open_with<E: From<Error>>(
        path: impl AsRef<Path>,
        generation: Option<&str>,
        reload: impl FnOnce(&EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<ShardSet, E> {
        let databases = in_generation(open_shards(path.as_ref())?, generation)?;
        let Some(record) = databases.first().and_then(Database::encoder_record) else {
            return Ok(ShardSet::new(path.as_ref(), databases, None));
        };
        let encoder = reload(&record)?;
        let with_encoder = |database: Database| database.with_encoder(Arc::clone(&encoder));
        let databases = databases.into_iter().map(with_encoder).collect::<Result<Vec<_>>>()?;
        Ok(ShardSet::new(path.as_ref(), databases, Some(encoder)))
    }

    /// Opens a set through the named generation, without an encoder.
    ///
    /// # Errors
    ///
    /// As [`ShardSet::open`]; there is no such generation.
    pub fn open_generation(path: impl AsRef<Path>, generation: &str) -> Result<ShardSet> {
        let databases = in_generation(open_shards(path.as_ref())?, Some(generation))?;
        Ok(ShardSet::new(path.as_ref(), databases, None))
    }

    fn new(path: &Path, databases: Vec<Database>, encoder: Option<Arc<Encoder>>) -> ShardSet {
        let first = databases.first();
        ShardSet {
            path: path.to_owned(),
            num_documents: databases.iter().map(|database| database.len() as u64).sum(),
            analyzer: first.map(Database::analyzer).unwrap_or_default(),
            vectors: first.and_then(Database::generation_read).map(|generation| generation.vectors),
            encoder_record: first.and_then(Database::encoder_record),
            encoder,
            shards: databases.into_iter().map(|database| Box::new(database) as Box<dyn Shard>).collect(),
            known: Mutex::default(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many shards there are.
    pub fn num_shards(&self) -> usize {
        self.shards.len()
    }

    /// How many documents there are.
    pub fn len(&self) -> u64 {
        self.num_documents
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.num_documents == 0
    }

    /// What makes words of texts and of queries.
    pub fn analyzer(&self) -> Analyzer {
        self.analyzer
    }

    /// How vectors are searched; `None` in a set without.
    pub fn vector_index(&self) -> Option<VectorIndex> {
        self.vectors.map(|vectors| vectors.index)
    }

    /// The encoder of the vectors, as the shards remember it; `None` where no encoder makes vectors.
    pub fn encoder_record(&self) -> Option<&EncoderRecord> {
        self.encoder_record.as_ref()
    }

    /// Which index answers, as [`Database::mode`].
    pub fn mode(&self, params: &SearchParams) -> SearchMode {
        let best = if self.encoder_record.is_some() { SearchMode::Hybrid } else { SearchMode::Bm25 };
        params.mode.unwrap_or(best)
    }

    /// Searches for one query, as [`Database::search`].
    ///
    /// # Errors
    ///
    /// As [`ShardSet::search_batch`].
    pub fn search(&self, query: &str, params: &SearchParams) -> Result<Vec<Hit>> {
        Ok(self.search_batch(&[query], params)?.pop().unwrap_or_default())
    }

    /// Searches for many queries at once, as [`Database::search_batch`].
    ///
    /// # Errors
    ///
    /// As [`Database::search_batch`]; [`ShardError::InShard`] says which shard failed.
    pub fn search_batch(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<Hit>>> {
        let (rankings, _) = self.rankings(queries, params)?;
        rankings.iter().map(|ranking| Ok(ranking.hits(params)?)).collect()
    }

    /// Searches for many queries, and says of each hit where it stands in the merged ranking of either index.
    ///
    /// # Errors
    ///
    /// As [`ShardSet::search_batch`].
    pub fn search_sides(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<(Hit, Sides)>>> {
        let (rankings, _) = self.rankings(queries, params)?;
        rankings.iter().map(|ranking| Ok(ranking.with_sides(params)?)).collect()
    }

    /// Searches for one query, as [`Database::explain`]. The times of filters, vectors and words are those of the shard
    /// that took longest; words have the round of the statistics besides.
    ///
    /// # Errors
    ///
    /// As [`ShardSet::search_batch`].
    pub fn explain(&self, query: &str, params: &SearchParams) -> Result<Explanation> {
        let (mut rankings, mut times) = self.rankings(&[query], params)?;
        let start = Instant::now();
        let hits = rankings.pop().unwrap_or_default().with_sides(params)?;
        times.fuse += start.elapsed();
        Ok(Explanation { hits, times })
    }

    /// Searches for the documents whose vectors are nearest to this one, as [`Database::search_vector`].
    ///
    /// # Errors
    ///
    /// As [`Database::search_vector`].
    pub fn search_vector(&self, vector: &[f32], params: &SearchParams) -> Result<Vec<Hit>> {
        if let Some(mode @ (SearchMode::Bm25 | SearchMode::Hybrid)) = params.mode {
            return Err(Error::NoWords { mode });
        }
        let Some(VectorSettings { dim: expected, .. }) = self.vectors else {
            return Err(Error::NoVectors { path: self.path.clone() });
        };
        if vector.len() != expected {
            return Err(secateur_index::Error::DimensionMismatch { expected, got: vector.len() }.into());
        }
        let asked = Asked { vectors: Some(vector), words: None, k: params.k, params };
        let ranking = self.asked(&asked, 1, &mut SearchTimes::default())?.pop().unwrap_or_default();
        Ok(ranking.hits(params)?)
    }

    /// The answers to the queries of a data set, as [`Database::run`].
    ///
    /// # Errors
    ///
    /// As [`ShardSet::search_batch`].
    pub fn run(&self, queries: &[Query], params: &SearchParams) -> Result<Run> {
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        Ok(run_of(queries, self.search_batch(&texts, params)?))
    }

    /// Whether there is a document with this id. Asks one shard after the other.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn contains(&self, doc_id: &str) -> Result<bool> {
        for (number, shard) in self.shards.iter().enumerate() {
            if shard.contains(doc_id).map_err(|error| self.failed(number, error))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The document with this id, if there is one. Asks one shard after the other.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn document(&self, doc_id: &str) -> Result<Option<Document>> {
        for (number, shard) in self.shards.iter().enumerate() {
            if let Some(document) = shard.document(doc_id).map_err(|error| self.failed(number, error))? {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    /// The passage of each of these documents that is nearest to a query, as [`Database::best_passages`].
    ///
    /// # Errors
    ///
    /// As [`Database::best_passages`].
    pub fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
        let mut passages = vec![None; doc_ids.len()];
        if !self.vectors.is_some_and(|vectors| vectors.passages) {
            return Ok(passages);
        }
        let vector = encode(self.query_encoder()?, &[query], &mut SearchTimes::default())?;
        for found in self.each(|shard| shard.nearest_passages(&vector, doc_ids))? {
            for (passage, found) in passages.iter_mut().zip(found) {
                *passage = passage.take().or(found);
            }
        }
        Ok(passages)
    }

    /// Checks a filter as [`Database::check_filter`]: each field must be one of some shard's documents.
    ///
    /// # Errors
    ///
    /// As [`Database::check_filter`].
    pub fn check_filter(&self, filter: &Filter) -> Result<()> {
        // A shard without documents takes any filter.
        let mut shards = self.shards.iter().filter(|shard| shard.num_documents() > 0);
        if self.is_empty() || shards.any(|shard| shard.check_filter(filter).is_ok()) {
            return Ok(());
        }
        // No shard has all of the fields, or none does with the right kind.
        let fields = self.each(|shard| shard.fields())?.concat();
        Ok(check_filter_of_fields(filter, &fields)?)
    }

    /// The merged rankings of each query, not fused yet, and how long they took.
    fn rankings(&self, queries: &[&str], params: &SearchParams) -> Result<(Vec<Ranking>, SearchTimes)> {
        let mut times = SearchTimes::default();
        let mode = self.mode(params);
        let vectors = match mode {
            SearchMode::Bm25 => None,
            SearchMode::Dense | SearchMode::Hybrid => {
                Some(encode(self.query_encoder()?, queries, &mut times)?)
            }
        };
        let start = Instant::now();
        let statistics = match mode {
            SearchMode::Dense => None,
            SearchMode::Bm25 | SearchMode::Hybrid => Some(self.statistics(queries)?),
        };
        if statistics.is_some() {
            times.bm25 = start.elapsed();
        }
        let words = statistics.as_ref().map(|given| Words { queries, statistics: Some(given) });
        let asked = Asked { vectors: vectors.as_deref(), words, k: params.depth_in(mode), params };
        let rankings = self.asked(&asked, queries.len(), &mut times)?;
        Ok((rankings, times))
    }

    /// The statistics of all shards for the terms of queries. Shards are asked for those terms only that no query had
    /// before.
    fn statistics(&self, queries: &[&str]) -> Result<Bm25Statistics> {
        let mut terms: Vec<String> = queries.iter().flat_map(|query| self.analyzer.analyze(query)).collect();
        terms.sort_unstable();
        terms.dedup();
        // Not locked while shards are asked: the pool's threads may take up another search while they wait.
        let known = self.of_known(&terms);
        let is_known =
            |term: &&str| known.as_ref().is_some_and(|known| known.document_frequencies.contains_key(*term));
        let missing: Vec<&str> = terms.iter().map(String::as_str).filter(|term| !is_known(term)).collect();
        if let Some(known) = known.clone().filter(|_| missing.is_empty()) {
            return Ok(known);
        }
        let mut sum = Bm25Statistics::default();
        for statistics in self.each(|shard| shard.statistics(&missing))? {
            sum.add(&statistics);
        }
        self.keep(&sum);
        sum.document_frequencies.extend(known.map(|known| known.document_frequencies).unwrap_or_default());
        Ok(sum)
    }

    /// What is known of these terms.
    fn of_known(&self, terms: &[String]) -> Option<Bm25Statistics> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Bm25Statistics { num_docs, num_terms, document_frequencies } = known.as_ref()?;
        let of = |term: &String| Some((term.clone(), *document_frequencies.get(term)?));
        let document_frequencies = terms.iter().filter_map(of).collect();
        Some(Bm25Statistics { num_docs: *num_docs, num_terms: *num_terms, document_frequencies })
    }

    fn keep(&self, found: &Bm25Statistics) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = known.get_or_insert_with(|| found.clone());
        if kept.document_frequencies.len() + found.document_frequencies.len() > MAX_KNOWN {
            kept.document_frequencies.clear();
        }
        let new = found.document_frequencies.iter().map(|(term, n)| (term.clone(), *n));
        kept.document_frequencies.extend(new);
    }

    /// Asks all shards, and merges what they answer to each query.
    fn asked(&self, asked: &Asked<'_>, num_queries: usize, times: &mut SearchTimes) -> Result<Vec<Ranking>> {
        let mut answers = Vec::with_capacity(self.shards.len());
        let mut longest = SearchTimes::default();
        for (number, (rankings, took)) in self.each(|shard| shard.search(asked))?.into_iter().enumerate() {
            if rankings.len() != num_queries {
                let (expected, got) = (num_queries, rankings.len());
                let place = self.shards[number].place();
                return Err(ShardError::Answers { shard: number, place, expected, got }.into());
            }
            longest.filter = longest.filter.max(took.filter);
            longest.dense = longest.dense.max(took.dense);
            longest.bm25 = longest.bm25.max(took.bm25);
            answers.push(rankings.into_iter());
        }
        times.filter += longest.filter;
        times.dense += longest.dense;
        times.bm25 += longest.bm25;
        let start = Instant::now();
        let merged = |_| {
            let rankings = answers.iter_mut().filter_map(Iterator::next).collect();
            Ranking::merged(rankings, asked.k).settled()
        };
        let rankings = (0..num_queries).map(merged).collect();
        times.fuse += start.elapsed();
        Ok(rankings)
    }

    /// Asks each shard the same, in parallel; the answers in their order, or the first error in their order.
    fn each<T: Send>(&self, ask: impl Fn(&dyn Shard) -> Result<T> + Sync) -> Result<Vec<T>> {
        let answers: Vec<Result<T>> = self.shards.par_iter().map(|shard| ask(&**shard)).collect();
        let told = |(number, answer): (usize, Result<T>)| answer.map_err(|error| self.failed(number, error));
        answers.into_iter().enumerate().map(told).collect()
    }

    fn failed(&self, shard: usize, error: Error) -> Error {
        in_shard(shard, self.shards[shard].place(), error)
    }

    /// The encoder for queries.
    fn query_encoder(&self) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        match (&self.encoder, &self.encoder_record, self.vectors) {
            (Some(encoder), ..) => Ok(encoder),
            (None, Some(record), _) => {
                Err(Error::EncoderRequired { path: path(), name: record.name.clone() })
            }
            (None, None, Some(_)) => Err(Error::NoEncoder { path: path() }),
            (None, None, None) => Err(Error::NoVectors { path: path() }),
        }
    }
}

/// The shards of a finished set, each as the manifest has it.
fn open_shards(path: &Path) -> Result<Vec<Database>> {
    let plan = ShardPlan::open(path)?;
    let finished = plan.finished()?;
    let open = |number: usize| {
        let path = plan.shard_path(number);
        if !path.exists() {
            return Err(ShardError::NotBuilt { shard: number, path }.into());
        }
        let failed = |error| in_shard(number, path.display(), error);
        let database = Database::open(&path).map_err(failed)?;
        let found = ShardRecord::of(&database).map_err(failed)?;
        finished.shards[number].check(&found, number, &path)?;
        Ok(database)
    };
    let opened: Vec<Result<Database>> = (0..plan.num_shards()).into_par_iter().map(open).collect();
    opened.into_iter().collect()
}

/// The shards as read through the named generation.
fn in_generation(databases: Vec<Database>, generation: Option<&str>) -> Result<Vec<Database>> {
    match generation {
        Some(name) => databases.iter().map(|database| database.generation(name)).collect(),
        None => Ok(databases),
    }
}
