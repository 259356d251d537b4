//! What is served, and the queues in which it is computed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use secateur_wire::{ShardAnswer, ShardAsk, ShardReply, SnapshotId};
use tokio::sync::{Mutex, Semaphore};

use crate::access::Access;
use crate::batch::{Batches, Bounds, Work};
use crate::budget::Budget;
use crate::collection::{Collection, SearchAnswer, SearchRequest};
use crate::event::Tell;
use crate::fault::Fault;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::model::{Embedder, Kind, Scorer};

/// Searches that are answered together.
const SEARCHES: usize = 32;

/// Large bodies that are parsed, or whose texts are tokenized, at a time. Both take many times their bytes.
const LARGE_AT_A_TIME: usize = 2;

/// Bytes of a text that make a token, about: pairs are counted by it.
const BYTES_OF_TOKEN: usize = 4;

/// What is served. What is not there is answered by an error that says how to start the server with it.
#[derive(Clone, Default)]
pub struct Served {
    /// An encoder; without one that of the database is served.
    pub encoder: Option<Arc<dyn Embedder>>,
    /// A cross-encoder.
    pub reranker: Option<Arc<dyn Scorer>>,
    /// A database.
    pub database: Option<Arc<dyn Collection>>,
}

/// A server's state.
pub struct App {
    pub served: Served,
    pub access: Access,
    pub limits: Limits,
    pub metrics: Arc<Metrics>,
    pub tell: Tell,
    /// The bytes of bodies and answers.
    pub budget: Arc<Budget>,
    /// A permit for each large body that is parsed or tokenized.
    pub large: Arc<Semaphore>,
    /// Held by the one change of the database that goes on: the others wait without a thread.
    pub changing: Arc<Mutex<()>>,
    /// Held while a generation is loaded, in the same way.
    pub loading: Arc<Mutex<()>>,
    pub embedding: Batches<Embedding>,
    pub scoring: Option<Batches<Scoring>>,
    pub searching: Option<Batches<Searching>>,
    pub sharing: Option<Batches<Sharing>>,
}

impl App {
    /// Starts the threads that compute.
    pub fn start(served: Served, access: Access, limits: Limits, tell: Tell) -> std::io::Result<App> {
        let metrics = Arc::new(Metrics::new());
        let bounds = Bounds { items: limits.queue, batch_cost: limits.batch_tokens, threads: 1 };
        let embedding = Embedding { metrics: Arc::clone(&metrics) };
        let embedding = Batches::start("embed", embedding, bounds, metrics.queue("embed"))?;
        let scoring = served
            .reranker
            .clone()
            .map(|scorer| Batches::start("rerank", Scoring { scorer }, bounds, metrics.queue("rerank")));
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        let bounds = Bounds { batch_cost: SEARCHES, threads, ..bounds };
        let searching = served.database.clone().map(|database| {
            Batches::start("search", Searching { database }, bounds, metrics.queue("search"))
        });
        // Each question is many searches already.
        let bounds = Bounds { batch_cost: 1, ..bounds };
        let sharing = served
            .database
            .clone()
            .map(|database| Batches::start("shard", Sharing { database }, bounds, metrics.queue("shard")));
        let (scoring, searching) = (scoring.transpose()?, searching.transpose()?);
        Ok(App {
            served,
            access,
            budget: Budget::new(limits.held_bytes, Arc::clone(&metrics)),
            limits,
            metrics,
            tell,
            large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
            changing: Arc::default(),
            loading: Arc::default(),
            embedding,
            scoring,
            searching,
            sharing: sharing.transpose()?,
        })
    }

    /// Ends the threads once what waits is computed.
    pub fn close(self) {
        self.embedding.close();
        if let Some(scoring) = self.scoring {
            scoring.close();
        }
        if let Some(searching) = self.searching {
            searching.close();
        }
        if let Some(sharing) = self.sharing {
            sharing.close();
        }
    }

    /// The encoder that is served.
    pub fn embedder(&self) -> Result<Arc<dyn Embedder>, Fault> {
        let of_database = || self.served.database.as_ref().and_then(|database| database.embedder());
        self.served.encoder.clone().or_else(of_database).ok_or_else(|| {
            Fault::not_found(
                "no encoder is served: start the server with --encoder MODEL, or with a database of one",
            )
        })
    }

    /// The database that is served.
    pub fn database(&self) -> Result<Arc<dyn Collection>, Fault> {
        self.served.database.clone().ok_or_else(|| {
            Fault::not_found("no database is served: start the server with one, `secateur serve DB`")
        })
    }

    /// The cross-encoder that is served, and its queue.
    pub fn scoring(&self) -> Result<(&dyn Scorer, &Batches<Scoring>), Fault> {
        match (&self.served.reranker, &self.scoring) {
            (Some(scorer), Some(scoring)) => Ok((&**scorer, scoring)),
            _ => Err(Fault::not_found("no cross-encoder is served: start the server with --reranker MODEL")),
        }
    }
}

