//! A shard that is elsewhere.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use secateur_datasets::Document;
use secateur_index::bm25::{Analyzer, Bm25Statistics};
use secateur_index::filter::Filter;
use secateur_index::storage::{FieldCount, check_filter_of_fields};
use secateur_wire::{
    SetStatistics, ShardContains, ShardDocuments, ShardExact, ShardFields, ShardFilter, ShardFits, ShardHits,
    ShardIds, ShardInfo, ShardLimits, ShardNearest, ShardNothing, ShardOpening, ShardPassages, ShardQuestion,
    ShardRankings, ShardReply, ShardSearch, ShardStatistics, ShardTerms, ShardTruth, SnapshotId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::carrier::Carrier;
use super::wire;
use crate::error::{Error, Result};
use crate::search::{Asked, Hit, Ranking, SearchParams, SearchTimes, Words};
use crate::shard_error::ShardError;
use crate::shards::facts::ShardFacts;
use crate::shards::shard::Shard;

/// Bytes of a number of a vector, as JSON.
const BYTES_OF_NUMBER: usize = 11;

/// The most terms of a shard: sums of all shards of a set stay within 64 bits.
const MOST_TERMS: u64 = 1 << 46;

/// Documents of a request: texts are of 1 MiB at most where servers took them, and an answer has a bound.
const DOCUMENTS: usize = 64;

/// Queries of a request that is expected to be answered soon: more take long on any server.
const QUICK: usize = 16;

/// A shard that is elsewhere, in the state in which it was when it was asked first.
pub struct RemoteShard<C> {
    carrier: C,
    generation: Option<String>,
    opened: OnceLock<Opened>,
}

/// What a server said of itself.
#[derive(Clone)]
struct Opened {
    snapshot: SnapshotId,
    facts: ShardFacts,
    analyzer: Analyzer,
    limits: ShardLimits,
}

impl<C: Carrier> RemoteShard<C> {
    /// A shard as read through a generation, or through the one in use. Nothing is asked yet.
    pub fn new(carrier: C, generation: Option<String>) -> RemoteShard<C> {
        RemoteShard { carrier, generation, opened: OnceLock::new() }
    }

    fn opened(&self) -> Result<&Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opening = ShardOpening { generation: self.generation.clone() };
        let asked = self.generation.clone();
        let read = move |bytes: &[u8]| {
            let opened = read_info(bytes)?;
            match asked.is_none() || opened.facts.generation == asked {
                true => Ok(opened),
                false => Err("it is of another generation than was asked for".to_owned()),
            }
        };
        let opened = self.carrier.ask("/shard/info", true, json(&opening)?, read)?;
        Ok(self.opened.get_or_init(|| opened))
    }

    /// A quick answer of the state that was opened.
    fn ask<A: Serialize, T: DeserializeOwned + Send + 'static>(
        &self,
        route: &'static str,
        ask: A,
    ) -> Result<T> {
        self.ask_in_time(route, true, ask)
    }

    /// The same, or an answer that takes long on any server.
    fn ask_in_time<A: Serialize, T: DeserializeOwned + Send + 'static>(
        &self,
        route: &'static str,
        quick: bool,
        ask: A,
    ) -> Result<T> {
        let snapshot = self.opened()?.snapshot.clone();
        let expected = snapshot.clone();
        let read = move |bytes: &[u8]| {
            let ShardReply { snapshot, answer } = read_json(bytes)?;
            match snapshot == expected {
                true => Ok(answer),
                false => Err("it is of another state than was asked about".to_owned()),
            }
        };
        let question = ShardQuestion { snapshot, ask };
        self.carrier.ask(route, quick, json(&question)?, read)
    }

    /// Asks about ids: `most` at a time, or as many as the server takes.
    fn ask_of_ids<T>(
        &self,
        doc_ids: &[&str],
        most: usize,
        ask: impl Fn(Vec<String>) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let limits = self.opened()?.limits;
        let mut answers = Vec::with_capacity(doc_ids.len());
        let most = most.min(limits.items);
        for part in parts(doc_ids.iter().map(|id| id.len() + 8), most, limits.body_bytes / 2) {
            let ids: Vec<String> = doc_ids[part].iter().map(|id| (*id).to_owned()).collect();
            let count = ids.len();
            let found = ask(ids)?;
            check_count("id", count, found.len())?;
            answers.extend(found);
        }
        Ok(answers)
    }

    /// How many of these queries are asked at a time.
    fn parts(&self, asked: &Asked<'_>, dim: usize) -> Result<Vec<Range<usize>>> {
        let limits = self.opened()?.limits;
        let of_vector = if asked.vectors.is_some() { dim * BYTES_OF_NUMBER } else { 0 };
        // The terms of a query come with it.
        let of_text = |number: usize| asked.words.map_or(0, |words| 3 * words.queries[number].len());
        let count = match (&asked.words, asked.vectors) {
            (Some(words), _) => words.queries.len(),
            (None, Some(vectors)) => vectors.len() / dim.max(1),
            (None, None) => 0,
        };
        let most = limits.queries.min((limits.hits / asked.k.max(1)).max(1));
        Ok(parts((0..count).map(|number| of_vector + of_text(number) + 64), most, limits.body_bytes / 2))
    }

    fn dim(&self) -> Result<usize> {
        Ok(self.opened()?.facts.read().map_or(1, |generation| generation.dim).max(1))
    }

    /// What is asked about some of the queries.
    fn question(&self, asked: &Asked<'_>, part: &Range<usize>, dim: usize) -> Result<ShardSearch> {
        let params = asked.params;
        let analyzer = self.opened()?.analyzer;
        let queries = asked.words.map(|words| &words.queries[part.clone()]);
        let statistics = asked.words.and_then(|Words { statistics, .. }| statistics).map(|given| {
            let texts = queries.unwrap_or_default().iter();
            let terms: BTreeSet<String> = texts.flat_map(|text| analyzer.analyze(text)).collect();
            let of = |term: String| Some((given.document_frequencies.get(&term).copied()?, term));
            let frequencies = terms.into_iter().filter_map(of).map(|(n, term)| (term, n)).collect();
            SetStatistics { num_docs: given.num_docs, num_terms: given.num_terms, frequencies }
        });
        Ok(ShardSearch {
            vectors: asked
                .vectors
                .map(|vectors| wire::to_bits(&vectors[part.start * dim..part.end * dim], dim)),
            queries: queries.map(|queries| queries.iter().map(|query| (*query).to_owned()).collect()),
            statistics,
            k: asked.k,
            completes: asked.completes,
            ef: params.ef_search,
            k1: params.bm25.k1.to_bits(),
            b: params.bm25.b.to_bits(),
            filter: params.filter.as_ref().map(ToString::to_string),
        })
    }
}

