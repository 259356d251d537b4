//! One combination: its answers, their quality, and its times.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secateur_datasets::{Run, ScoredDocument};
use serde::{Deserialize, Serialize};

use super::MEASURES;
use super::clients::{Schedule, percentiles};
use super::dataset::Dataset;
use super::encoding::RECALL_AT;
use super::environment::resident_bytes;
use super::options::BenchOptions;
use super::pipeline::Pipeline;
use super::result::{Cell, CellKey, CurvePoint, Estimate, Quality};
use crate::database::{Database, EncoderSource};
use crate::encode::ScorePairs;
use crate::error::Result;
use crate::eval::{Evaluation, evaluate};
use crate::progress::Progress;
use crate::search::{SearchMode, SearchParams};
use crate::statistics::{Bootstrap, overlap};

/// Documents that measures look at.
const DEPTH: usize = 100;

/// The search parameters whose recall and speed are told.
const EFS: [usize; 6] = [10, 20, 40, 80, 160, 320];

/// A combination to be measured.
pub(super) struct Task<'a> {
    pub key: CellKey,
    pub mode: SearchMode,
    pub dataset: &'a Dataset,
    pub encoder: Option<&'a EncoderSource>,
    pub database: &'a Path,
    /// By query, the documents of an exact search; `None` where words alone answer.
    pub exact: Option<&'a BTreeMap<String, Vec<String>>>,
    pub reranker: Option<&'a (dyn ScorePairs + Sync)>,
    /// Its place in the shuffled order.
    pub position: usize,
}

/// A cell with the answers it was judged by.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    pub cell: Cell,
    pub answers: BTreeMap<String, Vec<(String, f64)>>,
}

impl Measured {
    /// The answers as a run.
    pub fn run(&self) -> Run {
        let hit = |(doc_id, score): &(String, f64)| ScoredDocument { doc_id: doc_id.clone(), score: *score };
        self.answers.iter().map(|(id, hits)| (id.clone(), hits.iter().map(hit).collect())).collect()
    }
}

