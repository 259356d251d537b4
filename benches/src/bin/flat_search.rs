//! Times exact vector search for `benches/peers/flat.py`.
//!
//! `flat_search --rows FILE --queries FILE --dim D --threads N` reads raw little-endian f32 files, (N, D) and (Q, D)
//! row-major. Then it obeys the lines of its standard input, so that the caller can let peers take turns. `single`
//! times each query by itself, `batch` all of them at once; both print one JSON line `{"ms": [..]}`. `hits` prints one
//! JSON line a query, `[[row, score], ..]`, and ends. The program fails if singles and batches disagree.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use secateur_benches::read_vectors;
use secateur_index::flat::FlatIndex;
use secateur_index::quantization::Int8CodesBuf;
use secateur_index::{Hit, Metric};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    rows: PathBuf,
    #[arg(long)]
    queries: PathBuf,
    #[arg(long)]
    dim: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 10)]
    k: usize,
    #[arg(long, default_value = "inner-product")]
    metric: Metric,
    /// Without the 8-bit copies that a database keeps beside the vectors.
    #[arg(long)]
    no_codes: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let rows = read_vectors(&arguments.rows)?;
    let queries = read_vectors(&arguments.queries)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build()?;
    let codes = Int8CodesBuf::new(arguments.metric, arguments.dim, &rows)?;
    let index = match arguments.no_codes {
        true => FlatIndex::new(arguments.metric, arguments.dim, &rows)?,
        false => FlatIndex::with_codes(&rows, &codes)?,
    };
    let single = || -> secateur_index::Result<(Vec<f64>, Vec<Vec<Hit>>)> {
        let mut times = Vec::new();
        let mut answers = Vec::new();
        for query in queries.chunks_exact(arguments.dim) {
            let start = Instant::now();
            answers.push(pool.install(|| index.search(query, arguments.k))?);
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        Ok((times, answers))
    };
    let batch = || -> secateur_index::Result<(Vec<f64>, Vec<Vec<Hit>>)> {
        let start = Instant::now();
        let answers = pool.install(|| index.search_batch(&queries, arguments.k))?;
        Ok((vec![start.elapsed().as_secs_f64() * 1e3], answers))
    };
    let mut stdout = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let (times, _) = match line?.as_str() {
            "single" => single()?,
            "batch" => batch()?,
            "hits" => {
                let (answers, others) = (single()?.1, batch()?.1);
                if answers != others {
                    return Err("single and batch search differ".into());
                }
                for hits in answers {
                    let hits: Vec<_> =
                        hits.iter().map(|hit| serde_json::json!([hit.row.0, hit.score])).collect();
                    writeln!(stdout, "{}", serde_json::Value::from(hits))?;
                }
                return Ok(());
            }
            other => return Err(format!("{other:?} is not single, batch or hits").into()),
        };
        writeln!(stdout, "{}", serde_json::json!({ "ms": times }))?;
        stdout.flush()?;
    }
    Ok(())
}
