//! Times searches of a set of shards, of each of its shards alone, and of one database of the same documents, for
//! `benches/peers/shards.py`.
//!
//! `shard_search --set SET --database DB --queries FILE --mode MODE` reads a query a line, and searches for each by
//! itself, `--rounds` times over. It prints JSON lines `{"what": .., "ms": [..]}`: one for the database, two for the
//! set, on one thread and on two, and one for each shard. Encoding the query is included. The program fails if set and
//! database disagree about a hit or a score.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use rayon::ThreadPool;
use secateur::database::EncoderRecord;
use secateur::encode::default_encoder;
use secateur::shards::ShardSet;
use secateur::{Database, Hit, LoadOptions, SearchMode, SearchParams};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    set: PathBuf,
    #[arg(long)]
    database: PathBuf,
    #[arg(long)]
    queries: PathBuf,
    #[arg(long)]
    mode: SearchMode,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Each query's time in ms, round by round, and its hits.
fn timed(
    (queries, rounds): (&[String], usize),
    pool: &ThreadPool,
    search: impl Fn(&str) -> secateur::Result<Vec<Hit>> + Sync,
) -> Outcome<(Vec<f64>, Vec<Vec<Hit>>)> {
    let (mut times, mut answers) = (Vec::new(), Vec::new());
    // The first round does not count: it reads files.
    for round in 0..=rounds {
        for query in queries {
            let start = Instant::now();
            let hits = pool.install(|| search(query))?;
            match round {
                0 => answers.push(hits),
                _ => times.push(start.elapsed().as_secs_f64() * 1e3),
            }
        }
    }
    Ok((times, answers))
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let text = fs::read_to_string(&arguments.queries)?;
    let queries: Vec<String> = text.lines().map(str::to_owned).collect();
    let asked = (&queries[..], arguments.rounds);
    let params = SearchParams { mode: Some(arguments.mode), ..SearchParams::default() };
    let encoder = Arc::new(default_encoder(&LoadOptions::default())?);
    let reload = |_: &EncoderRecord| Ok::<_, secateur::Error>(Arc::clone(&encoder));
    let database = Database::open_with(&arguments.database, reload)?;
    let set = ShardSet::open_with(&arguments.set, None, reload)?;
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let (one, two) = (pool(1)?, pool(2)?);
    let mut stdout = std::io::stdout();
    let mut say = |what: String, ms: &[f64]| writeln!(stdout, "{}", json!({ "what": what, "ms": ms }));
    let (times, expected) = timed(asked, &one, |query| database.search(query, &params))?;
    say("database".to_owned(), &times)?;
    for (threads, pool) in [(1, &one), (2, &two)] {
        let (times, answers) = timed(asked, pool, |query| set.search(query, &params))?;
        say(format!("set, {threads}"), &times)?;
        if answers != expected {
            return Err("the set and the database disagree".into());
        }
    }
    for number in 0..set.num_shards() {
        let path = arguments.set.join(format!("shard-{number:05}"));
        let shard = Database::open_with(path, reload)?;
        let (times, _) = timed(asked, &one, |query| shard.search(query, &params))?;
        say(format!("shard {number}"), &times)?;
    }
    Ok(())
}
