//! Times approximate vector search for `benches/peers/ann.py`.
//!
//! `ann_search --rows FILE --queries FILE --dim D` reads raw little-endian f32 files, (N, D) and (Q, D)
//! row-major, builds a graph and prints one JSON line, `{"build_s": ..}`; with `--database FOLDER` it commits the rows to a
//! database there instead and searches the files where they are mapped. Then it obeys the lines of its standard input, so
//! that the caller can let peers take turns: `time EF THREADS` searches for all queries at once and prints `{"qps": ..}`;
//! `hits EF THREADS` prints `{"hits": [[row, ..], ..]}`. Scores must be those of the exact index, or it fails.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use secateur_index::Metric;
use secateur_index::hnsw::{Graph, HnswIndex, HnswParams, SearchOptions};
use secateur_index::storage::{NewDocument, Settings, Snapshot, Store, VectorIndex};

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
    /// A folder for a database, which must not exist.
    #[arg(long)]
    database: Option<PathBuf>,
    /// Threads that build the graph.
    #[arg(long, default_value_t = 2)]
    build_threads: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let rows = read(&arguments.rows)?;
    let queries = read(&arguments.queries)?;
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let params =
        HnswParams { m: arguments.m, ef_construction: arguments.ef_construction, ..HnswParams::default() };
    let mut stdout = std::io::stdout();
    let build_pool = pool(arguments.build_threads)?;
    let (graph, snapshot);
    let (index, seconds) = match &arguments.database {
        None => {
            let start = Instant::now();
            graph = build_pool.install(|| Graph::build(arguments.metric, arguments.dim, &rows, &params))?;
            let seconds = start.elapsed().as_secs_f64();
            (HnswIndex::new(&rows, &graph)?, seconds)
        }
        Some(folder) => {
            let seconds;
            (snapshot, seconds) = store(folder, &arguments, params, &rows, &build_pool)?;
            (snapshot.hnsw()?, seconds)
        }
    };
    writeln!(stdout, "{}", serde_json::json!({ "build_s": seconds }))?;
    let mut pools = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let [command, ef, threads] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(format!("{line:?} is not a word and two numbers").into());
        };
        let options = SearchOptions::new(ef.parse()?);
        let threads: usize = threads.parse()?;
        let pool = match pools.entry(threads) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(pool(threads)?),
        };
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

/// The rows as documents without text; and the seconds that the commit took, which builds the graph.
fn store(
    folder: &Path,
    arguments: &Arguments,
    params: HnswParams,
    rows: &[f32],
    pool: &rayon::ThreadPool,
) -> Result<(Snapshot, f64), Box<dyn Error>> {
    let mut settings = Settings::with_vectors(arguments.metric, arguments.dim);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = VectorIndex::hnsw(params);
    }
    let mut store = Store::create(folder, &settings)?;
    let mut transaction = store.begin()?;
    for (number, row) in rows.chunks_exact(arguments.dim).enumerate() {
        let id = number.to_string();
        transaction.add(&NewDocument { id: &id, title: "", text: "", metadata: None }, Some(row))?;
    }
    let start = Instant::now();
    pool.install(|| transaction.commit())?;
    Ok((Snapshot::open(folder)?, start.elapsed().as_secs_f64()))
}

fn read(path: &PathBuf) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{} is no file of f32: {} bytes", path.display(), bytes.len()).into());
    }
    Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}
