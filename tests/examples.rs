//! The programs of `examples/` run, offline, and what they assert holds.

use std::path::Path;
use std::process::Command;

use crate::support::Outcome;

/// Runs an example that `cargo test` has built beside the executable.
fn run(name: &str) {
    let built = Path::new(env!("CARGO_BIN_EXE_secateur")).parent().unwrap();
    let program = built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !program.exists() {
        return secateur_testkit::skip(name, "the example is not built, as `cargo test` without --test does");
    }
    let outcome = Outcome::of(&mut Command::new(program));
    assert!(outcome.status.success(), "{name}: {outcome:?}");
    assert!(!outcome.stdout.is_empty(), "{name} prints its answer");
}

#[test]
fn embed_search() {
    run("embed_search");
}

#[test]
fn question_answering() {
    run("question_answering");
}

#[test]
fn own_vectors() {
    run("own_vectors");
}

#[test]
fn rerank() {
    run("rerank");
}

#[test]
fn prune_compare() {
    run("prune_compare");
}

#[test]
fn train() {
    run("train");
}
