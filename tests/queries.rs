//! Files of queries from the command line: they are answered by lines, and what is wrong with a line is told with its
//! place.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Outcome, Sandbox, mini};

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

#[test]
fn many_queries_are_answered_by_lines() {
    let sandbox = Sandbox::new();
    let mini = mini();
    let mini = mini.to_str().unwrap();
    sandbox.run(["index", mini, "--encoder", "default", "--out", "db"]).ok();
    for mode in ["dense", "bm25", "hybrid"] {
        // The run is that of `eval`, without judgments.
        let queries = format!("{mini}/queries.jsonl");
        sandbox
            .run(["search", "db", "--queries", &queries, "--mode", mode, "-k", "100", "--run", "a.run"])
            .ok();
        sandbox.run(["eval", "db", mini, "--mode", mode, "-k", "100", "--run", "b.run"]).ok();
        let run = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
        assert_eq!(run("a.run"), run("b.run"));
        let lines = sandbox.run(["search", "db", "--queries", &queries, "--mode", mode, "-k", "2"]).ok();
        assert_eq!(lines.lines().count(), 12);
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        let alone = sandbox.run([
            "search",
            "db",
            first["query"].as_str().unwrap(),
            "--mode",
            mode,
            "-k",
            "2",
            "--json",
        ]);
        assert_eq!(alone.json()["hits"], first["hits"]);
    }
}

/// What a document says cannot clear the screen or name the window.
#[test]
fn control_characters_stay_out_of_the_terminal() {
    let sandbox = Sandbox::new();
    let line = r#"{"id": "a\u001b[2J", "title": "bees\u0007", "text": "dancing\u009b bees\u001b]0;x\u0007"}"#;
    std::fs::write(sandbox.path("odd.jsonl"), line).unwrap();
    sandbox.run(["index", "odd.jsonl", "--encoder", "none", "--out", "db"]).ok();
    let shown = sandbox.run(["search", "db", "bees"]).ok();
    assert!(shown.contains("dancing bees ]0;x"), "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

/// Another program can keep the command open: an answer comes before the next query is asked, and no mistake ends it.
#[test]
fn a_search_can_be_kept_open() {
    let sandbox = Sandbox::new();
    sandbox.run(["index", mini().to_str().unwrap(), "--encoder", "none", "--out", "db"]).ok();
    let mut command = sandbox.command(["search", "db", "--queries", "-", "-k", "2"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ask = |query: &str| -> Value {
        writeln!(stdin, "{query}").unwrap();
        stdin.flush().unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    let answer = ask("honey");
    assert_eq!((&answer["query_id"], answer["hits"].as_array().unwrap().len()), (&json!("1"), 2));
    let answer = ask("{\"_id\": 7, \"query\": \"honey\", \"k\": 1, \"filter\": \"year >= 2000\"}");
    assert_eq!((&answer["query_id"], answer["hits"].as_array().unwrap().len()), (&json!("7"), 1));
    assert!(
        ask("{\"query\": \"honey\", \"filter\": \"yaer == 1\"}")["error"].as_str().unwrap().contains("yaer")
    );
    assert!(ask("{\"query\"")["error"].as_str().unwrap().contains("bad JSON"));
    assert!(ask("{\"query\": \"x\", \"mode\": \"dense\"}")["error"].as_str().unwrap().contains("no vectors"));
    let both = ask("{\"query\": \"x\", \"vector\": [1]}");
    assert!(both["error"].as_str().unwrap().contains("expected one of them"), "{both}");
    let words = ask("{\"vector\": [1], \"mode\": \"bm25\"}");
    assert!(words["error"].as_str().unwrap().contains("no words to search for"), "{words}");
    // So a program that waits for an answer to each line never waits for good.
    assert_eq!(ask(""), json!({"line": 8, "error": "the query is empty"}));
    assert_eq!(ask("q9\troses")["query_id"], "q9");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
