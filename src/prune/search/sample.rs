//! The part of a data set that a search measures on. It is some queries of a development split, and for each some
//! judged documents and hard negatives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Qrels, Query, Run, ScoredDocument};
use secateur_encoders::{Encoder, TextKind};
use secateur_files::disk;
use secateur_index::flat::FlatIndex;
use secateur_random::SplitMix64;
use serde::{Deserialize, Serialize};

use super::SearchOptions;
use crate::bench::shuffle;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::eval::{Measure, RuleSet, Rules, evaluate};
use crate::measure::{Measurements, metric_of};
use crate::progress::Progress;
use crate::search::{SearchMode, SearchParams};

/// What was taken of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleFacts {
    /// The data set.
    pub dataset: String,
    /// The split of the judgments.
    pub split: String,
    /// Queries that were drawn.
    pub num_queries: usize,
    /// Queries of the split that have a relevant document.
    pub num_queries_in_all: usize,
    /// Judged documents that were taken: for each query those of the highest relevance.
    pub num_judged: usize,
    /// Documents that were taken besides: for each query the best by BM25 that are not judged relevant to it.
    pub num_hard_negatives: usize,
    /// Documents in all, each once. A document that was taken for one query is a candidate for all.
    pub num_documents: usize,
    /// BLAKE3 of queries, documents and judgments, sixteen hexadecimal digits.
    pub fingerprint: String,
}

/// Queries, documents and judgments.
pub(super) struct Sample {
    pub facts: SampleFacts,
    queries: Vec<Query>,
    /// Ids and texts.
    documents: Vec<(String, String)>,
    qrels: Qrels,
    rules: Rules,
}

/// The same as an encoder reads it.
pub(super) struct Tokens {
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
}

/// What was drawn, as it is kept.
#[derive(Serialize, Deserialize)]
struct Drawn {
    /// What decides the rest.
    key: String,
    query_ids: Vec<String>,
    judged: BTreeSet<String>,
    hard_negatives: BTreeSet<String>,
}

/// A data set and its split for the search. Splits that results are reported on are refused: a model that is chosen by
/// them would look better there than it is.
pub(super) fn open(path: &Path, split: Option<&str>) -> Result<(BeirFolder, String)> {
    let dataset = BeirFolder::open(path)?;
    let splits = dataset.splits()?;
    let wanted = split.unwrap_or("dev");
    if splits.is_empty() {
        let problem = "it has no judgments to choose by: name another data set".to_owned();
        return Err(Error::BenchDataset { name: dataset.path().display().to_string(), problem });
    }
    let is_missing = split.is_none() && !splits.iter().any(|split| split == wanted);
    let split = wanted.to_owned();
    if is_missing || dataset.is_reported(&split) {
        let (reported, others): (Vec<String>, Vec<String>) =
            splits.into_iter().partition(|split| dataset.is_reported(split));
        let advice = match others.is_empty() {
            true => "it has no other: name another data set".to_owned(),
            false => format!("name one of {}", others.join(", ")),
        };
        let path = dataset.path().display();
        let problem = match is_missing {
            true if reported.is_empty() => format!("{path} has no split dev; {advice}"),
            true => format!(
                "{path} has no split dev, and results are reported on {}; {advice}",
                reported.join(", ")
            ),
            false => format!(
                "results on {path} are reported on its split {split}, and would be too good for a model that is chosen by it; \
                 {advice}"
            ),
        };
        return Err(Error::option("dev-split", problem));
    }
    // A split that is not there is found before anything is made.
    dataset.qrels(&split)?;
    Ok((dataset, split))
}