impl Task<'_> {
    pub fn measure(&self, options: &BenchOptions, on: &mut dyn FnMut(Progress<'_>)) -> Result<Measured> {
        let resident_before_bytes = resident_bytes();
        let mut database = Database::open(self.database)?;
        if let Some(source) = self.encoder {
            database = database.with_encoder(Arc::new(source.load()?))?;
            database.search_on(source.options.device)?;
        }
        let read = |wanted| if self.reranker.is_some() { options.reranker_top() } else { wanted };
        let timed = SearchParams { k: read(options.k), ..SearchParams::new(self.mode) };
        let pipeline =
            Pipeline { database: &database, params: &timed, reranker: self.reranker, k: options.k };

        // Where the rules take a document out of the ranking, one more is needed.
        let depth = DEPTH + usize::from(self.dataset.rules.drop_identical_ids);
        let judged = SearchParams { k: read(depth), ..timed.clone() };
        let judging = Pipeline { params: &judged, k: depth, ..pipeline };
        let num_queries = self.dataset.queries.len() as u64;
        on(Progress::Begins { what: "answering", unit: "query", total: &|| Some(num_queries) });
        let run = judging.run(&self.dataset.queries, |done| on(Progress::Done(done)))?;
        let quality = match &self.dataset.qrels {
            None => None,
            Some(qrels) => {
                Some(quality(&evaluate(qrels, &run, &MEASURES, &self.dataset.rules)?, options.seed))
            }
        };
        let is_plain = self.mode == SearchMode::Dense && self.reranker.is_none();
        let exact = self.exact.filter(|_| is_plain);

        let texts: Vec<&str> = self.dataset.queries.iter().map(|(_, text)| text.as_str()).collect();
        let schedule = Schedule::new(&texts, options.timed_queries, options.repetitions, options.seed);
        on(Progress::Begins { what: "timing", unit: "load", total: &|| Some(3) });
        schedule.warm_up(pipeline, options.warm_up)?;
        let alone = schedule.closed(pipeline, 1)?;
        on(Progress::Done(1));
        let together = schedule.closed(pipeline, options.clients())?;
        on(Progress::Done(2));
        let rate = options.rate.unwrap_or(together.queries_per_second / 2.0);
        let open = schedule.open(pipeline, options.clients(), rate)?;
        on(Progress::Done(3));
        let resident = resident_bytes();
        let curve = match exact {
            Some(exact) => self.curve(&database, exact, options)?,
            None => Vec::new(),
        };
        let cell = Cell {
            key: self.key.clone(),
            environment: 0,
            position: self.position,
            quality,
            agreement: None,
            closed: vec![alone, together],
            open,
            recall: exact.map(|exact| recall(&run, exact)),
            curve,
            resident_bytes: resident,
            resident_before_bytes,
        };
        let answers = run.into_iter().map(|(id, hits)| {
            (id, hits.into_iter().map(|hit| (hit.doc_id, hit.score)).collect::<Vec<(String, f64)>>())
        });
        Ok(Measured { cell, answers: answers.collect() })
    }

    /// What the index alone does with other search parameters: one client, from vector to ids.
    fn curve(
        &self,
        database: &Database,
        exact: &BTreeMap<String, Vec<String>>,
        options: &BenchOptions,
    ) -> Result<Vec<CurvePoint>> {
        let queries = &self.dataset.queries[..self.dataset.queries.len().min(options.timed_queries)];
        let texts: Vec<&str> = queries.iter().map(|(_, text)| text.as_str()).collect();
        let Some(dim) = database.dim() else { return Ok(Vec::new()) };
        let vectors = database.encode_queries(&texts)?;
        let efs: Vec<Option<usize>> = match database.vector_index().and_then(|index| index.ef_search()) {
            Some(_) => EFS.iter().map(|ef| Some(*ef)).collect(),
            None => vec![None],
        };
        let mut curve = Vec::with_capacity(efs.len());
        for ef_search in efs {
            let params = SearchParams { k: RECALL_AT, ef_search, ..SearchParams::new(SearchMode::Dense) };
            let (mut times, mut recalls) = (Vec::with_capacity(queries.len()), 0.0);
            for is_timed in [false, true] {
                for ((id, _), vector) in queries.iter().zip(vectors.chunks_exact(dim)) {
                    let start = Instant::now();
                    let hits = database.search_vector(vector, &params)?;
                    if is_timed {
                        times.push(1000.0 * start.elapsed().as_secs_f64());
                        let found: Vec<&str> = hits.iter().map(|hit| hit.doc_id.as_str()).collect();
                        recalls += share_found(&found, exact.get(id));
                    }
                }
            }
            let latency = percentiles(times);
            curve.push(CurvePoint {
                ef_search,
                recall: recalls / queries.len() as f64,
                queries_per_second: 1000.0 / latency.mean.max(f64::MIN_POSITIVE),
                p50: latency.p50,
            });
        }
        Ok(curve)
    }
}

/// The mean share of the true best documents that a run has among its first.
fn recall(run: &Run, exact: &BTreeMap<String, Vec<String>>) -> f64 {
    let of = |(id, hits): (&String, &Vec<ScoredDocument>)| {
        let found: Vec<&str> = hits.iter().take(RECALL_AT).map(|hit| hit.doc_id.as_str()).collect();
        share_found(&found, exact.get(id))
    };
    run.iter().map(of).sum::<f64>() / run.len().max(1) as f64
}

fn share_found(found: &[&str], exact: Option<&Vec<String>>) -> f64 {
    let exact: Vec<&str> = exact.into_iter().flatten().map(String::as_str).collect();
    overlap(&exact, found, RECALL_AT).unwrap_or(1.0)
}

fn quality(evaluation: &Evaluation, seed: u64) -> Quality {
    let bootstrap = Bootstrap { seed, ..Bootstrap::default() };
    let means = evaluation.measures.iter().enumerate().map(|(number, measure)| {
        let values: Vec<f64> = evaluation.per_query.values().map(|values| values[number]).collect();
        let estimate = Estimate { mean: evaluation.means[number], interval: bootstrap.of_mean(&values) };
        (measure.to_string(), estimate)
    });
    Quality {
        rules: evaluation.rules.to_string(),
        num_queries: evaluation.per_query.len(),
        means: means.collect(),
        per_query: evaluation.per_query.clone(),
    }
}
