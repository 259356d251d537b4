//! A writer process is killed at random moments. What it acknowledged is there, whole, and nothing else.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use secateur_index::Metric;
use secateur_index::hnsw::HnswParams;
use secateur_index::storage::{CompactOptions, Settings, Snapshot, Store, VectorIndex};

use crate::{Random, document};

/// Names the database for a process that is to write to it.
const DATABASE: &str = "SECATEUR_TEST_CRASH_DATABASE";

/// Tells it to compact the database after each third change.
const COMPACTS: &str = "SECATEUR_TEST_CRASH_COMPACTS";

/// What change `number` adds, and the ids that it deletes.
fn changes(number: u64) -> (Vec<(String, String)>, Vec<String>) {
    let added =
        (0..=number % 9).map(|part| (format!("{number}-{part}"), format!("text of {number} part {part}")));
    let deleted =
        if number > 3 && number.is_multiple_of(2) { vec![format!("{}-0", number - 3)] } else { Vec::new() };
    (added.collect(), deleted)
}

fn vector(id: &str) -> [f32; 4] {
    let sum = id.bytes().map(f32::from).sum::<f32>();
    [sum, id.len() as f32, 1.0, -sum]
}

/// The documents after change `number`.
fn expected(number: u64) -> BTreeMap<String, String> {
    let mut documents = BTreeMap::new();
    for number in 1..=number {
        let (added, deleted) = changes(number);
        documents.extend(added);
        deleted.iter().for_each(|id| assert!(documents.remove(id).is_some()));
    }
    documents
}

/// The writing process: commits as fast as it can and says so. As a test of its own it does nothing.
#[test]
fn writer_process() {
    let Some(path) = std::env::var_os(DATABASE) else { return };
    let mut store = Store::open(path).unwrap();
    let compacts = std::env::var_os(COMPACTS).is_some();
    for number in last_change(store.snapshot()) + 1.. {
        let (added, deleted) = changes(number);
        let mut transaction = store.begin().unwrap();
        for (id, text) in &added {
            transaction.add(&document(id, text), Some(&vector(id))).unwrap();
        }
        deleted.iter().for_each(|id| transaction.delete(id).unwrap());
        transaction.commit().unwrap();
        // Past the test harness, which would keep it back.
        let mut out = std::io::stdout().lock();
        writeln!(out, "committed {number}").and_then(|()| out.flush()).unwrap();
        if compacts && number.is_multiple_of(3) {
            store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
        }
    }
}

/// The number of the last change: the greatest of those whose documents are there.
fn last_change(snapshot: &Snapshot) -> u64 {
    let ids = snapshot.rows().map(|row| snapshot.id_at(row).unwrap());
    ids.map(|id| id.split_once('-').unwrap().0.parse().unwrap()).max().unwrap_or(0)
}

/// Runs a writer for a while and kills it; returns the last commit it acknowledged.
fn write_until_killed(path: &Path, compacts: bool, pause: Duration) -> Option<u64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    if compacts {
        command.env(COMPACTS, "yes");
    }
    let mut child = command
        .args(["--exact", "crash::writer_process", "--nocapture", "--test-threads=1"])
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The harness puts its own words before the first one.
    let acknowledged =
        |line: &String| line.split_once("committed ").and_then(|(_, number)| number.parse().ok());
    let first = lines.find_map(|line| acknowledged(&line));
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.filter_map(|line| acknowledged(&line)).last().or(first)
}

#[test]
fn killed_writers_lose_nothing() {
    survives_kills(false, 60, 1);
}

#[test]
fn killed_compactions_lose_nothing() {
    survives_kills(true, 60, 2);
}

fn survives_kills(compacts: bool, rounds: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut settings = Settings::with_vectors(Metric::L2, 4);
    if let Some(vectors) = &mut settings.vectors {
        vectors.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(5).with_ef_search(100);
    }
    Store::create(&path, &settings).unwrap();
    let mut random = Random(seed);
    let mut last = 0;
    for round in 0..rounds {
        let pause = Duration::from_micros(random.below(40_000) as u64);
        let acknowledged =
            write_until_killed(&path, compacts, pause).expect("the writer committed before it was killed");
        assert!(acknowledged > last, "round {round}: the writer went on after change {last}");

        // The change under way may have been committed without having been acknowledged.
        let snapshot = Snapshot::open(&path).unwrap();
        last = last_change(&snapshot);
        assert!(
            [acknowledged, acknowledged + 1].contains(&last),
            "round {round}: {last} after {acknowledged}"
        );
        snapshot.verify().unwrap();
        check(&snapshot, last);

        // The next writer removes what the killed one left.
        let store = Store::open(&path).unwrap();
        let folders = std::fs::read_dir(path.join("segments")).unwrap().count();
        assert_eq!(folders, store.snapshot().num_segments(), "round {round}: no folder is left over");
        assert!(
            folders as u64 <= last,
            "round {round}: a folder for each change, but for those that are merged"
        );
        check(store.snapshot(), last);
    }
}

fn check(snapshot: &Snapshot, number: u64) {
    let expected = expected(number);
    assert_eq!(snapshot.len(), expected.len());
    for row in snapshot.rows() {
        let document = snapshot.document_at(row).unwrap();
        assert_eq!(expected.get(&*document.id).map(String::as_str), Some(&*document.text));
        assert_eq!(*snapshot.vector(row).unwrap(), vector(&document.id));
    }
}
