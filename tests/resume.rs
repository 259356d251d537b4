//! Work that is killed or interrupted goes on where it stopped, and ends with the bytes of an undisturbed run.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use secateur_testkit::minilm;

use crate::support::{Outcome, Random, Sandbox, copy_folder, dataset, model, tree};

/// The header of a journal, and of each chunk in it (index/FORMAT.md).
const JOURNAL_HEADER: u64 = 64;
const CHUNK_HEADER: u64 = 48;

/// Texts in a chunk of the journal.
const CHUNK_TEXTS: u64 = 128;

/// How many texts take long enough to be killed at several places: with MiniLM, and with the tiny model.
const FEW: usize = 1200;
const MANY: usize = 8000;

/// A command that keeps a journal.
struct Work {
    arguments: Vec<String>,
    journal: &'static str,
    /// The vectors' length.
    dim: usize,
}

impl Work {
    fn new(subcommand: &str, encoder: &str, out: &'static str, dim: usize) -> Work {
        let arguments =
            [subcommand, "corpus", "--encoder", encoder, "--out", out].map(str::to_owned).to_vec();
        let journal = if out.ends_with(".npy") { "out.npy.journal" } else { "db.journal" };
        Work { arguments, journal, dim }
    }

    /// Up to the end of the last whole chunk of a journal of `len` bytes.
    fn whole(&self, len: u64) -> u64 {
        let chunk = CHUNK_HEADER + CHUNK_TEXTS * self.dim as u64 * 4;
        if len < JOURNAL_HEADER { 0 } else { JOURNAL_HEADER + (len - JOURNAL_HEADER) / chunk * chunk }
    }

    fn journal_len(&self, sandbox: &Sandbox) -> Option<u64> {
        std::fs::metadata(sandbox.path(self.journal)).ok().map(|metadata| metadata.len())
    }

    /// Starts the command and waits until its journal holds a whole chunk.
    fn start_and_wait_for_a_chunk(&self, sandbox: &Sandbox) -> Child {
        self.start_and_wait_for_chunks(sandbox, 1)
    }

