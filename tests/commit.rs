//! A process killed at any moment leaves the state of a commit: the last acknowledged one, or the next.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use secateur::database::{AddOptions, VectorOptions};
use secateur::encode::Passages;
use secateur::index::storage::CompactOptions;
use secateur::{Database, Document, Encoder, LoadOptions, SearchMode, SearchParams};

use crate::support::{Outcome, Random, Sandbox, dataset, model};

/// Tells [`writer`] that it is the process to be killed: the database's folder, and the commit to begin with.
const FOLDER: &str = "SECATEUR_TEST_COMMIT_FOLDER";
const FIRST: &str = "SECATEUR_TEST_COMMIT_FIRST";
const MODEL: &str = "SECATEUR_TEST_COMMIT_MODEL";

/// The generation that comes and goes.
const SECOND: &str = "second";

/// The document that every commit replaces; its text names the commit.
const COUNTER: &str = "counter";

fn counter(n: u64) -> Document {
    Document::new(COUNTER, format!("counter{n}"))
}

/// What commit `n` adds and what it deletes, besides replacing the counter.
fn changes(n: u64) -> (Vec<Document>, Option<String>) {
    let documents = (0..1 + n % 3)
        .map(|i| Document {
            id: format!("{n}-{i}"),
            title: format!("commit {n}"),
            text: format!("text number {i}: marker{n}"),
            metadata: None,
        })
        .collect();
    let deleted = (n > 2 && n.is_multiple_of(2)).then(|| format!("{}-0", n - 2));
    (documents, deleted)
}

/// The ids after commit `n`.
fn ids(n: u64) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for n in 1..=n {
        let (documents, deleted) = changes(n);
        ids.insert(COUNTER.to_owned());
        ids.extend(documents.into_iter().map(|document| document.id));
        if let Some(id) = deleted {
            assert!(ids.remove(&id));
        }
    }
    ids
}

fn encoder(model: Option<&Path>) -> Option<Arc<Encoder>> {
    model.map(|model| Arc::new(Encoder::load(model, &LoadOptions::default()).unwrap()))
}

fn open(folder: &Path, encoder: Option<Arc<Encoder>>) -> Database {
    let database = Database::open(folder).unwrap();
    match encoder {
        Some(encoder) => database.with_encoder(encoder).unwrap(),
        None => database,
    }
}

/// What is done now and then after a commit, and changes no document: compacting, and a second generation that comes
/// and goes.
fn look_after(database: &mut Database, folder: &Path, encoder: Option<&Encoder>, n: u64) {
    if n % 4 == 3 {
        database.compact(&CompactOptions::default(), |_, _| {}).unwrap();
    }
    let Some(encoder) = encoder.filter(|_| n % 5 == 4) else { return };
    if database.generations().len() > 1 {
        return database.drop_generation(SECOND).unwrap();
    }
    let _ = std::fs::remove_file(secateur_files::with_suffix(folder, ".second.journal"));
    database.add_generation(SECOND, encoder, &VectorOptions::default(), |_| {}).unwrap();
}

/// Commits and says so, until it is killed. Without the variables, a test that has nothing to do.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let model = std::env::var_os(MODEL).map(PathBuf::from);
    let encoder = encoder(model.as_deref());
    let mut database = open(folder.as_ref(), encoder.clone());
    for n in std::env::var(FIRST).unwrap().parse::<u64>().unwrap().. {
        let (documents, deleted) = changes(n);
        database.add(&documents).unwrap();
        database.upsert(&[counter(n)]).unwrap();
        if let Some(id) = deleted {
            database.delete(&id).unwrap();
        }
        database.commit().unwrap();
        let mut out = std::io::stdout().lock();
        // The test harness may have left a line open.
        writeln!(out, "\ncommitted {n}").unwrap();
        out.flush().unwrap();
        drop(out);
        look_after(&mut database, folder.as_ref(), encoder.as_deref(), n);
    }
}

