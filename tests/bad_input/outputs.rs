//! Readers that go away and outputs that take nothing.
#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Read;
use std::process::Stdio;

use crate::support::dataset::{line, small, write};
use crate::support::{Outcome, Sandbox, mini};

/// Commands whose output is longer than a pipe holds (64 KiB on Linux) or comes in several pieces.
fn commands() -> (Sandbox, Vec<Vec<String>>) {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    write(&folder, "corpus.jsonl", line("d1", "", &"rose ".repeat(100_000)) + &line("d3", "", "bees"));
    // Ten thousand warnings.
    let titles: String = (0..10_000).map(|i| line(&format!("t{i}"), "title", "")).collect();
    write(&sandbox.path("titles"), "corpus.jsonl", titles);
    write(&sandbox.path("titles"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"title\"}\n");
    sandbox.run(["index", "set", "--encoder", "none", "--out", "db"]).ok();
    let mini = mini().into_os_string().into_string().unwrap();
    let commands = [
        "search db rose --json",
        "dataset verify titles",
        "dataset info set",
        "dataset download --list",
        "eval db set --per-query",
        "verify db",
        "demo",
        "--help",
    ];
    let mut commands: Vec<Vec<String>> =
        commands.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect();
    commands.push(vec!["dataset".to_owned(), "info".to_owned(), mini]);
    (sandbox, commands)
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (sandbox, commands) = commands();
    for command in commands {
        for read in [0, 20] {
            let mut child = sandbox.start(&command);
            let mut output = child.stdout.take().unwrap();
            output.read_exact(&mut vec![0; read]).unwrap();
            drop(output);
            assert_eq!(Outcome::wait(child).ok(), "", "{command:?}");
        }
    }
}

#[test]
fn an_output_that_takes_nothing_is_a_failure() {
    let (sandbox, commands) = commands();
    for arguments in commands.iter().filter(|arguments| arguments[0] != "--help") {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = sandbox.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        Outcome::wait(child).fails(1, ["cannot write to standard output", "No space left on device"]);
    }
}
