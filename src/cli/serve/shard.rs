//! A database that is served, as a shard of a set.

use std::sync::Arc;

use secateur::index::Error as IndexError;
use secateur::index::bm25::{Bm25Params, Bm25Statistics};
use secateur::report::counted;
use secateur::search::{Asked, Words};
use secateur::shards::{Shard, ShardError, ShardFacts};
use secateur::{Database, Error, Filter, SearchParams};
use secateur_serve::{
    Fault, SetStatistics, ShardAnswer, ShardAsk, ShardContains, ShardDocuments, ShardFields, ShardFilter,
    ShardFits, ShardPassages, ShardRanking, ShardRankings, ShardReply, ShardSearch, ShardStatistics,
    ShardTerms, ShardTruth, SnapshotId,
};

use super::fault;
use super::state::Current;
use crate::cli::wire;

/// How often a state is looked for that nobody replaces meanwhile.
const TRIES: usize = 3;

/// Answers as a shard: see [`Collection::shard`](secateur_serve::Collection::shard). `refresh` takes up the latest
/// state.
pub fn answered(
    current: &Current,
    refresh: &dyn Fn() -> Result<bool, Fault>,
    generation: Option<&str>,
    snapshot: Option<&SnapshotId>,
    ask: &ShardAsk,
) -> Result<ShardReply<ShardAnswer>, Fault> {
    let (database, facts) = state(current, refresh, generation, snapshot.is_some())?;
    let now = SnapshotId {
        commit: facts.record.commit,
        checksum: facts.record.checksum.clone(),
        generation: facts.generation.clone(),
    };
    if let Some(asked) = snapshot.filter(|asked| **asked != now) {
        return Err(Fault::moved(format!(
            "the database is at commit {} with checksum {}, and commit {} with checksum {} was asked about: begin anew with \
             /shard/info",
            now.commit, now.checksum, asked.commit, asked.checksum
        )));
    }
    let answer = answer(&database, facts, ask)?;
    Ok(ShardReply { snapshot: now, answer })
}

/// The database as it is read through a generation, and what it says of itself.
fn state(
    current: &Current,
    refresh: &dyn Fn() -> Result<bool, Fault>,
    generation: Option<&str>,
    was_there: bool,
) -> Result<(Arc<Database>, ShardFacts), Fault> {
    for _ in 0..TRIES {
        let state = current.state();
        let database = match generation {
            Some(name) if was_there && state.database.generations().iter().all(|one| one.name != name) => {
                return Err(Fault::moved(format!(
                    "generation {name:?} is gone: begin anew with /shard/info"
                )));
            }
            Some(name) => current.generation(&state, name)?,
            None => Arc::clone(&state.database),
        };
        let facts = match state.facts.get() {
            Some(facts) => facts.clone(),
            None => match ShardFacts::of(&state.database) {
                Ok(facts) => state.facts.get_or_init(|| facts).clone(),
                // Somebody has committed since.
                Err(Error::Shards(ShardError::Moved)) => {
                    refresh()?;
                    continue;
                }
                Err(error) => return Err(fault::of(&error)),
            },
        };
        let (num_vectors, generation) = (database.num_vectors() as u64, database.generation_name());
        let generation = generation.map(str::to_owned);
        return Ok((database, ShardFacts { num_vectors, generation, ..facts }));
    }
    Err(Fault::unavailable("the database changes all the time: try again later"))
}

