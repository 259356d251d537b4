//! What a bench finds: the types of results.json. Times are in milliseconds, sizes in bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::plot::{Axis, Plot};
use crate::compare::MovedQuery;
use crate::statistics::Interval;

/// The version of results.json. A later one may have other fields.
pub const FORMAT: u32 = 1;

/// What a bench found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchReport {
    /// [`FORMAT`]
    pub format: u32,
    /// The machines that measured; cells name theirs by its place here.
    pub environments: Vec<Environment>,
    /// What was asked for, on the command line or in a program's own words.
    pub command: String,
    /// How times were taken.
    pub timing: Timing,
    /// The data sets.
    pub datasets: Vec<DatasetFacts>,
    /// The encoders, the one first that the others are compared with.
    pub encoders: Vec<EncoderFacts>,
    /// The cross-encoders that rank anew.
    pub rerankers: Vec<RerankerFacts>,
    /// What it took to encode each corpus with each encoder.
    pub encodings: Vec<EncodingFacts>,
    /// What it took to build each index.
    pub builds: Vec<BuildFacts>,
    /// The measurements.
    pub cells: Vec<Cell>,
    /// What deserves a look.
    pub notes: Vec<String>,
    /// What follows from the rest.
    pub summary: Summary,
}

/// How times were taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Documents asked for in timed searches.
    pub k: usize,
    /// Queries that were answered before any was timed.
    pub warm_up: usize,
    /// How often each of the timed queries was answered.
    pub repetitions: usize,
    /// Decides which queries are timed, and the order of queries and cells.
    pub seed: u64,
}

/// What a data set holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Its name.
    pub name: String,
    /// The data set that it is a part of, whose score is the mean of its parts' scores.
    pub part_of: Option<String>,
    /// The split of the judgments; `None` without judgments.
    pub split: Option<String>,
    /// Documents.
    pub num_documents: usize,
    /// Queries that were answered.
    pub num_queries: usize,
    /// Queries of the split or, without judgments, of the file.
    pub num_queries_in_all: usize,
    /// Judgments of these queries, of any relevance.
    pub num_judgments: usize,
    /// The mean length of title and text in characters.
    pub mean_document_chars: f64,
    /// The mean length of the queries in characters.
    pub mean_query_chars: f64,
    /// BLAKE3 of documents, queries and judgments, sixteen hexadecimal digits.
    pub fingerprint: String,
}

/// What an encoder is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderFacts {
    /// What the bench calls it.
    pub name: String,
    /// Where it was loaded from.
    pub model: String,
    /// What makes it the encoder it is, in hexadecimal digits.
    pub fingerprint: String,
    /// The family of its architecture.
    pub family: String,
    /// Where it computes, and in which precision.
    pub computes_on: String,
    /// The precision of linear layers.
    pub precision: String,
    /// The length of a vector.
    pub dim: usize,
    /// The most tokens of a text that count.
    pub max_length: usize,
    /// Parameters without any head.
    pub parameters: usize,
    /// Those of the embeddings among them.
    pub embedding_parameters: usize,
    /// The weights as they are computed with.
    pub model_bytes: u64,
    /// GFLOP a token of a text of `gflop_length` tokens.
    pub gflop_per_token: f64,
    /// The length for which GFLOP are counted.
    pub gflop_length: usize,
    /// What each layer keeps, in order.
    pub layers: Vec<LayerFacts>,
    /// The width of an MLP that was not pruned, if any layer has an MLP.
    pub full_width: Option<usize>,
    /// The order in which layers are dropped, for attentions, MLPs and blocks, where the scores were found.
    pub drop_order: Option<DropOrder>,
}

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Whether it has its attention.
    pub attention: bool,
    /// The neurons of its MLP; `None` if that was dropped.
    pub mlp_width: Option<usize>,
}

/// Layers in the order in which they would be dropped, the least important first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropOrder {
    /// The model that was scored.
    pub model: String,
    /// Its layers.
    pub num_layers: usize,
    /// By their attentions.
    pub attention: Vec<usize>,
    /// By their MLPs.
    pub mlp: Vec<usize>,
    /// As wholes.
    pub block: Vec<usize>,
}

/// What a cross-encoder is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerankerFacts {
    /// Its name.
    pub name: String,
    /// What makes it what it is, in hexadecimal digits.
    pub fingerprint: String,
    /// How many documents of each query it reads.
    pub top: usize,
}

