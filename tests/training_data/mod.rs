//! `secateur teach` and `secateur mine`: what is added to training data, and what an interruption leaves.

mod mine;
mod teach;

use std::path::Path;
use std::time::Duration;

use secateur::datasets::triples::{Examples, TrainingExample, write_examples};

use crate::support::{Outcome, Random, Sandbox};

/// Examples of a few words of a query, one or two positives and up to two negatives, all texts different.
fn examples(count: usize) -> Vec<TrainingExample> {
    const WORDS: [&str; 8] = ["rose", "pear", "saw", "winter", "bee", "honey", "bread", "oven"];
    let mut random = Random(3);
    let mut text = |what: &str, number: usize| {
        let mut words = || WORDS[random.below(8) as usize];
        format!("{} {} {} {what}{number}", words(), words(), words())
    };
    let example = |number: usize| TrainingExample {
        query: text("q", number),
        positives: (0..1 + number % 2).map(|i| text("p", 2 * number + i)).collect(),
        negatives: (0..number % 3).map(|i| text("n", 3 * number + i)).collect(),
        query_id: Some(format!("q{number}")),
        prompt: number.is_multiple_of(2).then(|| "ask: ".to_owned()),
        other: number.is_multiple_of(5).then(|| format!("{{\"number\":{number}}}")),
        ..TrainingExample::default()
    };
    (0..count).map(example).collect()
}

fn write(path: &Path, examples: &[TrainingExample]) {
    write_examples(path, examples.iter().cloned().map(Ok::<_, secateur::Error>)).unwrap();
}

fn read(path: &Path) -> Vec<TrainingExample> {
    Examples::open(path, None).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Kills a command that writes `out.jsonl` whenever its journal has grown. Then runs it to its end, and asserts that
/// the bytes equal those of an undisturbed run.
fn kill_and_resume(sandbox: &Sandbox, arguments: &[&str]) {
    let names = sandbox.names();
    sandbox.run(arguments).ok();
    let out = sandbox.path("out.jsonl");
    let expected = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    assert_eq!(sandbox.names(), names, "the journal stays");

    let journal = sandbox.path("out.jsonl.journal");
    let len = || std::fs::metadata(&journal).map_or(0, |metadata| metadata.len());
    let mut kept = 64;
    let mut kills = 0;
    loop {
        let mut child = sandbox.start(arguments);
        while child.try_wait().unwrap().is_none() && len() <= kept + 2000 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let signal = if kills % 2 == 0 { "-KILL" } else { "-INT" };
        if child.try_wait().unwrap().is_none() && kills < 4 {
            let kill = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
            assert!(kill.unwrap().success());
        }
        let outcome = Outcome::wait(child);
        if outcome.status.success() {
            break;
        }
        if signal == "-INT" {
            assert_eq!(outcome.status.code(), Some(130), "{outcome:?}");
            assert!(outcome.stderr.contains("run the same command again to go on"), "{outcome:?}");
        }
        assert!(!out.exists(), "the output appears when it is whole");
        // A chunk that was being written when the kill came is cut off.
        assert!(len() >= kept, "the journal went from {kept} to {} bytes", len());
        kept = len();
        kills += 1;
    }
    assert!(kills >= 2, "it was over before it could be killed twice");
    assert_eq!(std::fs::read(&out).unwrap(), expected);
    std::fs::remove_file(&out).unwrap();
    assert_eq!(sandbox.names(), names, "something is left beside the output");

    // What a kill in the last moments leaves does not stop the next run, and is removed by it.
    std::fs::write(sandbox.path("out.jsonl.tmp"), "half").unwrap();
    sandbox.run(arguments).ok();
    assert_eq!(std::fs::read(&out).unwrap(), expected);
    std::fs::remove_file(&out).unwrap();
    assert_eq!(sandbox.names(), names);
}