/// Lets [`writer`] commit, kills it after `delay`, and gives back the last commit it spoke of.
fn write_and_kill(folder: &Path, model: Option<&Path>, first: u64, delay: Duration) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["commit::writer", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string());
    if let Some(model) = model {
        command.env(MODEL, model);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let committed =
        |line: std::io::Result<String>| line.unwrap().strip_prefix("committed ")?.parse::<u64>().ok();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first commit is waited for, so that the delay does not go by while the process starts.
    let Some(mut last) = lines.by_ref().find_map(committed) else {
        panic!("the writer failed: {:?}", child.wait_with_output());
    };
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    for n in lines.filter_map(committed) {
        last = n;
    }
    last
}

fn survives_kills(model: Option<&Path>, passages: Option<Passages>, rounds: usize, seed: u64) {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("db");
    let encoder = encoder(model);
    let options = VectorOptions { passages, ..VectorOptions::default() };
    let builder = Database::builder(&folder).vector_options(options);
    let builder = match encoder.clone() {
        Some(encoder) => builder.encoder(encoder),
        None => builder,
    };
    builder.create().unwrap();
    let mut random = Random(seed);
    let mut state = 0;
    for round in 0..rounds {
        // A few commits long, so that each of a commit's steps is hit.
        let delay = Duration::from_micros(random.below(150_000));
        let acknowledged = write_and_kill(&folder, model, state + 1, delay);

        let database = open(&folder, encoder.clone());
        database.verify().unwrap();
        let holds = |n: u64| {
            let ids = ids(n);
            database.len() == ids.len()
                && ids.iter().all(|id| database.contains(id).unwrap())
                && (n == 0 || database.document(COUNTER).unwrap() == Some(counter(n)))
        };
        let Some(found) = [acknowledged, acknowledged + 1].into_iter().find(|n| holds(*n)) else {
            panic!(
                "round {round}: {} documents are the state of neither {acknowledged} nor the next",
                database.len()
            );
        };
        state = found;
        // The newest document is whole and found, the newest deletion is in force, in every index.
        let (documents, deleted) = changes(state);
        let newest = documents.last().unwrap();
        assert_eq!(database.document(&newest.id).unwrap().as_ref(), Some(newest));
        let modes = if model.is_some() { &SearchMode::ALL[..] } else { &[SearchMode::Bm25] };
        let names: Vec<String> =
            database.generations().iter().map(|generation| generation.name.clone()).collect();
        let read: Vec<Database> = match &encoder {
            Some(encoder) => names
                .iter()
                .map(|name| database.generation(name).unwrap().with_encoder(Arc::clone(encoder)).unwrap())
                .collect(),
            None => vec![database],
        };
        for (database, mode) in
            read.iter().flat_map(|database| modes.iter().map(move |mode| (database, mode)))
        {
            let params = SearchParams { k: 10_000, num_candidates: Some(10_000), ..SearchParams::new(*mode) };
            let hits = database.search(&format!("marker{state}"), &params).unwrap();
            let what = format!("round {round} {mode} {:?}", database.generation_name());
            assert!(hits.iter().any(|hit| hit.doc_id == newest.id), "{what}: {state} is not found");
            assert!(!hits.iter().any(|hit| Some(&hit.doc_id) == deleted.as_ref()), "{what}");
        }
    }
    // The next writer removes what the kills left: every segment on disk is one of the database.
    Database::check_unlocked(&folder).unwrap();
    let segments = std::fs::read_dir(folder.join("segments")).unwrap().count();
    assert!(segments as u64 <= state, "{segments} segments after {state} commits");
    assert!(!folder.join("MANIFEST.tmp").exists());
}

#[test]
fn killed_writers_of_words_leave_a_commit() {
    survives_kills(None, None, 15, 1);
}

#[test]
fn killed_writers_of_vectors_leave_a_commit() {
    let sandbox = Sandbox::new();
    survives_kills(Some(&model::tiny(&sandbox.path("tiny"))), None, 10, 2);
}

#[test]
fn killed_writers_of_passages_leave_a_commit() {
    let sandbox = Sandbox::new();
    let passages = Some(Passages { length: 8, overlap: 2 });
    survives_kills(Some(&model::tiny(&sandbox.path("tiny"))), passages, 10, 3);
}