fn answer(database: &Database, facts: ShardFacts, ask: &ShardAsk) -> Result<ShardAnswer, Fault> {
    let shard: &dyn Shard = database;
    let refused = |error: Error| fault::of(&error);
    Ok(match ask {
        ShardAsk::Facts => {
            let facts = serde_json::to_value(&facts);
            ShardAnswer::Facts(facts.map_err(|error| Fault::internal(error.to_string()))?)
        }
        ShardAsk::Statistics(ShardTerms { terms }) => {
            let found = shard.statistics(&texts(terms)).map_err(refused)?;
            let Bm25Statistics { num_docs, num_terms, document_frequencies } = found;
            let n = |term: &String| document_frequencies.get(term).copied().unwrap_or_default();
            ShardAnswer::Statistics(ShardStatistics {
                num_docs,
                num_terms,
                frequencies: terms.iter().map(n).collect(),
            })
        }
        ShardAsk::Search(search) => ShardAnswer::Rankings(found(database, search)?),
        ShardAsk::Exact(exact) => {
            let vectors = vectors(database, &exact.vectors)?;
            let hits = shard.search_exactly(&vectors, exact.k).map_err(refused)?;
            ShardAnswer::Truth(ShardTruth { hits: hits.into_iter().map(wire::to_hits).collect() })
        }
        ShardAsk::Documents(asked) => {
            let documents = shard.documents_with(&texts(&asked.ids)).map_err(refused)?;
            let documents = documents.into_iter().map(|document| document.map(wire::to_document)).collect();
            ShardAnswer::Documents(ShardDocuments { documents })
        }
        ShardAsk::Contains(asked) => {
            let found = shard.contains_each(&texts(&asked.ids)).map_err(refused)?;
            ShardAnswer::Contains(ShardContains { found })
        }
        ShardAsk::Passages(asked) => {
            let vector = vectors(database, std::slice::from_ref(&asked.vector))?;
            let passages = shard.nearest_passages(&vector, &texts(&asked.ids)).map_err(refused)?;
            ShardAnswer::Passages(ShardPassages { passages })
        }
        ShardAsk::Filter(asked) => ShardAnswer::Fits(fits(database, asked)?),
        ShardAsk::Fields => {
            let fields = shard.fields().map_err(refused)?;
            ShardAnswer::Fields(ShardFields { fields: fields.into_iter().map(wire::to_field).collect() })
        }
    })
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The vectors (Q, D) of their bits. They must be as long as those of the database.
fn vectors(database: &Database, bits: &[Vec<u32>]) -> Result<Vec<f32>, Fault> {
    let Some(dim) = database.dim() else {
        return Err(Fault::invalid_field("vectors", "the database has no vectors"));
    };
    if let Some(wrong) = bits.iter().find(|vector| vector.len() != dim) {
        let got = counted(wrong.len(), "number");
        return Err(Fault::invalid_field(
            "vectors",
            format!("one has {got}, those of the database have {dim}"),
        ));
    }
    Ok(wire::of_bits(bits))
}

fn found(database: &Database, search: &ShardSearch) -> Result<ShardRankings, Fault> {
    let vectors = search.vectors.as_ref().map(|bits| vectors(database, bits)).transpose()?;
    let queries = search.queries.as_deref().map(texts);
    let statistics = search.statistics.as_ref().map(checked).transpose()?;
    let filter = search.filter.as_ref().map(|filter| filter.parse::<Filter>()).transpose();
    let params = SearchParams {
        k: search.k,
        bm25: Bm25Params { k1: f32::from_bits(search.k1), b: f32::from_bits(search.b) },
        ef_search: search.ef,
        filter: filter.map_err(fault::of_index)?,
        ..SearchParams::default()
    };
    let words = queries.as_deref().map(|queries| Words { queries, statistics: statistics.as_ref() });
    let asked = Asked { vectors: vectors.as_deref(), words, k: search.k, params: &params };
    let (rankings, times) = Shard::search(database, &asked).map_err(|error| fault::of(&error))?;
    let ranking = |ranking: secateur::search::Ranking| ShardRanking {
        dense: ranking.dense.map(wire::to_hits),
        bm25: ranking.bm25.map(wire::to_hits),
    };
    Ok(ShardRankings {
        rankings: rankings.into_iter().map(ranking).collect(),
        seconds: [times.filter, times.dense, times.bm25].map(|time| time.as_secs_f64()),
    })
}

/// The statistics of all shards. Those that no documents have would give scores that are none.
fn checked(given: &SetStatistics) -> Result<Bm25Statistics, Fault> {
    let SetStatistics { num_docs, num_terms, frequencies } = given;
    if num_docs > num_terms || frequencies.values().any(|n| n > num_docs) {
        let problem = "there are more documents than terms, or more documents with a term than documents";
        return Err(Fault::invalid_field("statistics", problem));
    }
    Ok(Bm25Statistics {
        num_docs: *num_docs,
        num_terms: *num_terms,
        document_frequencies: frequencies.clone(),
    })
}

fn fits(database: &Database, asked: &ShardFilter) -> Result<ShardFits, Fault> {
    let filter = asked.filter.parse::<Filter>().map_err(fault::of_index)?;
    match database.check_filter(&filter) {
        Ok(()) => Ok(ShardFits { fits: true }),
        Err(Error::Index(IndexError::UnknownField { .. } | IndexError::FieldKind { .. })) => {
            Ok(ShardFits { fits: false })
        }
        Err(error) => Err(fault::of(&error)),
    }
}