impl Sample {
    /// Draws from a data set, or reads what was drawn before.
    pub(super) fn draw(
        options: &SearchOptions,
        (dataset, split): &(BeirFolder, String),
        number: usize,
        kept: &Measurements,
        folder: &Path,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Sample> {
        let mut qrels = dataset.qrels(split)?;
        qrels.retain(|_, judged| judged.values().any(|relevance| *relevance > 0));
        let all = dataset.judged_queries(&qrels)?;
        if all.is_empty() {
            let problem = format!("no query of its split {split} has a relevant document");
            return Err(Error::BenchDataset { name: dataset.name().to_owned(), problem });
        }
        let rules = RuleSet::Mteb.rules_for(dataset.name());
        let key = key(options, split, &qrels, &all);
        let name = format!("sample.{number}.{}", dataset.name());
        let drawn = kept.get_or(
            &name,
            |drawn: &Drawn| drawn.key == key,
            || {
                let drawer = Drawer { options, dataset, qrels: &qrels };
                drawer.draw(key.clone(), &all, &folder.join(format!("words.{number}")), on)
            },
        )?;
        let num_queries_in_all = all.len();
        let is_drawn: BTreeSet<&String> = drawn.query_ids.iter().collect();
        let queries: Vec<Query> = all.into_iter().filter(|query| is_drawn.contains(&query.id)).collect();
        let wanted = drawn.judged.union(&drawn.hard_negatives).map(String::as_str);
        let mut found = dataset.documents_by_id(wanted)?;
        let mut documents: Vec<(String, String)> =
            found.drain().map(|(id, document)| (id, document.passage(" "))).collect();
        documents.sort();
        let is_there: BTreeSet<&String> = documents.iter().map(|(id, _)| id).collect();
        qrels.retain(|id, _| is_drawn.contains(id));
        qrels.values_mut().for_each(|judged| judged.retain(|id, _| is_there.contains(id)));
        let mut hash = blake3::Hasher::new();
        for text in
            documents.iter().flat_map(|(id, text)| [id, text]).chain(queries.iter().map(|query| &query.text))
        {
            hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hash.update(format!("{qrels:?}").as_bytes());
        let facts = SampleFacts {
            dataset: dataset.name().to_owned(),
            split: split.clone(),
            num_queries: queries.len(),
            num_queries_in_all,
            num_judged: drawn.judged.len(),
            num_hard_negatives: drawn.hard_negatives.len(),
            num_documents: documents.len(),
            fingerprint: hash.finalize().to_hex()[..16].to_owned(),
        };
        Ok(Sample { facts, queries, documents, qrels, rules })
    }

    /// The texts of the queries.
    pub(super) fn query_texts(&self) -> impl Iterator<Item = &str> {
        self.queries.iter().map(|query| query.text.as_str())
    }

    /// The texts of the documents.
    pub(super) fn passages(&self) -> impl Iterator<Item = &str> {
        self.documents.iter().map(|(_, text)| text.as_str())
    }

    /// The sample as an encoder reads it; a smaller model of it reads it in the same way.
    pub(super) fn tokenize(&self, encoder: &Encoder) -> Result<Tokens> {
        let queries: Vec<&str> = self.query_texts().collect();
        let passages: Vec<&str> = self.passages().collect();
        Ok(Tokens {
            queries: encoder.tokenize(&queries, TextKind::Query)?,
            documents: encoder.tokenize(&passages, TextKind::Passage)?,
        })
    }

    /// nDCG@10 of each query, in the order of their ids.
    pub(super) fn measure(&self, encoder: &Encoder, tokens: &Tokens) -> Result<Vec<f64>> {
        /// Hits of a query that are looked at: rules may leave one out.
        const DEPTH: usize = 20;
        let rows = encoder.encode_tokens(&tokens.documents, TextKind::Passage)?;
        let index = FlatIndex::new(metric_of(encoder.settings().similarity), encoder.dim(), &rows)?;
        let queries = encoder.encode_tokens(&tokens.queries, TextKind::Query)?;
        let found = index.search_batch(&queries, DEPTH)?;
        let mut run = Run::new();
        for (query, hits) in self.queries.iter().zip(found) {
            let scored = |hit: &secateur_index::Hit| ScoredDocument {
                doc_id: self.documents[hit.row.0 as usize].0.clone(),
                score: f64::from(hit.score),
            };
            let mut hits: Vec<ScoredDocument> = hits.iter().map(scored).collect();
            hits.sort_by(ScoredDocument::ranking_order);
            run.insert(query.id.clone(), hits);
        }
        let evaluation = evaluate(&self.qrels, &run, &Measure::DEFAULT[..1], &self.rules)?;
        Ok(evaluation.per_query.into_values().map(|values| values[0]).collect())
    }
}

/// What a draw depends on.
fn key(options: &SearchOptions, split: &str, qrels: &Qrels, queries: &[Query]) -> String {
    let SearchOptions { queries: count, judged, negatives, seed, .. } = options;
    let hash = blake3::hash(format!("{qrels:?} {queries:?}").as_bytes());
    format!("sample 1 {split} {count} {judged} {negatives} {seed} {hash}")
}

struct Drawer<'a> {
    options: &'a SearchOptions,
    dataset: &'a BeirFolder,
    qrels: &'a Qrels,
}

impl Drawer<'_> {
    fn draw(
        &self,
        key: String,
        all: &[Query],
        words: &Path,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Drawn> {
        let mut random = SplitMix64::keyed(&[self.options.seed, 1]);
        let mut order: Vec<usize> = (0..all.len()).collect();
        shuffle(&mut order, &mut random);
        order.truncate(self.options.queries.get());
        order.sort_unstable();
        let queries: Vec<Query> = order.into_iter().map(|place| all[place].clone()).collect();
        let mut judged = BTreeSet::new();
        for query in &queries {
            let mut documents: Vec<(&String, i32)> =
                self.qrels[&query.id].iter().map(|(id, relevance)| (id, *relevance)).collect();
            // Among equal ones chance decides, not the alphabet.
            shuffle(&mut documents, &mut random);
            documents.sort_by_key(|(_, relevance)| std::cmp::Reverse(*relevance));
            judged.extend(documents.into_iter().take(self.options.judged.get()).map(|(id, _)| id.clone()));
        }
        let hard_negatives = match self.options.negatives {
            0 => BTreeSet::new(),
            count => self.hard_negatives(&queries, count, words, on)?,
        };
        let query_ids = queries.into_iter().map(|query| query.id).collect();
        Ok(Drawn { key, query_ids, judged, hard_negatives })
    }

    /// For each query the best documents by BM25 that are not judged relevant to it.
    fn hard_negatives(
        &self,
        queries: &[Query],
        count: usize,
        words: &Path,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<BTreeSet<String>> {
        let total = || self.dataset.info().ok().map(|info| info.documents);
        on(Progress::Begins { what: "indexing", unit: "document", total: &total });
        if words.exists() {
            disk::remove_folder(words)?;
        }
        let builder = Database::builder(words).allow_empty(true);
        let database = builder.build_from(self.dataset.corpus()?, |done| on(Progress::Done(done)))?;
        let most = self.qrels.values().map(BTreeMap::len).max().unwrap_or(0);
        let params = SearchParams { k: count + most, ..SearchParams::new(SearchMode::Bm25) };
        let run = database.run(queries, &params)?;
        drop(database);
        disk::remove_folder(words)?;
        let mut negatives = BTreeSet::new();
        for (query_id, hits) in run {
            let judged = &self.qrels[&query_id];
            let relevant = |hit: &ScoredDocument| judged.get(&hit.doc_id).is_some_and(|grade| *grade > 0);
            let others = hits.into_iter().filter(|hit| !relevant(hit));
            negatives.extend(others.take(count).map(|hit| hit.doc_id));
        }
        Ok(negatives)
    }
}