impl<C: Carrier> Shard for RemoteShard<C> {
    fn place(&self) -> String {
        self.carrier.place()
    }

    fn facts(&self) -> Result<ShardFacts> {
        Ok(self.opened()?.facts.clone())
    }

    fn statistics(&self, terms: &[&str]) -> Result<Bm25Statistics> {
        let Opened { limits, facts, .. } = self.opened()?;
        let mut sum: Option<Bm25Statistics> = None;
        let mut parts = parts(terms.iter().map(|term| term.len() + 8), limits.items, limits.body_bytes / 2);
        if parts.is_empty() {
            // The counts of all documents are asked for, too.
            parts.push(0..0);
        }
        for part in parts {
            let asked: Vec<String> = terms[part].iter().map(|term| (*term).to_owned()).collect();
            let ask = ShardTerms { terms: asked.clone() };
            let ShardStatistics { num_docs, num_terms, frequencies } = self.ask("/shard/statistics", ask)?;
            check_count("term", asked.len(), frequencies.len())?;
            let is_wrong = num_docs > facts.record.documents
                || !(num_docs..=MOST_TERMS).contains(&num_terms)
                || frequencies.iter().any(|n| *n > num_docs);
            if is_wrong {
                return Err(wrong("its statistics are of other documents than it has"));
            }
            let sum = sum.get_or_insert_with(|| Bm25Statistics {
                num_docs,
                num_terms,
                ..Bm25Statistics::default()
            });
            if (sum.num_docs, sum.num_terms) != (num_docs, num_terms) {
                return Err(wrong("its statistics differ between two requests"));
            }
            sum.document_frequencies.extend(asked.into_iter().zip(frequencies));
        }
        Ok(sum.unwrap_or_default())
    }

    fn search(&self, asked: &Asked<'_>) -> Result<(Vec<Ranking>, SearchTimes)> {
        let dim = self.dim()?;
        let (mut all, mut times) = (Vec::new(), SearchTimes::default());
        for part in self.parts(asked, dim)? {
            let question = self.question(asked, &part, dim)?;
            let ShardRankings { rankings, seconds } =
                self.ask_in_time("/shard/search", part.len() <= QUICK, question)?;
            check_count("query", part.len(), rankings.len())?;
            for ranking in rankings {
                let [dense, bm25] = [ranking.dense, ranking.bm25].map(|hits| hits.map(hits_of).transpose());
                all.push(Ranking { dense: dense?, bm25: bm25? });
            }
            let [filter, dense, bm25] =
                seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
            times.filter = times.filter.saturating_add(filter);
            times.dense = times.dense.saturating_add(dense);
            times.bm25 = times.bm25.saturating_add(bm25);
        }
        Ok((all, times))
    }

