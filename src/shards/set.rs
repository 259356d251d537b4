//! A set of shards, opened for searching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use rayon::prelude::*;
use secateur_datasets::{Document, Query, Run};
use secateur_encoders::{Encoder, Fingerprint};
use secateur_index::bm25::Analyzer;
use secateur_index::filter::Filter;
use secateur_index::storage::{VectorIndex, check_filter_of_fields};

use super::facts::ShardFacts;
use super::known::KnownTerms;
use super::manifest::{GenerationRecord, SetRecord, ShardRecord};
use super::plan::ShardPlan;
use super::record;
use super::shard::{FanOut, MissingShard, Pool, Shard, in_shard};
use crate::database::{Database, EncoderRecord, EncoderSource, encode};
use crate::error::{Error, Result};
use crate::fusion::Fusion;
use crate::search::{Asked, Explanation, Hit, SearchMode, SearchParams, SearchTimes, Sides, run_of};
use crate::shard_error::ShardError;

/// A finished set of shards, opened as its manifest has it. Threads may share it to search it.
///
/// Its answers are those of one database of the same documents: exact searches, searches by words and hybrid searches
/// bit for bit. See the [module](super) for why, and for an example.
pub struct ShardSet {
    pub(super) path: PathBuf,
    pub(super) shards: Vec<Box<dyn Shard>>,
    /// The documents of each shard.
    pub(super) sizes: Vec<u64>,
    /// The vectors of all shards.
    pub(super) num_vectors: u64,
    analyzer: Analyzer,
    pub(super) vectors: Option<Vectors>,
    pub(super) encoder_record: Option<EncoderRecord>,
    pub(super) encoder: OnceLock<Arc<Encoder>>,
    pub(super) known: KnownTerms,
    pub(super) fan_out: Box<dyn FanOut>,
    /// Whether it is known that no two shards have a document with the same id.
    pub(super) is_compared: bool,
    /// Where shards without an answer are left out: those that are, by their numbers.
    pub(super) missing: Option<Mutex<BTreeMap<usize, MissingShard>>>,
}

/// What the vectors of all shards have in common.
#[derive(Clone, Copy)]
pub(super) struct Vectors {
    pub dim: usize,
    pub index: VectorIndex,
    pub passages: bool,
}

/// How shards that are elsewhere are opened as a set.
pub struct SetOptions {
    /// What names the shards, for messages.
    pub path: PathBuf,
    /// The manifest of the finished set: the shards must be those that it names. Without it two shards may have a
    /// document with one id, which is found when both are hits of one query.
    pub manifest: Option<PathBuf>,
    /// Whether shards without an answer are left out: see [`ShardSet::missing`].
    pub partial: bool,
    /// What asks them.
    pub fan_out: Box<dyn FanOut>,
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

    /// Makes a set of shards that are elsewhere, in their order. They must have the same settings, and vectors of one
    /// encoder. `reload` loads it, or says that none is needed; it is not called where no encoder makes vectors.
    ///
    /// # Errors
    ///
    /// [`ShardError::NoShards`], [`ShardError::OtherNumber`], [`ShardError::Changed`], [`ShardError::OtherEncoder`],
    /// [`ShardError::OtherSettings`], [`ShardError::NoneAnswered`], [`Error::EncoderMismatch`]. The errors of `reload`,
    /// of the manifest and of the shards.
    pub fn of<E: From<Error>>(
        shards: Vec<Box<dyn Shard>>,
        options: SetOptions,
        reload: impl FnOnce(&EncoderRecord) -> Result<Option<Arc<Encoder>>, E>,
    ) -> Result<ShardSet, E> {
        let SetOptions { path, manifest, partial, fan_out } = options;
        if shards.is_empty() {
            return Err(Error::from(ShardError::NoShards { path }).into());
        }
        let mut set = ShardSet {
            sizes: vec![0; shards.len()],
            num_vectors: 0,
            analyzer: Analyzer::default(),
            vectors: None,
            encoder_record: None,
            encoder: OnceLock::new(),
            known: KnownTerms::default(),
            fan_out,
            is_compared: manifest.is_some(),
            missing: partial.then(Mutex::default),
            path,
            shards,
        };
        let facts = set.each(|shard| shard.facts())?;
        if let Some(manifest) = manifest {
            set.check_manifest(manifest, &facts)?;
        }
        let first = facts.first().map(|(_, facts)| facts.state());
        for (number, found) in &facts {
            if let Some(first) = &first {
                found.state().check(first, *number, Path::new(&set.shards[*number].place()))?;
            }
            if found.generation != facts[0].1.generation {
                let problem = "it reads another generation than the first shard".to_owned();
                return Err(set.failed(*number, ShardError::WrongAnswer { problem }.into()).into());
            }
            set.sizes[*number] = found.record.documents;
            set.num_vectors = set.num_vectors.saturating_add(found.num_vectors);
        }
        if let Some((number, facts)) = facts.first() {
            set.take_settings(facts).map_err(|error| set.failed(*number, error))?;
        }
        if let Some(record) = &set.encoder_record
            && let Some(encoder) = reload(record)?
        {
            set.set_encoder(encoder)?;
        }
        Ok(set)
    }