/// Makes vectors.
pub struct Embedding {
    metrics: Arc<Metrics>,
}

/// A text to make a vector of.
pub struct Text {
    pub embedder: Arc<dyn Embedder>,
    pub kind: Kind,
    pub tokens: Vec<u32>,
}

impl Work for Embedding {
    type Item = Text;
    type Output = Vec<f32>;

    fn cost(&self, text: &Text) -> usize {
        text.tokens.len().max(1)
    }

    fn run(&self, texts: Vec<Text>) -> Vec<Result<Vec<f32>, Fault>> {
        // After a database was reloaded there may be texts for the encoder before.
        type Group = (Arc<dyn Embedder>, Kind, Vec<usize>, Vec<Vec<u32>>);
        let mut groups: BTreeMap<(usize, bool), Group> = BTreeMap::new();
        let mut outputs: Vec<Option<Result<Vec<f32>, Fault>>> = texts.iter().map(|_| None).collect();
        for (place, Text { embedder, kind, tokens }) in texts.into_iter().enumerate() {
            let key = (Arc::as_ptr(&embedder).cast::<()>().addr(), kind == Kind::Query);
            let group = groups.entry(key).or_insert_with(|| (embedder, kind, Vec::new(), Vec::new()));
            group.2.push(place);
            group.3.push(tokens);
        }
        for (embedder, kind, places, tokens) in groups.into_values() {
            let count: usize = tokens.iter().map(Vec::len).sum();
            self.metrics.tokens.fetch_add(count as u64, Ordering::Relaxed);
            let dim = embedder.facts().dim;
            match embedder.embed(&tokens, kind) {
                Ok(vectors) => {
                    for (place, vector) in places.into_iter().zip(vectors.chunks_exact(dim)) {
                        outputs[place] = Some(Ok(vector.to_vec()));
                    }
                }
                // One text may have spoilt it: each by itself says which.
                Err(fault) if places.len() == 1 => outputs[places[0]] = Some(Err(fault)),
                Err(_) => {
                    for (place, tokens) in places.into_iter().zip(tokens) {
                        outputs[place] = Some(embedder.embed(&[tokens], kind));
                    }
                }
            }
        }
        let missing = || Err(Fault::internal("the encoder gave too few vectors"));
        outputs.into_iter().map(|output| output.unwrap_or_else(missing)).collect()
    }
}

/// Scores pairs.
pub struct Scoring {
    scorer: Arc<dyn Scorer>,
}

/// A query and a passage.
pub struct Pair {
    pub query: Arc<str>,
    pub passage: String,
}

impl Work for Scoring {
    type Item = Pair;
    type Output = f32;

    fn cost(&self, pair: &Pair) -> usize {
        let tokens = (pair.query.len() + pair.passage.len()) / BYTES_OF_TOKEN;
        tokens.clamp(1, self.scorer.max_tokens().max(1))
    }

    fn run(&self, pairs: Vec<Pair>) -> Vec<Result<f32, Fault>> {
        let texts: Vec<(&str, &str)> =
            pairs.iter().map(|pair| (&*pair.query, pair.passage.as_str())).collect();
        match self.scorer.score(&texts) {
            Ok(scores) => scores.into_iter().map(Ok).collect(),
            Err(fault) if pairs.len() == 1 => vec![Err(fault)],
            // One pair may have spoilt it: each by itself says which.
            Err(_) => texts
                .iter()
                .map(|pair| {
                    let scores = self.scorer.score(&[*pair])?;
                    scores.first().copied().ok_or_else(|| Fault::internal("the cross-encoder gave no score"))
                })
                .collect(),
        }
    }
}

/// Searches the database.
pub struct Searching {
    database: Arc<dyn Collection>,
}

impl Work for Searching {
    type Item = SearchRequest;
    type Output = SearchAnswer;

    fn cost(&self, _: &SearchRequest) -> usize {
        1
    }

    fn run(&self, requests: Vec<SearchRequest>) -> Vec<Result<SearchAnswer, Fault>> {
        self.database.search(&requests)
    }
}

/// Answers for the database as a shard of a set.
pub struct Sharing {
    database: Arc<dyn Collection>,
}

/// What a shard is asked.
pub struct Question {
    pub generation: Option<String>,
    /// The state that is asked about, if it is known already.
    pub snapshot: Option<SnapshotId>,
    pub ask: ShardAsk,
}

impl Work for Sharing {
    type Item = Question;
    type Output = ShardReply<ShardAnswer>;

    fn cost(&self, _: &Question) -> usize {
        1
    }

    fn run(&self, questions: Vec<Question>) -> Vec<Result<ShardReply<ShardAnswer>, Fault>> {
        let answer = |Question { generation, snapshot, ask }: &Question| {
            self.database.shard(generation.as_deref(), snapshot.as_ref(), ask)
        };
        questions.iter().map(answer).collect()
    }
}