    fn search_exactly(&self, vectors: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        let dim = self.dim()?;
        let params = SearchParams::default();
        let asked = Asked { vectors: Some(vectors), words: None, k, completes: false, params: &params };
        let mut all = Vec::new();
        for part in self.parts(&asked, dim)? {
            let vectors = wire::to_bits(&vectors[part.start * dim..part.end * dim], dim);
            let ShardTruth { hits } = self.ask_in_time("/shard/exact", false, ShardExact { vectors, k })?;
            check_count("query", part.len(), hits.len())?;
            for hits in hits {
                all.push(hits_of(hits)?);
            }
        }
        Ok(all)
    }

    fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
        self.ask_of_ids(doc_ids, usize::MAX, |ids| {
            let ShardContains { found } = self.ask("/shard/contains", ShardIds { ids })?;
            Ok(found)
        })
    }

    fn documents_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
        self.ask_of_ids(doc_ids, DOCUMENTS, |ids| {
            let asked = ids.clone();
            let ShardDocuments { documents } = self.ask("/shard/documents", ShardIds { ids })?;
            if asked
                .iter()
                .zip(&documents)
                .any(|(id, found)| found.as_ref().is_some_and(|found| found.id != *id))
            {
                return Err(wrong("a document has another id than was asked for"));
            }
            Ok(documents.into_iter().map(|document| document.map(wire::of_document)).collect())
        })
    }

    fn nearest_passages(&self, vector: &[f32], doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
        let vector: Vec<u32> = vector.iter().map(|number| number.to_bits()).collect();
        self.ask_of_ids(doc_ids, usize::MAX, |ids| {
            let ask = ShardNearest { vector: vector.clone(), ids };
            let ShardPassages { passages } = self.ask("/shard/passages", ask)?;
            Ok(passages)
        })
    }

    fn check_filter(&self, filter: &Filter) -> Result<()> {
        let ask = ShardFilter { filter: filter.to_string() };
        match self.ask("/shard/filter", ask)? {
            ShardFits { fits: true } => Ok(()),
            // Which field it is the fields of all shards say.
            ShardFits { fits: false } => Ok(check_filter_of_fields(filter, &self.fields()?)?),
        }
    }

    fn fields(&self) -> Result<Vec<FieldCount>> {
        let ShardFields { fields } = self.ask("/shard/fields", ShardNothing {})?;
        Ok(fields.into_iter().map(wire::of_field).collect())
    }
}

/// What a server says of itself.
fn read_info(bytes: &[u8]) -> std::result::Result<Opened, String> {
    let ShardReply { snapshot, answer: ShardInfo { facts, limits } } = read_json(bytes)?;
    let facts: ShardFacts = serde_json::from_value(facts).map_err(|error| error.to_string())?;
    if wire::snapshot_of(&facts) != snapshot {
        return Err("it is of two states".to_owned());
    }
    if facts.record.documents > u64::from(u32::MAX)
        || [limits.items, limits.queries, limits.body_bytes].contains(&0)
    {
        return Err("its numbers are out of range".to_owned());
    }
    let analyzer = facts.analyzer.parse::<Analyzer>().map_err(|error| error.to_string())?;
    Ok(Opened { snapshot, facts, analyzer, limits })
}

fn json(question: &impl Serialize) -> Result<Vec<u8>> {
    let wrong = |problem: String| ShardError::BadQuestion { field: "body", problem };
    Ok(serde_json::to_vec(question).map_err(|error| wrong(error.to_string()))?)
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn hits_of(hits: ShardHits) -> Result<Vec<Hit>> {
    wire::of_hits(hits).ok_or_else(|| wrong("there is not one score for each id"))
}

fn wrong(problem: &str) -> Error {
    ShardError::WrongAnswer { problem: problem.to_owned() }.into()
}

fn check_count(what: &'static str, expected: usize, got: usize) -> Result<()> {
    match got == expected {
        true => Ok(()),
        false => Err(ShardError::Answers { what, expected, got }.into()),
    }
}

/// Consecutive parts of things of these sizes: each has at most so many of them, and so many bytes unless it is one.
fn parts(sizes: impl Iterator<Item = usize>, most: usize, most_bytes: usize) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (number, size) in sizes.enumerate() {
        match parts.last_mut() {
            Some(last) if last.len() < most && bytes + size <= most_bytes => {
                last.end = number + 1;
                bytes += size;
            }
            _ => {
                parts.push(number..number + 1);
                bytes = size;
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_divided() {
        let of = |sizes: &[usize], most, bytes| parts(sizes.iter().copied(), most, bytes);
        assert!(of(&[], 3, 10).is_empty());
        assert_eq!(of(&[1, 1, 1, 1, 1], 2, 10), [0..2, 2..4, 4..5]);
        assert_eq!(of(&[6, 4, 1, 30, 2], 9, 10), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(of(&[1, 1], 1, 0), [0..1, 1..2]);
    }
}