    fn new(path: &Path, databases: Vec<Database>, encoder: Option<Arc<Encoder>>) -> ShardSet {
        let first = databases.first();
        let vectors = first.and_then(Database::generation_read).map(|generation| generation.vectors);
        ShardSet {
            path: path.to_owned(),
            sizes: databases.iter().map(|database| database.len() as u64).collect(),
            num_vectors: databases.iter().map(|database| database.num_vectors() as u64).sum(),
            analyzer: first.map(Database::analyzer).unwrap_or_default(),
            vectors: vectors.map(|of| Vectors { dim: of.dim, index: of.index, passages: of.passages }),
            encoder_record: first.and_then(Database::encoder_record),
            encoder: encoder.map(OnceLock::from).unwrap_or_default(),
            shards: databases.into_iter().map(|database| Box::new(database) as Box<dyn Shard>).collect(),
            known: KnownTerms::default(),
            fan_out: Box::new(Pool),
            is_compared: true,
            missing: None,
        }
    }

    /// Refuses other shards than those of a manifest.
    fn check_manifest(&self, manifest: PathBuf, facts: &[(usize, ShardFacts)]) -> Result<()> {
        let finished: SetRecord = record::read(&manifest)?;
        let (expected, got) = (finished.shards.len(), self.shards.len());
        if got != expected {
            return Err(ShardError::OtherNumber { path: manifest, expected, got }.into());
        }
        facts.iter().try_for_each(|(number, facts)| {
            finished.shards[*number].check(&facts.record, *number, Path::new(&self.shards[*number].place()))
        })
    }

    /// Takes what all shards have in common from what one of them says.
    fn take_settings(&mut self, facts: &ShardFacts) -> Result<()> {
        let wrong = |problem: String| ShardError::WrongAnswer { problem };
        self.analyzer = facts.analyzer.parse::<Analyzer>().map_err(|error| wrong(error.to_string()))?;
        let Some(generation) = facts.read() else {
            return match &facts.generation {
                Some(name) => Err(wrong(format!("there is no generation {name:?}")).into()),
                None => Ok(()),
            };
        };
        let GenerationRecord { dim, index, passages, encoder, fingerprint, .. } = generation;
        let known = VectorIndex::all().find(|known| known.name() == index);
        let index = known.ok_or_else(|| wrong(format!("there is no index of the kind {index:?}")))?;
        self.vectors = Some(Vectors { dim: *dim, index, passages: passages.is_some() });
        if let (Some(name), Some(fingerprint)) = (encoder, fingerprint) {
            let fingerprint = fingerprint.parse::<Fingerprint>().map_err(|error| wrong(error.to_string()))?;
            // Where it is elsewhere says nothing here; its name may be one that all know.
            let source = EncoderSource { model: name.clone(), options: Default::default() };
            self.encoder_record =
                Some(EncoderRecord { name: name.clone(), fingerprint, source: Some(source) });
        }
        Ok(())
    }

    /// The folder, or what names the shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many shards there are.
    pub fn num_shards(&self) -> usize {
        self.shards.len()
    }