#[test]
fn readers_keep_their_state_and_second_writers_are_refused() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path("db");
    let mut writer = Database::builder(&folder).create().unwrap();
    writer.add(&changes(1).0).unwrap();
    writer.commit().unwrap();
    let mut reader = Database::open(&folder).unwrap();

    writer.add(&changes(2).0).unwrap();
    assert_eq!((writer.len(), reader.len()), (2, 2), "nothing is seen before the commit");
    let mut second = Database::open(&folder).unwrap();
    let refused = second.add(&changes(3).0).unwrap_err().to_string();
    assert!(refused.contains("is being written by"), "{refused}");
    writer.commit().unwrap();
    assert_eq!((writer.len(), reader.len()), (5, 2), "a reader stays at the commit it opened");
    reader.refresh().unwrap();
    assert_eq!(reader.len(), 5, "until it asks for the last one");
    second.add(&changes(3).0).unwrap();
    second.commit().unwrap();
    assert_eq!(second.len(), 6, "a writer sees what others have committed");
}

/// A writer that is refused leaves the vectors alone that the other one keeps.
#[test]
fn a_refused_writer_removes_nobodys_journal() {
    let sandbox = Sandbox::new();
    let (folder, encoder) = (sandbox.path("db"), encoder(Some(&model::tiny(&sandbox.path("tiny")))).unwrap());
    Database::builder(&folder).encoder(Arc::clone(&encoder)).create().unwrap();
    let [mut first, mut second] = [(); 2].map(|()| open(&folder, Some(Arc::clone(&encoder))));
    let journal = first.add_journal(&first.generations()[0].clone());
    let of = |documents: Vec<Document>| {
        documents.into_iter().map(|document| Ok::<_, secateur::Error>((document, None)))
    };
    // The second writer comes while the first one reads, before anything is in the journal.
    let during = of(changes(1).0).inspect(|_| {
        assert!(journal.exists());
        let refused =
            second.add_from(of(changes(2).0), AddOptions::default(), |_| {}).unwrap_err().to_string();
        assert!(refused.contains("is being written by"), "{refused}");
    });
    let added = first.add_from(during, AddOptions::default(), |_| assert!(journal.exists())).unwrap();
    assert_eq!((added.num_added, first.len(), journal.exists()), (2, 2, false));
    second.add_from(of(changes(2).0), AddOptions::default(), |_| {}).unwrap();
    assert_eq!((second.len(), journal.exists()), (5, false));
}

/// Of several commands at once one writes and the others are refused: what is said of a document is what became of it.
#[test]
fn adding_at_once_stores_what_it_says() {
    const WRITERS: usize = 6;
    let sandbox = Sandbox::new();
    dataset::generated(&sandbox.path("corpus"), 3);
    sandbox.run(["index", "corpus", "--encoder", "default", "--out", "db"]).ok();
    let mut stored = 3;
    for round in 0..3 {
        let adding: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let name = format!("{round}-{writer}");
                let line = format!("{{\"id\": \"{name}\", \"text\": \"winter roses {name}\"}}\n");
                dataset::write(&sandbox.path("."), &format!("{name}.jsonl"), line);
                let child = sandbox.start(["add", "db", &format!("{name}.jsonl")].map(str::to_owned));
                (name, child)
            })
            .collect();
        let ended: Vec<_> = adding.into_iter().map(|(name, child)| (name, Outcome::wait(child))).collect();
        let database = Database::open(sandbox.path("db")).unwrap();
        for (name, outcome) in ended {
            let is_stored = database.contains(&name).unwrap();
            assert_eq!(outcome.status.success(), is_stored, "{name}: {outcome:?}");
            stored += usize::from(is_stored);
            assert!(is_stored || outcome.stderr.contains("is being written by"), "{name}: {outcome:?}");
        }
        assert_eq!(database.len(), stored);
        let journals = sandbox.names().into_iter().filter(|name| name.contains("journal"));
        assert_eq!(journals.collect::<Vec<_>>(), [""; 0]);
    }
    assert!(stored > 3);
}
