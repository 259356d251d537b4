//! Times approximate vector search for `benches/peers/ann.py`.
//!
//! `ann_search --rows FILE --queries FILE --dim D` reads raw little-endian f32 files, (N, D) and (Q, D) row-major. It
//! builds a graph and prints one JSON line, `{"build_s": ..}`. With `--database FOLDER` it commits the rows to a
//! database there instead, and searches the files where they are mapped. The line then has `open_ms`, too: the time to
//! open the database. `--backend` chooses the index: our own graph, none, or another library's; with `--codes 1bit` our
//! own graphs are searched with 1-bit codes. Then the program obeys the lines of its standard input, so that the caller
//! can let peers take turns. `time EF THREADS` searches for all queries at once and prints `{"qps": ..}`. `hits EF
//! THREADS` prints `{"hits": [[row, ..], ..]}`. Scores must be those of the exact index, or it fails.
//!
//! `filter EF THREADS SHARE` (with `--database`) searches with a filter that the given share of the rows matches. It
//! compares the cost with that of a search without filter. It prints `{"matches": .., "qps": .., "unfiltered_qps": ..,
//! "recall": .., "complete": true}`; complete means that each answer has min(k, matches) hits. Evaluating the filter
//! counts with every query. The first evaluation, which reads the metadata, is `first_ms`. Each number is the median of
//! five.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use rayon::prelude::*;
use secateur_benches::read_vectors;
use secateur_index::filter::Filter;
use secateur_index::flat::FlatIndex;
use secateur_index::hnsw::HnswParams;
use secateur_index::quantization::CodeType;
use secateur_index::search::{ApproximateIndex, SearchOptions, VectorSearch};
use secateur_index::storage::{NewDocument, Settings, Snapshot, Store, VectorIndex};
use secateur_index::{Hit, Metric};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    rows: PathBuf,
    #[arg(long)]
    queries: PathBuf,
    #[arg(long)]
    dim: usize,
    #[arg(long, default_value_t = 10)]
    k: usize,
    #[arg(long, default_value = "inner-product")]
    metric: Metric,
    #[arg(long, default_value_t = HnswParams::default().m)]
    m: usize,
    #[arg(long, default_value_t = HnswParams::default().ef_construction)]
    ef_construction: usize,
    #[arg(long, value_enum, default_value = "hnsw")]
    backend: VectorIndex,
    #[arg(long, value_enum, default_value_t)]
    codes: CodeType,
    /// A folder for a database, which must not exist.
    #[arg(long)]
    database: Option<PathBuf>,
    /// Threads that build the graph.
    #[arg(long, default_value_t = 2)]
    build_threads: usize,
}