/// What it took to encode a corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncodingFacts {
    /// The place of the machine in [`BenchReport::environments`].
    pub environment: usize,
    /// The data set.
    pub dataset: String,
    /// The encoder.
    pub encoder: String,
    /// Documents that were encoded while the clock ran; fewer than all after an interruption.
    pub timed_documents: usize,
    /// Their tokens.
    pub timed_tokens: usize,
    /// How long that took, with the tokenizer, in seconds.
    pub seconds: f64,
    /// Of this the tokenizer's part.
    pub tokenize_seconds: f64,
    /// Documents a second.
    pub documents_per_second: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Tokens of batches of 32 in the order of the corpus with padding, over tokens without. This encoder computes
    /// none of the padding; a tool that counts padded tokens counts so many times as many.
    pub padding_ratio: f64,
    /// Tokens of a document on average.
    pub mean_tokens: f64,
    /// Documents that are longer than the encoder reads.
    pub cut_documents: usize,
    /// Queries that are; 0 in older files.
    #[serde(default)]
    pub cut_queries: usize,
    /// The mean cosine of pairs of queries (isotropy, EffiR A.6): 0 where vectors point everywhere. `None` for one
    /// query.
    pub isotropy: Option<f64>,
    /// How similar queries and documents are after each layer; `None` without judgments, or in older files.
    #[serde(default)]
    pub layers: Option<LayerSimilarity>,
}

/// The similarity of queries and documents, layer by layer (EffiR, Fig. 6 and 7): means over queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSimilarity {
    /// Queries that the means are over: the first that have a relevant document.
    pub num_queries: usize,
    /// The places in the order of the forward.
    pub points: Vec<SimilarityPoint>,
}

/// The mean cosines at one place of the forward, hidden states pooled as the encoder pools the last ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityPoint {
    /// "embeddings", "layer", or "vector" for what the encoder gives in the end.
    pub stage: String,
    /// The layer behind which it was measured; `None` but for "layer".
    pub layer: Option<usize>,
    /// With a relevant document.
    pub relevant: f64,
    /// With a relevant document of another query.
    pub other: f64,
}

/// What it took to build an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildFacts {
    /// The place of the machine in [`BenchReport::environments`].
    pub environment: usize,
    /// The data set.
    pub dataset: String,
    /// The encoder; `None` where there are words only.
    pub encoder: Option<String>,
    /// The index of the vectors; `None` where there are words only.
    pub index: Option<String>,
    /// From the vectors and documents to an open database, in seconds. Encoding is not in it.
    pub seconds: f64,
    /// All files.
    pub bytes: u64,
    /// By kind: documents, words, vectors, codes, graph, other.
    pub bytes_by_kind: BTreeMap<String, u64>,
}

/// A combination of data set, encoder, index and mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// The data set.
    pub dataset: String,
    /// The encoder; `None` where words alone answer.
    pub encoder: Option<String>,
    /// The index of the vectors; `None` where words alone answer.
    pub index: Option<String>,
    /// `dense`, `bm25` or `hybrid`.
    pub mode: String,
    /// The cross-encoder that ranks the best documents anew.
    pub reranker: Option<String>,
}

impl CellKey {
    /// The same without the data set, such as `minilm, hnsw, dense`.
    pub fn system(&self) -> String {
        let parts =
            [self.encoder.as_deref(), self.index.as_deref(), Some(&self.mode), self.reranker.as_deref()];
        parts.into_iter().flatten().collect::<Vec<&str>>().join(", ")
    }

    /// A name for files.
    pub fn file_name(&self) -> String {
        let name = format!("{}.{}", self.dataset, self.system().replace(", ", "."));
        super::folder::file_name(&name)
    }
}

/// What was measured of a combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Which.
    pub key: CellKey,
    /// The place of its machine in [`BenchReport::environments`].
    pub environment: usize,
    /// Its place in the shuffled order, from 0.
    pub position: usize,
    /// How good the answers are; `None` without judgments.
    pub quality: Option<Quality>,
    /// How much the answers agree with those of the first encoder with the same index and mode; `None` for those.
    pub agreement: Option<Agreement>,
    /// Clients that each wait for an answer before they ask again: one, then several.
    pub closed: Vec<Load>,
    /// Queries that arrive at a fixed rate, whether earlier ones are answered or not.
    pub open: Load,
    /// The share of the exact search's first ten that the index finds, over all queries; `None` where words answer.
    pub recall: Option<f64>,
    /// What the index alone does with other search parameters; empty but for `dense`.
    pub curve: Vec<CurvePoint>,
    /// Memory of the process that is resident when the queries are answered.
    pub resident_bytes: Option<u64>,
    /// The same before encoder and database were loaded.
    pub resident_before_bytes: Option<u64>,
}

