//! Changes a database for `benches/peers/churn.py`: `churn_bench --db FOLDER --rows FILE --dim D`.
//!
//! Reads raw little-endian f32 rows, (N, D), and obeys the lines of its standard input, so that the caller can let
//! peers take turns. Each prints one JSON line with `seconds`:
//!
//! - `bulk A B` adds rows A to B in one commit;
//! - `upsert A B N` replaces N documents, the first with row A, with rows from B on, with a commit each;
//! - `delete A B` deletes the documents A to B in one commit;
//! - `search A B` asks for the ten nearest of each of the rows A to B, one at a time, and prints `hits`, too;
//! - `compact` compacts; `size` prints `bytes`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use secateur_benches::read_vectors;
use secateur_index::Metric;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{CompactOptions, NewDocument, Settings, Snapshot, Store};
use serde_json::{Value, json};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    db: PathBuf,
    #[arg(long)]
    rows: PathBuf,
    #[arg(long)]
    dim: usize,
}

/// How many hits are asked for.
const K: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { db, rows, dim } = Arguments::parse();
    let rows = read_vectors(&rows)?;
    let row = |number: usize| &rows[number * dim..(number + 1) * dim];
    let mut store = Store::create(&db, &Settings::with_vectors(Metric::L2, dim))?;
    // As a reader that stays open: it sees the last commit, and checks only what is new.
    let mut reader = Snapshot::open(&db)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default();
        let numbers: Vec<usize> = words.map(str::parse).collect::<Result<_, _>>()?;
        let start = Instant::now();
        let mut answer = json!({});
        match (command, &numbers[..]) {
            ("bulk", &[first, end]) => {
                let mut transaction = store.begin()?;
                for number in first..end {
                    add(&mut |document| transaction.add(document, Some(row(number))), number)?;
                }
                transaction.commit()?;
            }
            ("upsert", &[id, first, count]) => {
                for number in 0..count {
                    let mut transaction = store.begin()?;
                    let vectors: [&[f32]; 1] = [row(first + number)];
                    add(&mut |document| transaction.upsert(document, &vectors).map(drop), id + number)?;
                    transaction.commit()?;
                }
            }
            ("delete", &[first, end]) => {
                let mut transaction = store.begin()?;
                (first..end).try_for_each(|number| transaction.delete(&number.to_string()))?;
                transaction.commit()?;
            }
            ("search", &[first, end]) => {
                reader = reader.latest()?;
                answer["hits"] = search(&reader, (first..end).map(row))?
            }
            ("compact", []) => drop(store.compact(&CompactOptions::default(), |_, _| {})?),
            ("size", []) => answer["bytes"] = store.snapshot().num_bytes().into(),
            _ => return Err(format!("unknown command {line:?}").into()),
        }
        answer["seconds"] = start.elapsed().as_secs_f64().into();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

type Change<'a> = &'a mut dyn FnMut(&NewDocument<'_>) -> secateur_index::Result<()>;

fn add(change: Change<'_>, number: usize) -> secateur_index::Result<()> {
    let (id, text) = (number.to_string(), format!("document {number}"));
    change(&NewDocument { id: &id, title: "", text: &text, metadata: None })
}

/// The ids of the nearest documents of each query.
fn search<'q>(
    snapshot: &Snapshot,
    queries: impl Iterator<Item = &'q [f32]>,
) -> secateur_index::Result<Value> {
    let index = snapshot.index()?;
    let mut answers = Vec::new();
    for query in queries {
        let hits = index.search(query, K, &SearchOptions::default())?;
        let ids = hits.iter().map(|hit| snapshot.id_at(hit.row));
        answers.push(ids.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(json!(answers))
}
