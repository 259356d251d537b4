//! What a database answers as a shard of a set, where it is asked from elsewhere.

use secateur_index::Error as IndexError;
use secateur_index::bm25::{Bm25Params, Bm25Statistics};
use secateur_index::filter::Filter;
use secateur_wire::{
    SetStatistics, ShardAnswer, ShardAsk, ShardContains, ShardDocuments, ShardFields, ShardFilter, ShardFits,
    ShardInfo, ShardLimits, ShardNothing, ShardOpening, ShardPassages, ShardQuestion, ShardRanking,
    ShardRankings, ShardReply, ShardSearch, ShardStatistics, ShardTerms, ShardTruth,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::number::counted;
use crate::search::{Asked, Ranking, SearchParams, Words};
use crate::shard_error::ShardError;
use crate::shards::facts::ShardFacts;
use crate::shards::shard::Shard;

/// What one question may ask for: answers are short work, and take some megabytes at most.
const LIMITS: ShardLimits =
    ShardLimits { items: 1 << 16, queries: 64, hits_of_query: 1 << 31, hits: 1 << 17, body_bytes: 16 << 20 };

/// A database that answers as a shard of a set, in one state. It is what a process holds that is asked by others.
pub struct ServedShard {
    database: Database,
    facts: ShardFacts,
}

impl ServedShard {
    /// A database as it is read.
    ///
    /// # Errors
    ///
    /// [`ShardError::Moved`] if another process has committed since it was opened; a damaged file.
    pub fn of(database: Database) -> Result<ServedShard> {
        let facts = ShardFacts::of(&database)?;
        Ok(ServedShard { database, facts })
    }

    /// What `secateur serve` answers to this body at this route, as JSON.
    ///
    /// # Errors
    ///
    /// [`ShardError::Moved`] if it is asked about another state; [`ShardError::BadQuestion`]; those of the search.
    pub fn answer(&self, route: &str, body: &[u8]) -> Result<Vec<u8>> {
        let snapshot = wire::snapshot_of(&self.facts);
        if route == "/shard/info" {
            let ShardOpening { generation } = read(body)?;
            if generation.is_some() && generation != self.facts.generation {
                return Err(bad("generation", "this shard is read through another one"));
            }
            let ShardAnswer::Facts(facts) = answer(&self.database, &self.facts, &ShardAsk::Facts)? else {
                return Err(bad("route", "a shard says nothing of itself"));
            };
            return write(&ShardReply { snapshot, answer: ShardInfo { facts, limits: LIMITS } });
        }
        let question = question(route, body)?;
        if question.snapshot != snapshot {
            return Err(ShardError::Moved.into());
        }
        write(&ShardReply { snapshot, answer: answer(&self.database, &self.facts, &question.ask)? })
    }
}

/// What is asked at a route.
fn question(route: &str, body: &[u8]) -> Result<ShardQuestion<ShardAsk>> {
    Ok(match route {
        "/shard/statistics" => asked(body)?.map(ShardAsk::Statistics),
        "/shard/search" => asked(body)?.map(ShardAsk::Search),
        "/shard/exact" => asked(body)?.map(ShardAsk::Exact),
        "/shard/documents" => asked(body)?.map(ShardAsk::Documents),
        "/shard/contains" => asked(body)?.map(ShardAsk::Contains),
        "/shard/passages" => asked(body)?.map(ShardAsk::Passages),
        "/shard/filter" => asked(body)?.map(ShardAsk::Filter),
        "/shard/fields" => asked(body)?.map(|ShardNothing {}| ShardAsk::Fields),
        other => return Err(bad("route", format!("shards are asked nothing at {other}"))),
    })
}

fn asked<T: DeserializeOwned>(body: &[u8]) -> Result<ShardQuestion<T>> {
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| bad("body", error.to_string()))
}

fn write(reply: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(reply).map_err(|error| bad("answer", error.to_string()))
}

fn bad(field: &'static str, problem: impl Into<String>) -> Error {
    ShardError::BadQuestion { field, problem: problem.into() }.into()
}