/// How good answers are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// How they were evaluated.
    pub rules: String,
    /// Queries that the means are over.
    pub num_queries: usize,
    /// By the name of the measure.
    pub means: BTreeMap<String, Estimate>,
    /// By the query's id: the values of the measures in the order of [`MEASURES`](super::MEASURES).
    pub per_query: BTreeMap<String, Vec<f64>>,
}

/// A mean, and how far it would move with other queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The 95% bootstrap interval; `None` of a single query.
    pub interval: Option<Interval>,
}

/// How much answers agree with those of the first encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The encoder that is compared with.
    pub with: String,
    /// The mean share of the first ten that both have.
    pub overlap_at_10: f64,
    /// The mean of Kendall's tau-b over the first ten of either.
    pub rank_correlation: f64,
    /// The queries whose answers lost most; by nDCG@10 or, without judgments, by overlap.
    pub losses: Vec<MovedQuery>,
}

/// How fast queries are answered under a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Clients that ask at the same time, or at most, where queries arrive at a rate.
    pub concurrency: usize,
    /// The rate at which queries arrive, a second; `None` where each client waits for its answer.
    pub rate: Option<f64>,
    /// Queries that were answered.
    pub num_queries: usize,
    /// From the first question to the last answer, in seconds.
    pub seconds: f64,
    /// Queries answered a second.
    pub queries_per_second: f64,
    /// From text to documents; at a fixed rate from the moment at which the query was to arrive.
    pub latency: Percentiles,
    /// The parts of the time, by their names, without waiting.
    pub stages: BTreeMap<String, Percentiles>,
    /// The mean of all parts together.
    pub stage_sum: f64,
    /// The least and the greatest median of a repetition; equal for a single one.
    pub median_range: [f64; 2],
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 19 of 20 take no longer.
    pub p95: f64,
    /// 99 of 100 take no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What an index does with a search parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The ef of the search; `None` where there is no such parameter.
    pub ef_search: Option<usize>,
    /// The share of the exact search's first ten that it finds.
    pub recall: f64,
    /// Searches a second of one client, from vector to ids.
    pub queries_per_second: f64,
    /// The median of a search in milliseconds.
    pub p50: f64,
}

/// What follows from the measurements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The latency that the recommendation keeps, in milliseconds.
    pub within: f64,
    /// Every combination of encoder, index, mode and machine, in the order of the cells' keys.
    pub systems: Vec<System>,
    /// The places of those in `systems` that are recommended: one of each machine at most. There is none where none
    /// keeps the latency, or nothing was judged.
    pub recommended: Vec<usize>,
    /// The recommendation in a sentence, or in one for each machine.
    pub sentence: String,
    /// The drawings of the report.
    pub plots: Vec<Plot>,
    /// The axis of the bars that tell where the time of a query goes.
    pub breakdown: Axis,
}

/// A combination of encoder, index and mode over all data sets. Means are over data sets; those that are parts of one
/// count as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct System {
    /// Its name, such as `minilm, hnsw, dense`.
    pub name: String,
    /// The encoder; `None` where words alone answer.
    pub encoder: Option<String>,
    /// The index of the vectors.
    pub index: Option<String>,
    /// How it searches.
    pub mode: String,
    /// The machine's place in [`BenchReport::environments`].
    pub environment: usize,
    /// nDCG@10 by data set, parts of one averaged.
    pub scores: BTreeMap<String, f64>,
    /// Data sets that it was measured on, judged or not, parts of one counted as one.
    pub num_datasets: usize,
    /// Means of the measures, by name.
    pub means: BTreeMap<String, f64>,
    /// The mean of the medians at concurrency 1.
    pub p50: f64,
    /// The greatest 95th percentile of a data set at concurrency 1.
    pub p95: f64,
    /// The mean of the queries a second of the second closed loop.
    pub queries_per_second: f64,
    /// Parameters of the encoder.
    pub parameters: Option<usize>,
    /// How many times as fast as with the first encoder a query is tokenized and encoded, by medians.
    pub query_speedup: Option<f64>,
    /// How many times as many documents a second as the first encoder's are encoded.
    pub document_speedup: Option<f64>,
    /// Whether no other combination of this machine is as good and faster, or as fast and better.
    pub is_on_latency_front: bool,
    /// Whether no other encoder with this index and mode is as good and smaller, or as small and better.
    pub is_on_size_front: bool,
}
