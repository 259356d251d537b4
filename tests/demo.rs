//! The first minute with secateur: `demo` and the example program, in an empty folder, without home or network.

use std::process::Command;

use secateur_testkit::{minilm, skip};

use crate::support::{Outcome, Sandbox, model};

/// The second column of the measures table, by its first.
fn measure(output: &str, name: &str) -> f64 {
    let line = output.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{output}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn demo_answers_two_queries_and_prints_measures() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(["demo"]).ok();
    assert!(output.starts_with("indexed datasets/mini: 63 documents; answers by hybrid\n"), "{output}");
    assert!(output.contains("\nwhen to prune fruit trees\n  1  1.9441    garden-02  Why plums"), "{output}");
    assert!(output.contains("\nhow do bees tell each other where food is\n  1  "), "{output}");
    assert!(output.contains("rules: trec_eval"), "{output}");
    for name in ["nDCG@10", "Recall@100", "MAP", "MRR@10", "P@10"] {
        let value = measure(&output, name);
        assert!(value > 0.0 && value <= 1.0, "{name}: {value}");
    }
    assert!(output.contains("secateur demo --encoder"), "it says how to add an encoder: {output}");
    assert!(
        output.contains("nDCG@10  95% interval") && output.contains("Within 100 ms we recommend"),
        "{output}"
    );
    let page = output.lines().last().unwrap().strip_prefix("report: ").unwrap();
    assert!(std::fs::read_to_string(page).unwrap().contains("<h2>Quality and latency</h2>"));
    assert_eq!(sandbox.names(), [""; 0], "demo leaves nothing behind");
    assert_eq!(sandbox.temporary_names().len(), 1, "but the folder of its page");
}

#[test]
fn demo_runs_in_every_mode_with_any_encoder() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    for mode in ["dense", "bm25", "hybrid"] {
        let output = sandbox.run(["demo", "--encoder", "tiny", "--mode", mode]).ok();
        assert!(output.contains(&format!("answers by {mode}\n")), "{output}");
        assert!(!output.contains("in the box"), "{output}");
    }
}

#[test]
fn demo_with_a_real_encoder_beats_words() {
    let Some(model) = minilm("demo_with_a_real_encoder_beats_words") else { return };
    let sandbox = Sandbox::new();
    let words = measure(&sandbox.run(["demo", "--encoder", "none"]).ok(), "nDCG@10");
    let output = sandbox
        .run(["demo".as_ref(), "--encoder".as_ref(), model.as_os_str(), "--mode".as_ref(), "dense".as_ref()])
        .ok();
    assert!(output.contains("answers by dense\n"), "{output}");
    // 0.8363 against 0.6074; the collection was written so that half of its queries share no word with the answers.
    assert!(measure(&output, "nDCG@10") > words + 0.1, "{output}");
}

/// The encoder in the box needs neither a network nor a folder of its own, and finds more than a hashed bag of words
/// does.
#[test]
fn demo_with_the_encoder_in_the_box() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(["demo"]).ok();
    assert!(output.contains("answers by hybrid\n") && output.contains("encoder in the box"), "{output}");
    let of = |output: &str| output.split("\nThe same collection").next().unwrap().to_owned();
    let named = sandbox.run(["demo", "--encoder", "default"]).ok();
    assert!(of(&output).starts_with(&of(&named)), "{output}");
    let words = sandbox.run(["demo", "--encoder", "none"]).ok();
    assert!(words.contains("answers by bm25\n") && words.contains("  1  2.7756    garden-02"), "{words}");
    let output = sandbox.run(["demo", "--encoder", "default", "--mode", "dense"]).ok();
    // 0.7047, where a hashed bag of words of the same dimension has 0.3392 (benches/peers/hashed.py).
    assert!(measure(&output, "nDCG@10") > 0.65, "{output}");
    // One folder with a page for each demonstration; all else is gone again.
    assert_eq!(sandbox.temporary_names().len(), 4);
    // Other commands unpack it where downloads are kept.
    let inspect = ["model", "inspect", "default"];
    sandbox.run(inspect).fails(2, ["SECATEUR_CACHE"]);
    let cache = sandbox.path("cache");
    let output = Outcome::of(sandbox.command(inspect).env("SECATEUR_CACHE", &cache)).ok();
    assert!(output.contains("embeddings  9437184"), "{output}");
}

/// A database that was made with it finds it again by its name.
#[test]
fn databases_remember_the_encoder_in_the_box() {
    let sandbox = Sandbox::new();
    let mini = crate::support::mini();
    let mini = mini.to_str().unwrap();
    sandbox.run(["index", mini, "--encoder", "default", "--out", "mini.db"]).ok();
    let hits =
        sandbox.run(["search", "mini.db", "how do bees tell each other where food is", "--json"]).json();
    assert_eq!(hits["hits"].as_array().map(Vec::len), Some(10), "{hits}");
}

#[test]
fn the_example_program_finds_the_answer() {
    const TEST: &str = "the_example_program_finds_the_answer";
    // Cargo builds examples beside the executable, but not when only this test binary is asked for.
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_secateur"));
    let example =
        executable.parent().unwrap().join("examples/embed").with_extension(std::env::consts::EXE_EXTENSION);
    if !example.exists() {
        skip(TEST, "the example is not built: run `cargo build --example embed`");
        return;
    }
    let words = Outcome::of(&mut Command::new(&example)).ok();
    assert_eq!(words.lines().count(), 1, "only one document shares a word with the query: {words}");
    assert!(words.ends_with("  0  Roses are pruned in late winter.\n"), "{words}");

    let Some(model) = minilm(TEST) else { return };
    let meaning = Outcome::of(Command::new(&example).arg(model)).ok();
    assert_eq!(meaning.lines().count(), 3, "every document has a similarity: {meaning}");
    assert!(meaning.lines().next().unwrap().ends_with("  0  Roses are pruned in late winter."), "{meaning}");
}