    fn start_and_wait_for_chunks(&self, sandbox: &Sandbox, count: u64) -> Child {
        let mut child = sandbox.start(&self.arguments);
        let len = JOURNAL_HEADER + count * (CHUNK_HEADER + CHUNK_TEXTS * self.dim as u64 * 4);
        while self.whole(self.journal_len(sandbox).unwrap_or(0)) < len {
            if child.try_wait().unwrap().is_some() {
                panic!("it ended before a chunk was seen: {:?}", Outcome::wait(child));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }
}

/// The files of a result, and nothing else: the matrix and its ids, or all files of a database but for its manifest.
fn result(sandbox: &Sandbox) -> BTreeMap<PathBuf, Vec<u8>> {
    assert_eq!(sandbox.temporary_names(), [""; 0]);
    let mut files = BTreeMap::new();
    for name in sandbox.names() {
        match name.as_str() {
            "out.npy" | "out.npy.ids" => {
                files.insert(PathBuf::from(&name), std::fs::read(sandbox.path(&name)).unwrap());
            }
            "db" => {
                sandbox.run(["verify", "db"]).ok();
                files.extend(tree(&sandbox.path("db")));
                // It says where the model is, which each test has elsewhere.
                files.remove(Path::new("MANIFEST")).unwrap();
            }
            "corpus" | "model" => {}
            other => panic!("{other} is left beside the output"),
        }
    }
    assert!(files.len() >= 2, "{:?}", files.keys());
    files
}

/// Kills the command at random moments, runs it again each time, and at last to its end.
fn kill_and_resume(work: &Work, sandbox: impl Fn() -> Sandbox) {
    let undisturbed = sandbox();
    let start = Instant::now();
    undisturbed.run(&work.arguments).ok();
    let duration = start.elapsed();
    let expected = result(&undisturbed);

    let sandbox = sandbox();
    let mut random = Random(work.dim as u64);
    let mut child = work.start_and_wait_for_a_chunk(&sandbox);
    let mut kept = 0;
    for _ in 0..10 {
        child.kill().unwrap();
        let ended = Outcome::wait(child).status.success();
        // The journal is removed last. So if it is gone the result is whole, even if the process had not exited yet.
        let Some(len) = work.journal_len(&sandbox).filter(|_| !ended) else {
            assert_eq!(result(&sandbox), expected);
            return;
        };
        assert!(work.whole(len) >= kept, "chunks that were written are gone");
        kept = work.whole(len);
        // Any moment of a run: loading, reading the journal, encoding, indexing, the last renames.
        let moment = Instant::now() + duration.mul_f64(random.below(1000) as f64 / 1000.0);
        child = sandbox.start(&work.arguments);
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            // No journal at all: this run has come to its end and removed it.
            let len = work.journal_len(&sandbox).unwrap_or(kept);
            assert!(len >= kept, "a run began anew: the journal went from {kept} to {len} bytes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Outcome::wait(child).ok();
    assert_eq!(result(&sandbox), expected);
}

fn with_tiny_model() -> Sandbox {
    let sandbox = Sandbox::new();
    dataset::generated(&sandbox.path("corpus"), MANY);
    model::tiny(&sandbox.path("model"));
    sandbox
}

fn with_few_texts() -> Sandbox {
    let sandbox = Sandbox::new();
    dataset::generated(&sandbox.path("corpus"), FEW);
    sandbox
}

#[test]
fn index_resumes_after_kills() {
    kill_and_resume(&Work::new("index", "model", "db", model::DIM), with_tiny_model);
}

#[test]
fn encode_resumes_after_kills() {
    kill_and_resume(&Work::new("encode", "model", "out.npy", model::DIM), with_tiny_model);
}

#[test]
fn index_with_minilm_resumes_after_kills() {
    let Some(minilm) = minilm("index_with_minilm_resumes_after_kills") else { return };
    kill_and_resume(&Work::new("index", minilm.to_str().unwrap(), "db", 384), with_few_texts);
}

#[test]
fn encode_with_minilm_resumes_after_kills() {
    let Some(minilm) = minilm("encode_with_minilm_resumes_after_kills") else { return };
    kill_and_resume(&Work::new("encode", minilm.to_str().unwrap(), "out.npy", 384), with_few_texts);
}

#[test]
fn signals_end_with_130_and_say_that_work_is_kept() {
    for (subcommand, out) in [("index", "db"), ("encode", "out.npy")] {
        let work = Work::new(subcommand, "model", out, model::DIM);
        let undisturbed = with_tiny_model();
        undisturbed.run(&work.arguments).ok();

        for signal in ["-INT", "-TERM"] {
            let sandbox = with_tiny_model();
            let child = work.start_and_wait_for_a_chunk(&sandbox);
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
            let outcome = Outcome::wait(child);
            assert_eq!(outcome.status.code(), Some(130), "{subcommand} {signal}: {outcome:?}");
            let said = ": the vectors so far are kept; run the same command again to go on";
            assert!(outcome.stderr.contains(said), "{subcommand} {signal}: {outcome:?}");
            assert!(
                !sandbox.path(out).exists(),
                "{subcommand} {signal}: the output appears when it is whole"
            );
            sandbox.run(&work.arguments).ok();
            assert_eq!(result(&sandbox), result(&undisturbed), "{subcommand} {signal}");
        }
    }
}

/// A journal of its header alone is nothing to go on from.
#[test]
fn signals_before_the_first_vectors_say_that_nothing_is_kept() {
    for (subcommand, out) in [("index", "db"), ("encode", "out.npy")] {
        let sandbox = with_tiny_model();
        // A text that takes long, so that the signal comes before its vector.
        let corpus = format!("{{\"_id\": \"1\", \"text\": \"{}\"}}\n", "winter roses ".repeat(500_000));
        std::fs::write(sandbox.path("corpus/corpus.jsonl"), corpus).unwrap();
        let work = Work::new(subcommand, "model", out, model::DIM);
        let mut child = sandbox.start(&work.arguments);
        while work.journal_len(&sandbox).is_none_or(|len| len < JOURNAL_HEADER) {
            assert!(child.try_wait().unwrap().is_none(), "{:?}", Outcome::wait(child));
            std::thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let outcome = Outcome::wait(child);
        let is_empty = work.journal_len(&sandbox) == Some(JOURNAL_HEADER);
        assert_eq!(outcome.status.code(), Some(130), "{subcommand}: {outcome:?}");
        let said = "interrupted before the first results were kept: the same command begins anew";
        assert!(!is_empty || outcome.stderr.contains(said), "{subcommand}: {outcome:?}");
    }
}

#[test]
fn a_killed_index_leaves_no_database_that_answers() {
    let sandbox = with_tiny_model();
    let work = Work::new("index", "model", "db", model::DIM);
    let mut child = work.start_and_wait_for_a_chunk(&sandbox);
    child.kill().unwrap();
    child.wait().unwrap();
    sandbox.run(["search", "db", "rose"]).fails(4, ["the database db is unfinished", "again"]);
    // Nor does it answer by its temporary name, under which it holds nothing.
    sandbox
        .run(["search", "db.partial", "rose", "--mode", "bm25"])
        .fails(4, ["the database db is unfinished", "again"]);
}

#[test]
fn a_journal_serves_the_same_texts_and_settings_only() {
    // A text changes, or the encoder does. The journal's old vectors must not be used then, nor thrown away unasked.
    type Change = fn(&Sandbox, &mut Work);
    let changes: [(&str, Change); 3] = [
        ("all documents change", |sandbox, _| {
            let corpus = sandbox.path("corpus/corpus.jsonl");
            let text = std::fs::read_to_string(&corpus).unwrap();
            let changed = text.replace(r#""title":"""#, r#""title":"honey""#);
            assert_ne!(changed, text);
            std::fs::write(corpus, changed).unwrap();
        }),
        ("texts are cut shorter", |_, work| {
            work.arguments.extend(["--max-length", "9"].map(str::to_owned));
        }),
        ("passages get a prompt", |_, work| {
            work.arguments.extend(["--passage-prompt", "passage "].map(str::to_owned));
        }),
    ];
    for (what, change) in changes {
        for (subcommand, out) in [("index", "db"), ("encode", "out.npy")] {
            let mut work = Work::new(subcommand, "model", out, model::DIM);
            let sandbox = with_tiny_model();
            let mut child = work.start_and_wait_for_chunks(&sandbox, 2);
            child.kill().unwrap();
            child.wait().unwrap();
            change(&sandbox, &mut work);
            let kept = sandbox.path(work.journal);
            let before = std::fs::read(&kept).unwrap();
            sandbox.run(&work.arguments).fails(4, [work.journal, "or remove the file to begin anew"]);
            assert_eq!(
                std::fs::read(&kept).unwrap()[..JOURNAL_HEADER as usize],
                before[..JOURNAL_HEADER as usize]
            );
            std::fs::remove_file(kept).unwrap();
            sandbox.run(&work.arguments).ok();

            let fresh = Sandbox::new();
            for folder in ["corpus", "model"] {
                copy_folder(&sandbox.path(folder), &fresh.path(folder));
            }
            fresh.run(&work.arguments).ok();
            assert_eq!(result(&sandbox), result(&fresh), "{subcommand}: {what}");
        }
    }
}

/// Options that change no vector may be others when the work goes on.
#[test]
fn vectors_serve_another_analyzer_and_index() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("model"));
    let lines = |ids: std::ops::Range<usize>| -> String {
        ids.map(|id| format!("{{\"id\": \"{id}\", \"text\": \"die alten rosen {id}\"}}\n")).collect()
    };
    let index = |out, rest: &[&str]| {
        sandbox.run(["index", "a.jsonl", "--encoder", "model", "--out", out].iter().chain(rest))
    };
    let other = ["--analyzer", "german", "--index", "hnsw"];
    // The last line is bad, so that vectors are in the journal when the work ends.
    dataset::write(&sandbox.path("."), "a.jsonl", lines(0..400) + "bad\n");
    index("db", &[]).fails(3, ["a.jsonl:401"]);
    dataset::write(&sandbox.path("."), "a.jsonl", lines(0..400));
    let outcome = index("db", &other);
    assert!(outcome.stderr.starts_with("going on from "), "{outcome:?}");
    outcome.ok();
    index("fresh", &other).ok();
    let files = |name| {
        let mut files = tree(&sandbox.path(name));
        files.remove(Path::new("MANIFEST")).unwrap();
        files
    };
    assert_eq!(files("db"), files("fresh"));
}

/// A line of the corpus may be mended while the work is interrupted: the result is that of the mended corpus.
#[test]
fn a_mended_line_does_not_stop_the_work() {
    for (subcommand, out) in [("index", "db"), ("encode", "out.npy")] {
        let work = Work::new(subcommand, "model", out, model::DIM);
        let sandbox = with_tiny_model();
        let mut child = work.start_and_wait_for_chunks(&sandbox, 3);
        child.kill().unwrap();
        child.wait().unwrap();
        let corpus = sandbox.path("corpus/corpus.jsonl");
        let text = std::fs::read_to_string(&corpus).unwrap();
        let mended = text.replace(r#""doc-5","title":"""#, r#""doc-5","title":"honey""#);
        assert_ne!(mended, text);
        std::fs::write(corpus, mended).unwrap();
        sandbox.run(&work.arguments).ok();
        let fresh = Sandbox::new();
        for folder in ["corpus", "model"] {
            copy_folder(&sandbox.path(folder), &fresh.path(folder));
        }
        fresh.run(&work.arguments).ok();
        assert_eq!(result(&sandbox), result(&fresh), "{subcommand}");
    }
}

/// Where nothing is kept, nothing is left beside the place of the output.
#[test]
fn failures_before_the_first_vectors_leave_no_files() {
    let sandbox = Sandbox::new();
    dataset::write(&sandbox.path("."), "bad.jsonl", "{\"id\": 1, \"text\": \"winter roses\"}\nbad\n");
    for encoder in ["default", "none"] {
        let index = ["index", "bad.jsonl", "--encoder", encoder, "--out", "db"];
        sandbox.run(index).fails(3, ["bad.jsonl:2"]);
        assert_eq!(sandbox.names(), ["bad.jsonl"], "{encoder}");
    }
}

#[test]
fn one_index_at_a_time_writes_an_output() {
    let sandbox = with_tiny_model();
    let work = Work::new("index", "model", "db", model::DIM);
    let child = work.start_and_wait_for_a_chunk(&sandbox);
    let holder = format!("process {}", child.id());
    sandbox.run(&work.arguments).fails(4, ["db.partial is being written by", &holder]);
    Outcome::wait(child).ok();
    result(&sandbox);
}

#[test]
fn an_output_that_exists_is_left_alone() {
    let sandbox = Sandbox::new();
    dataset::small(&sandbox.path("corpus"));
    sandbox.run(["index", "corpus", "--encoder", "none", "--out", "db"]).ok();
    dataset::write(&sandbox.path("notes"), "mine.txt", "not a database");
    dataset::write(&sandbox.path("."), "file", "not even a folder");
    for out in ["db", "notes", "file"] {
        let before = tree(&sandbox.path("."));
        sandbox
            .run(["index", "corpus", "--encoder", "none", "--out", out])
            .fails(2, [out, "exists: choose another output"]);
        assert_eq!(tree(&sandbox.path(".")), before, "{out}");
    }
}

#[test]
fn leftovers_of_a_kill_do_not_stop_the_next_run() {
    // What a kill leaves in the middle of creating or of removing the folder.
    let leftovers: [&[&str]; 4] = [
        &[],
        &["LOCK"],
        &["LOCK", "MANIFEST.tmp", "segments/0000000001/documents"],
        &["segments/0000000001/bm25/x"],
    ];
    for names in leftovers {
        let sandbox = Sandbox::new();
        dataset::small(&sandbox.path("corpus"));
        std::fs::create_dir(sandbox.path("db.partial")).unwrap();
        for name in names {
            dataset::write(&sandbox.path("db.partial"), name, "");
        }
        sandbox.run(["index", "corpus", "--encoder", "none", "--out", "db"]).ok();
        sandbox.run(["verify", "db"]).ok();
        assert_eq!(sandbox.names(), ["corpus", "db"], "{names:?}");
    }
}

#[test]
fn a_folder_of_the_users_is_not_taken_for_a_leftover() {
    let sandbox = Sandbox::new();
    dataset::small(&sandbox.path("corpus"));
    dataset::write(&sandbox.path("db.partial"), "thesis.txt", "years of work");
    let before = tree(&sandbox.path("."));
    sandbox
        .run(["index", "corpus", "--encoder", "none", "--out", "db"])
        .fails(1, ["db.partial", "thesis.txt"]);
    assert_eq!(tree(&sandbox.path(".")), before);
}