    /// How many documents there are.
    pub fn len(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What makes words of texts and of queries.
    pub fn analyzer(&self) -> Analyzer {
        self.analyzer
    }

    /// How vectors are searched; `None` in a set without.
    pub fn vector_index(&self) -> Option<VectorIndex> {
        self.vectors.map(|vectors| vectors.index)
    }

    /// The shards that gave no answer, where the set was made so that such shards are left out. They are not asked
    /// again: answers are those of the others. Scores of words depend on the shards that answered the first round.
    pub fn missing(&self) -> Vec<MissingShard> {
        self.missing_now().into_values().collect()
    }

    /// Which index answers, as [`Database::mode`].
    pub fn mode(&self, params: &SearchParams) -> SearchMode {
        let best = if self.encoder_record.is_some() { SearchMode::Hybrid } else { SearchMode::Bm25 };
        params.mode.unwrap_or(best)
    }

    /// How a hybrid search fuses, as [`Database::fusing`].
    pub fn fusing(&self, params: &SearchParams) -> (Fusion, f64) {
        params.fusing(self.encoder().map(Arc::as_ref))
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
        let encoder = self.encoder().map(Arc::as_ref);
        rankings.iter().map(|ranking| Ok(ranking.lists().settled().hits(params, encoder)?)).collect()
    }

    /// Searches for many queries, and says of each hit where it stands in the merged ranking of either index.
    ///
    /// # Errors
    ///
    /// As [`ShardSet::search_batch`].
    pub fn search_sides(&self, queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<(Hit, Sides)>>> {
        let (rankings, _) = self.rankings(queries, params)?;
        let encoder = self.encoder().map(Arc::as_ref);
        rankings.iter().map(|ranking| Ok(ranking.lists().settled().with_sides(params, encoder)?)).collect()
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
        let ranking = rankings.pop().unwrap_or_default();
        let hits = ranking.lists().settled().with_sides(params, self.encoder().map(Arc::as_ref))?;
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
        let Some(Vectors { dim: expected, .. }) = self.vectors else {
            return Err(Error::NoVectors { path: self.path.clone() });
        };
        if vector.len() != expected {
            return Err(secateur_index::Error::DimensionMismatch { expected, got: vector.len() }.into());
        }
        let asked = Asked { vectors: Some(vector), words: None, k: params.k, completes: false, params };
        let ranking = self.asked(&asked, 1, &mut SearchTimes::default())?.pop().unwrap_or_default();
        Ok(ranking.lists().settled().hits(params, None)?)
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

    /// Whether there is a document with this id.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn contains(&self, doc_id: &str) -> Result<bool> {
        Ok(self.contains_each(&[doc_id])?.contains(&true))
    }

    /// Whether there is a document with each of these ids.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
        let mut is_there = vec![false; doc_ids.len()];
        for (_, found) in self.each_of("id", doc_ids.len(), |shard| shard.contains_each(doc_ids))? {
            is_there.iter_mut().zip(found).for_each(|(is_there, found)| *is_there |= found);
        }
        Ok(is_there)
    }

    /// The document with this id, if there is one.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn document(&self, doc_id: &str) -> Result<Option<Document>> {
        Ok(self.documents_with(&[doc_id])?.pop().flatten())
    }

    /// The document with each of these ids, if there is one.
    ///
    /// # Errors
    ///
    /// A damaged file.
    pub fn documents_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
        let mut documents = vec![None; doc_ids.len()];
        for (_, found) in self.each_of("id", doc_ids.len(), |shard| shard.documents_with(doc_ids))? {
            for (document, found) in documents.iter_mut().zip(found) {
                *document = document.take().or(found);
            }
        }
        Ok(documents)
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
        for (_, found) in
            self.each_of("id", doc_ids.len(), |shard| shard.nearest_passages(&vector, doc_ids))?
        {
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
        use secateur_index::Error::{FieldKind, UnknownField};
        let answers = self.each(|shard| match shard.check_filter(filter) {
            Ok(()) => Ok(true),
            Err(Error::Index(UnknownField { .. } | FieldKind { .. })) => Ok(false),
            Err(error) => Err(error),
        })?;
        // A shard without documents takes any filter.
        let is_taken = |(number, fits): &(usize, bool)| *fits && self.sizes[*number] > 0;
        if self.is_empty() || answers.iter().any(is_taken) {
            return Ok(());
        }
        // No shard has all of the fields, or none does with the right kind.
        let fields: Vec<_> =
            self.each(|shard| shard.fields())?.into_iter().flat_map(|(_, fields)| fields).collect();
        Ok(check_filter_of_fields(filter, &fields)?)
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
