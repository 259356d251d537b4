//! Files of queries from the command line: what is wrong with a line is told with its place.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Outcome, Sandbox};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("notes.jsonl"), "{\"id\": 1, \"text\": \"honey\", \"year\": 2020}\n")
        .unwrap();
    sandbox.run(["index", "notes.jsonl", "--encoder", "none", "--out", "db"]).ok();
    sandbox
}

/// Lines of queries, and what is said of the second.
const BAD_LINES: [(&[u8], &str); 8] = [
    (b"caf\xe9", "byte 4 is not valid UTF-8"),
    (b"{\"query\": \"caf\xe9\"}", "byte 15 is not valid UTF-8"),
    (b"{\"query\": \"honey\"", "bad JSON at column 17"),
    (b"{\"query\": \"honey\", \"k\": -1}", "k is -1, expected a whole number of at least 1"),
    (b"{\"query\": \"honey\", \"k\": 0}", "k is 0, expected a whole number of at least 1"),
    (b"{\"query\": 7}", "query is 7, expected a string"),
    (b"{\"query\": \"honey\", \"mode\": 7}", "mode is 7, expected a string"),
    (b"{\"vector\": \"honey\"}", "the field vector"),
];

#[test]
fn a_bad_line_of_a_file_is_named() {
    let sandbox = sandbox();
    for (line, problem) in BAD_LINES {
        std::fs::write(sandbox.path("bad.jsonl"), [b"honey\n", line, b"\n"].concat()).unwrap();
        let search = ["search", "db", "--queries", "bad.jsonl"];
        let message = sandbox.run(search).fails(3, ["bad.jsonl:2: ", problem]);
        assert!(!message.contains("line 1") && !message.contains("usize"), "{message}");
    }
    // Other files of lines and texts are read by the same rules.
    std::fs::write(sandbox.path("ids.txt"), b"1\ncaf\xe9\n").unwrap();
    let place = ["ids.txt:2: byte 4 is not valid UTF-8"];
    sandbox.run(["delete", "db", "--ids", "ids.txt"]).fails(3, place);
    std::fs::write(sandbox.path("list.json"), b"[\n{\"text\": \"caf\xe9\"}]").unwrap();
    let place = ["list.json:2: byte 14 is not valid UTF-8"];
    sandbox.run(["index", "list.json", "--encoder", "none", "--out", "new"]).fails(3, place);
    std::fs::write(sandbox.path("recipe.toml"), b"# caf\xe9\n").unwrap();
    let place = ["recipe.toml:1: byte 6 is not valid UTF-8"];
    sandbox.run(["effir", "recipe.toml", "--out", "new"]).fails(3, place);
}

/// A program that keeps the command open gets an answer to each line, and the session goes on.
#[test]
fn a_bad_line_of_standard_input_is_answered() {
    let sandbox = sandbox();
    let mut command = sandbox.command(["search", "db", "--queries", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let bad = BAD_LINES.iter().flat_map(|(line, _)| [line, &b"\n"[..]].concat());
    let lines = b"honey\n".iter().copied().chain(bad).chain(b"honey\n".iter().copied());
    child.stdin.take().unwrap().write_all(&lines.collect::<Vec<u8>>()).unwrap();
    let answers = Outcome::wait(child).ok();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), BAD_LINES.len() + 2, "{answers:?}");
    for (number, (_, problem)) in (2..).zip(BAD_LINES) {
        let answer = &answers[number - 1];
        assert_eq!(answer["line"], number, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(problem), "{answer}");
    }
    for answer in [&answers[0], &answers[BAD_LINES.len() + 1]] {
        assert_eq!(answer["hits"][0]["doc_id"], "1", "{answer}");
    }
}