impl Arguments {
    fn index(&self) -> VectorIndex {
        let Arguments { m, ef_construction, codes, .. } = *self;
        self.backend.with_params(HnswParams { m, ef_construction, codes, ..HnswParams::default() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let rows = read_vectors(&arguments.rows)?;
    let queries = read_vectors(&arguments.queries)?;
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let mut stdout = std::io::stdout();
    let build_pool = pool(arguments.build_threads)?;
    let (built_index, stored);
    let mut snapshot: Option<&Snapshot> = None;
    let Arguments { metric, dim, .. } = arguments;
    let (index, built): (Box<dyn VectorSearch>, _) = match &arguments.database {
        None => {
            let start = Instant::now();
            let index: Box<dyn VectorSearch> = match arguments.index() {
                VectorIndex::Flat => Box::new(FlatIndex::new(metric, dim, &rows)?),
                VectorIndex::Approximate { format, .. } => {
                    built_index = build_pool.install(|| format.build(metric, dim, &rows))?;
                    Box::new(ApproximateIndex::new(&rows, &*built_index)?)
                }
            };
            (index, serde_json::json!({ "build_s": start.elapsed().as_secs_f64() }))
        }
        Some(folder) => {
            let seconds = store(folder, &arguments, &rows, &build_pool)?;
            let start = Instant::now();
            stored = Snapshot::open(folder)?;
            let milliseconds = 1000.0 * start.elapsed().as_secs_f64();
            snapshot = Some(&stored);
            (stored.index()?, serde_json::json!({ "build_s": seconds, "open_ms": milliseconds }))
        }
    };
    writeln!(stdout, "{built}")?;
    let mut pools = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, ef, threads, share) = match line.split(' ').collect::<Vec<_>>()[..] {
            [command, ef, threads] => (command, ef, threads, None),
            [command, ef, threads, share] => (command, ef, threads, Some(share.parse::<f64>()?)),
            _ => return Err(format!("{line:?} is not a word and two or three numbers").into()),
        };
        let options = SearchOptions::new(ef.parse()?);
        let threads: usize = threads.parse()?;
        let pool = match pools.entry(threads) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(pool(threads)?),
        };
        if let (Some(share), Some(snapshot)) = (share, snapshot) {
            let run = Filtered { snapshot, queries: &queries, k: arguments.k, ef: options.ef_search };
            writeln!(stdout, "{}", pool.install(|| run.measure(share))?)?;
            stdout.flush()?;
            continue;
        }
        let start = Instant::now();
        let answers = pool.install(|| index.search_batch(&queries, arguments.k, &options))?;
        let seconds = start.elapsed().as_secs_f64();
        let answer = match command {
            "time" => serde_json::json!({ "qps": answers.len() as f64 / seconds }),
            "hits" => {
                for (query, hits) in queries.chunks_exact(arguments.dim).zip(&answers) {
                    let all = index.flat().search(query, 10 * arguments.k)?;
                    if let Some(hit) = hits
                        .iter()
                        .find(|hit| all.iter().any(|true_hit| true_hit.row == hit.row && true_hit != *hit))
                    {
                        return Err(format!("{hit:?} has another score in the exact index").into());
                    }
                }
                let rows: Vec<Vec<u32>> =
                    answers.iter().map(|hits| hits.iter().map(|hit| hit.row.0).collect()).collect();
                serde_json::json!({ "hits": rows })
            }
            other => return Err(format!("{other:?} is not time or hits").into()),
        };
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

/// Searches with filters beside searches without.
struct Filtered<'a> {
    snapshot: &'a Snapshot,
    queries: &'a [f32],
    k: usize,
    ef: usize,
}

impl Filtered<'_> {
    fn measure(&self, share: f64) -> secateur_index::Result<serde_json::Value> {
        let filter: Filter = format!("place < {share:?}").parse()?;
        let start = Instant::now();
        let matches = self.snapshot.matching(&filter)?;
        let first_ms = 1000.0 * start.elapsed().as_secs_f64();
        let index = self.snapshot.index()?;
        let dim = index.flat().dim();
        let filtered = |query: &[f32]| {
            let matches = self.snapshot.matching(&filter)?;
            index.search(query, self.k, &SearchOptions { ef_search: self.ef, filter: Some(&matches) })
        };
        let unfiltered = |query: &[f32]| index.search(query, self.k, &SearchOptions::new(self.ef));
        let answers = self.all(&filtered)?;
        let exact = index.flat().search_batch_among(self.queries, self.k, &matches)?;
        let wanted: usize = exact.iter().map(Vec::len).sum();
        let found = answers.iter().zip(&exact);
        let found: usize =
            found.map(|(found, exact)| found.iter().filter(|hit| exact.contains(hit)).count()).sum();
        let (mut times, mut unfiltered_times) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            for (times, search) in
                [(&mut times, &filtered as &Search<'_>), (&mut unfiltered_times, &unfiltered)]
            {
                let start = Instant::now();
                self.all(search)?;
                times.push(start.elapsed().as_secs_f64());
            }
        }
        let qps = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            (self.queries.len() / dim) as f64 / times[times.len() / 2]
        };
        let (qps, unfiltered_qps) = (qps(times), qps(unfiltered_times));
        Ok(serde_json::json!({
            "matches": matches.len(), "first_ms": first_ms, "qps": qps, "unfiltered_qps": unfiltered_qps,
            "times_as_long": unfiltered_qps / qps, "recall": found as f64 / wanted.max(1) as f64,
            "complete": answers.iter().zip(&exact).all(|(found, exact)| found.len() == exact.len()),
        }))
    }

    fn all(&self, search: &Search<'_>) -> secateur_index::Result<Vec<Vec<Hit>>> {
        self.queries
            .par_chunks_exact(self.snapshot.settings().vectors.map_or(1, |v| v.dim))
            .map(search)
            .collect()
    }
}

type Search<'a> = dyn Fn(&[f32]) -> secateur_index::Result<Vec<Hit>> + Sync + 'a;

/// Stores the rows as documents without text. Returns the seconds of the commit, which builds the graph.
fn store(
    folder: &Path,
    arguments: &Arguments,
    rows: &[f32],
    pool: &rayon::ThreadPool,
) -> Result<f64, Box<dyn Error>> {
    let mut settings = Settings::with_vectors(arguments.metric, arguments.dim);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = arguments.index();
    }
    let mut store = Store::create(folder, &settings)?;
    let mut transaction = store.begin()?;
    for (number, row) in rows.chunks_exact(arguments.dim).enumerate() {
        let id = number.to_string();
        // A number from 0 to 1 that has nothing to do with the vector.
        let place = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11;
        let metadata = format!("{{\"place\": {}}}", place as f64 / (1u64 << 53) as f64);
        transaction
            .add(&NewDocument { id: &id, title: "", text: "", metadata: Some(&metadata) }, Some(row))?;
    }
    let start = Instant::now();
    pool.install(|| transaction.commit())?;
    Ok(start.elapsed().as_secs_f64())
}