/// What a database answers as a shard. `facts` are its own.
///
/// # Errors
///
/// [`ShardError::BadQuestion`]; as the functions of [`Shard`].
pub fn answer(database: &Database, facts: &ShardFacts, ask: &ShardAsk) -> Result<ShardAnswer> {
    let shard: &dyn Shard = database;
    Ok(match ask {
        ShardAsk::Facts => {
            ShardAnswer::Facts(serde_json::to_value(facts).map_err(|error| bad("facts", error.to_string()))?)
        }
        ShardAsk::Statistics(ShardTerms { terms }) => {
            let Bm25Statistics { num_docs, num_terms, document_frequencies } =
                shard.statistics(&texts(terms))?;
            let n = |term: &String| document_frequencies.get(term).copied().unwrap_or_default();
            ShardAnswer::Statistics(ShardStatistics {
                num_docs,
                num_terms,
                frequencies: terms.iter().map(n).collect(),
            })
        }
        ShardAsk::Search(search) => ShardAnswer::Rankings(found(database, search)?),
        ShardAsk::Exact(exact) => {
            let hits = shard.search_exactly(&vectors(database, &exact.vectors)?, exact.k)?;
            ShardAnswer::Truth(ShardTruth { hits: hits.into_iter().map(wire::to_hits).collect() })
        }
        ShardAsk::Documents(asked) => {
            let documents = shard.documents_with(&texts(&asked.ids))?;
            let documents = documents.into_iter().map(|document| document.map(wire::to_document)).collect();
            ShardAnswer::Documents(ShardDocuments { documents })
        }
        ShardAsk::Contains(asked) => {
            ShardAnswer::Contains(ShardContains { found: shard.contains_each(&texts(&asked.ids))? })
        }
        ShardAsk::Passages(asked) => {
            let vector = vectors(database, std::slice::from_ref(&asked.vector))?;
            let passages = shard.nearest_passages(&vector, &texts(&asked.ids))?;
            ShardAnswer::Passages(ShardPassages { passages })
        }
        ShardAsk::Filter(asked) => ShardAnswer::Fits(fits(database, asked)?),
        ShardAsk::Fields => {
            let fields = shard.fields()?;
            ShardAnswer::Fields(ShardFields { fields: fields.into_iter().map(wire::to_field).collect() })
        }
    })
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The vectors (Q, D) of their bits. They must be as long as those of the database.
fn vectors(database: &Database, bits: &[Vec<u32>]) -> Result<Vec<f32>> {
    let Some(dim) = database.dim() else {
        return Err(bad("vectors", "the database has no vectors"));
    };
    match bits.iter().find(|vector| vector.len() != dim) {
        Some(wrong) => {
            let got = counted(wrong.len(), "number");
            Err(bad("vectors", format!("one has {got}, those of the database have {dim}")))
        }
        None => Ok(wire::of_bits(bits)),
    }
}

fn found(database: &Database, search: &ShardSearch) -> Result<ShardRankings> {
    let vectors = search.vectors.as_ref().map(|bits| vectors(database, bits)).transpose()?;
    let queries = search.queries.as_deref().map(texts);
    let statistics = search.statistics.as_ref().map(checked).transpose()?;
    let filter = search.filter.as_ref().map(|filter| filter.parse::<Filter>()).transpose()?;
    let params = SearchParams {
        k: search.k,
        bm25: Bm25Params { k1: f32::from_bits(search.k1), b: f32::from_bits(search.b) },
        ef_search: search.ef,
        filter,
        ..SearchParams::default()
    };
    let words = queries.as_deref().map(|queries| Words { queries, statistics: statistics.as_ref() });
    let (vectors, completes) = (vectors.as_deref(), search.completes);
    let asked = Asked { vectors, words, k: search.k, completes, params: &params };
    let (rankings, times) = Shard::search(database, &asked)?;
    let ranking = |ranking: Ranking| ShardRanking {
        dense: ranking.dense.map(wire::to_hits),
        bm25: ranking.bm25.map(wire::to_hits),
    };
    Ok(ShardRankings {
        rankings: rankings.into_iter().map(ranking).collect(),
        seconds: [times.filter, times.dense, times.bm25].map(|time| time.as_secs_f64()),
    })
}

/// The statistics of all shards. Those that no documents have would give scores that are none.
fn checked(given: &SetStatistics) -> Result<Bm25Statistics> {
    let SetStatistics { num_docs, num_terms, frequencies } = given;
    if num_docs > num_terms || frequencies.values().any(|n| n > num_docs) {
        let problem = "there are more documents than terms, or more documents with a term than documents";
        return Err(bad("statistics", problem));
    }
    Ok(Bm25Statistics {
        num_docs: *num_docs,
        num_terms: *num_terms,
        document_frequencies: frequencies.clone(),
    })
}

fn fits(database: &Database, asked: &ShardFilter) -> Result<ShardFits> {
    let filter = asked.filter.parse::<Filter>()?;
    match database.check_filter(&filter) {
        Ok(()) => Ok(ShardFits { fits: true }),
        Err(Error::Index(IndexError::UnknownField { .. } | IndexError::FieldKind { .. })) => {
            Ok(ShardFits { fits: false })
        }
        Err(error) => Err(error),
    }
}
