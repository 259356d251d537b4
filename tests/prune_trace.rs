//! `secateur prune trace`, as users run it. `encoders/tests/trace.rs` compares the numbers with a plain twin.

use serde_json::{Value, json};

use crate::support::{Sandbox, mini, model};

const TEXTS: [&str; 8] = [
    "--query",
    "when are roses pruned",
    "--positive",
    "roses are pruned in winter",
    "--negative",
    "bread & butter <3",
    "--negative",
    "7",
];

fn trace(sandbox: &Sandbox, rest: &[&str]) -> crate::support::Outcome {
    sandbox.run(["prune", "trace"].iter().chain(rest).chain(&TEXTS).copied())
}

#[test]
fn texts_are_followed_through_the_layers_of_several_models() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    sandbox.run(["prune", "drop", "tiny", "--layers", "block:1", "--out", "pruned"]).ok();
    let said = trace(&sandbox, &["tiny", "pruned", "--plot", "layers.svg"]).ok();
    for part in [
        "tiny: cosine of query and document, pooled by mean",
        "positive 1  negative 1  negative 2",
        "layer 2",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    // A title, a head and five places, for each model, with empty lines between.
    assert_eq!(said.lines().count(), 2 * (1 + 1 + 1 + 5) + 1, "{said}");

    let traces = trace(&sandbox, &["tiny", "pruned", "--json"]).json();
    let of = |model: usize, place: usize| traces[model]["points"][place]["cosines"].clone();
    assert_eq!(traces[0]["points"].as_array().unwrap().len(), 5);
    assert_eq!(traces[0]["documents"][1], json!({"text": "bread & butter <3", "is_relevant": false}));
    // What comes before the dropped layer is the same, and the layer changes nothing.
    assert_eq!((of(0, 0), of(0, 1)), (of(1, 0), of(1, 1)));
    assert_eq!(of(1, 1), of(1, 2));
    assert!(of(0, 2) != of(1, 2));
    // The last point is that of the vectors that `encode` gives.
    let fingerprint = |model: usize| traces[model]["fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint(0) != fingerprint(1));
    let margin =
        of(0, 4)[0].as_f64().unwrap() - of(0, 4)[1].as_f64().unwrap().max(of(0, 4)[2].as_f64().unwrap());
    let last = said.lines().find(|line| line.starts_with("vector")).unwrap();
    assert!(last.ends_with(&format!("{margin:+.4}")), "{last}, not {margin}");

    let plot = std::fs::read_to_string(sandbox.path("layers.svg")).unwrap();
    for part in [
        "tiny, pooled by mean",
        "pruned, pooled by mean",
        "cosine with the query",
        "after the layer of this number",
        "query: when are roses pruned",
        "positive: roses are pruned in winter",
        "negative: bread &amp; butter &lt;3",
    ] {
        assert!(plot.contains(part), "no {part:?} in {plot}");
    }
    // Three grid lines would do, six are drawn in each panel; and a line a document.
    assert_eq!(plot.matches("<polyline ").count(), 2 * (6 + 3));
    assert_eq!(plot.matches("<circle ").count(), 2 * 3 * 5);
}

#[test]
fn wrong_requests_are_refused() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    sandbox.run(["prune", "trace", "tiny", "--query", "a", "--positive", "b"]).fails(2, ["--negative"]);
    sandbox.run(["prune", "trace", "--query", "a", "--positive", "b", "--negative", "c"]).fails(2, ["MODEL"]);
    let long = "prune ".repeat(2000);
    let said = sandbox
        .run(["prune", "trace", "tiny", "--query", &long, "--positive", "b", "--negative", &long])
        .ok();
    assert!(said.contains("; 2 of 3 texts are longer than the "), "{said}");
    trace(&sandbox, &["models/typo"]).fails(3, ["there is no model directory models/typo"]);
    model::set(&sandbox.path("tiny"), "attention_sinks", Value::from(4));
    trace(&sandbox, &["tiny"]).fails(3, ["--ignore-setting attention_sinks"]);
    trace(&sandbox, &["tiny", "--ignore-setting", "attention_sinks"]).ok();
    // A data set is no model.
    trace(&sandbox, &[mini().to_str().unwrap()]).fails(3, ["config.json"]);
}
