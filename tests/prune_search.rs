//! `secateur prune search`, as users run it, on the tiny BERT and a made data set.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::dataset::{line, write};
use crate::support::{Random, Sandbox, mini, model, tree};

/// A sandbox with the model `tiny` (3 layers) and the data set `set`. That has 60 documents of a few words, and queries
/// with some of the words of their document.
fn sandbox() -> Sandbox {
    const WORDS: [&str; 20] = [
        "rose", "pear", "saw", "winter", "bee", "honey", "bread", "oven", "rope", "hill", "wheel", "chain",
        "ash", "lava", "rain", "cloud", "moss", "fern", "clay", "brick",
    ];
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mut random = Random(11);
    let mut words =
        |count: usize| -> Vec<&str> { (0..count).map(|_| WORDS[random.below(20) as usize]).collect() };
    let documents: Vec<Vec<&str>> = (0..60).map(|_| words(6)).collect();
    let corpus: Vec<String> = documents
        .iter()
        .enumerate()
        .map(|(number, words)| line(&format!("d{number}"), "", &words.join(" ")))
        .collect();
    let (mut queries, mut dev, mut test) = (String::new(), HEADER.to_owned(), HEADER.to_owned());
    for (number, words) in documents.iter().enumerate().take(24) {
        let text = words[..3].join(" ");
        queries += &format!("{}\n", json!({"_id": format!("q{number}"), "text": text}));
        let judged = format!(
            "q{number}\td{number}\t2\nq{number}\td{}\t1\nq{number}\td{}\t0\n",
            number + 20,
            number + 30
        );
        if number < 16 { dev += &judged } else { test += &judged }
    }
    let set = sandbox.path("set");
    write(&set, "corpus.jsonl", corpus.concat());
    write(&set, "queries.jsonl", queries);
    write(&set, "qrels/dev.tsv", dev);
    write(&set, "qrels/test.tsv", test);
    sandbox
}

const HEADER: &str = "query-id\tcorpus-id\tscore\n";

/// A search of few models on a small sample.
fn search<'a>(budget: &'a str, out: &'a str) -> Vec<&'a str> {
    let fixed = ["prune", "search", "tiny", "--dev", "set", "--trials", "20", "--queries", "10", "--json"];
    fixed.into_iter().chain(["--budget", budget, "--out", out]).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_search_keeps_its_budget_and_is_no_worse_than_importance() {
    let sandbox = sandbox();
    let inspect = |model: &str| sandbox.run(["model", "inspect", model, "--json"]).json();
    let whole = inspect("tiny");
    for (budget, out, cost) in [
        (
            "params=0.7",
            "by-size",
            (|facts: &Value| facts["total_parameters"].as_f64().unwrap()) as fn(&Value) -> f64,
        ),
        ("gflop=0.5", "by-work", |facts| facts["flop_per_token"]["linear"].as_f64().unwrap()),
    ] {
        let report = sandbox.run(search(budget, out)).json();
        assert_eq!(report, read(&sandbox.path(format!("{out}.search/search.json"))));
        // What was written keeps the budget, and is what the report says.
        let written = inspect(out);
        let share: f64 = budget.split('=').nth(1).unwrap().parse().unwrap();
        assert!(cost(&written) <= share * cost(&whole), "{budget}: {written}");
        let trials = report["trials"].as_array().unwrap();
        let chosen = &trials[report["chosen"].as_u64().unwrap() as usize];
        assert_eq!(chosen["keeps_budget"], true);
        assert_eq!(chosen["parameters"], written["total_parameters"]);
        let config = read(&sandbox.path(out).join("config.json"));
        assert_eq!(config["secateur"], chosen["remaining"]);
        // Nothing that keeps the budget is better, importance alone among it.
        let score = |trial: &Value| trial["ndcg_at_10"].as_f64().unwrap();
        let kept: Vec<&Value> = trials.iter().filter(|trial| trial["keeps_budget"] == true).collect();
        assert!(kept.iter().all(|trial| score(trial) <= score(chosen)), "{report:#}");
        let origins = |name: &str| trials.iter().filter(|trial| trial["origin"] == name).count();
        assert!(kept.iter().any(|trial| trial["origin"] == "importance"), "{report:#}");
        assert_eq!((origins("whole"), trials.len()), (1, 20));
        assert!(origins("single") > 0 && origins("search") > 0, "{report:#}");
        // Nothing was tried twice.
        let mut names: Vec<&str> = trials.iter().map(|trial| trial["without"].as_str().unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 20);
        // The sample is stated. Three documents of each query are judged, and five others are taken besides.
        let sample = &report["samples"][0];
        assert_eq!((&sample["dataset"], &sample["split"]), (&json!("set"), &json!("dev")));
        assert_eq!((&sample["num_queries"], &sample["num_queries_in_all"]), (&json!(10), &json!(16)));
        assert!(sample["num_judged"].as_u64().unwrap() <= 30);
        assert!(sample["num_documents"].as_u64().unwrap() < 60, "{sample}");
        // It loads, and encodes.
        sandbox.run(["encode", "set", "--queries", "--encoder", out, "--out", &format!("{out}.npy")]).ok();
    }
    // For people: the table, and what is said of it.
    let mut arguments = search("params=0.7", "again");
    arguments.retain(|argument| *argument != "--json");
    let said = sandbox.run(arguments).ok();
    for part in [
        "set dev: 10 of 16 queries",
        "params share",
        "again: tiny without ",
        "importance alone",
        "77,376 before",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn threads_and_interruptions_change_nothing() {
    let sandbox = sandbox();
    let whole = sandbox.run(search("gflop=0.6", "whole")).json();
    let threads = sandbox.run(search("gflop=0.6", "threads").into_iter().chain(["--threads", "3"])).json();
    assert_eq!(whole, threads);
    assert_eq!(tree(&sandbox.path("whole")), tree(&sandbox.path("threads")));

    // Killed in the midst of it, as soon as some models were measured.
    let mut child = sandbox.start(search("gflop=0.6", "killed"));
    let folder = sandbox.path("killed.search");
    let trials = || {
        let names = fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("trial.")).count()
    };
    while trials() < 4 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = tree(&folder);
    assert!(!sandbox.path("killed").exists() || trials() == 20);
    if sandbox.path("killed").exists() {
        fs::remove_dir_all(sandbox.path("killed")).unwrap();
    }
    // One that is damaged counts as none; those that are there are not measured again.
    let (damaged, marked) = {
        let mut names = kept.keys().filter(|name| name.to_string_lossy().starts_with("trial."));
        (names.next().unwrap().clone(), names.next().unwrap().clone())
    };
    fs::write(folder.join(&damaged), "{").unwrap();
    let time = |name: &Path| fs::metadata(folder.join(name)).unwrap().modified().unwrap();
    let before = time(&marked);
    let resumed = sandbox.run(search("gflop=0.6", "killed")).json();
    assert_eq!(resumed, whole);
    assert_eq!(time(&marked), before);
    assert_eq!(tree(&sandbox.path("killed")), tree(&sandbox.path("whole")));

    // Another seed draws another sample, and what was kept of the first is not taken for it.
    fs::remove_dir_all(sandbox.path("killed")).unwrap();
    let other = sandbox.run(search("gflop=0.6", "killed").into_iter().chain(["--seed", "1"])).json();
    assert!(other["samples"][0]["fingerprint"] != whole["samples"][0]["fingerprint"]);
}

#[test]
fn a_split_that_results_are_reported_on_is_refused_by_name() {
    let sandbox = sandbox();
    let with = |more: &[&'static str]| {
        let arguments = search("gflop=0.5", "x").into_iter().chain(more.iter().copied()).map(str::to_owned);
        sandbox.run(arguments)
    };
    with(&["--dev-split", "test"]).fails(2, ["dev-split", "set", "its split test", "name one of dev"]);
    with(&["--dev-split", "train"]).fails(3, ["train"]);
    // The bundled collection has nothing but a test split.
    let mini = mini().display().to_string();
    let of_mini = |more: &[&str]| {
        let fixed = ["prune", "search", "tiny", "--budget", "gflop=0.5", "--dev", &mini, "--out", "x"];
        sandbox.run(fixed.iter().chain(more))
    };
    of_mini(&[]).fails(2, ["has no split dev", "test"]);
    of_mini(&["--dev-split", "test"]).fails(2, ["its split test", "name another data set"]);
    // BEIR reports results on MS MARCO's dev split.
    fs::rename(sandbox.path("set"), sandbox.path("msmarco")).unwrap();
    let fixed = ["prune", "search", "tiny", "--budget", "gflop=0.5", "--dev", "msmarco", "--out", "x"];
    sandbox.run(fixed).fails(2, ["msmarco are reported on its split dev"]);
    assert_eq!(sandbox.names(), ["msmarco", "tiny"]);
}

#[test]
fn wrong_searches_say_what_to_do() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("there")).unwrap();
    let mut cases: Vec<(Vec<&str>, i32, &[&str])> = vec![
        (search("gflop=50", "x"), 2, &["gflop=50", "expected params=SHARE"]),
        (search("flops=0.5", "x"), 2, &["flops=0.5", "latency=SHARE"]),
        (search("params=0.1", "x"), 2, &["params=0.1 is out of reach", "ask for more"]),
        (search("gflop=0.5", "there"), 2, &["there exists"]),
        (search("gflop=0.5", "x").into_iter().chain(["--dev", "set"]).collect(), 2, &["set is named twice"]),
        (
            search("gflop=0.5", "x").into_iter().chain(["--scores", "absent.json"]).collect(),
            3,
            &["absent.json"],
        ),
    ];
    let mut few = search("gflop=0.5", "x");
    *few.iter_mut().find(|argument| **argument == "20").unwrap() = "3";
    cases.push((few, 2, &["trials", "8 or more"]));
    for (arguments, code, parts) in cases {
        let outcome = sandbox.run(&arguments);
        assert_eq!(outcome.status.code(), Some(code), "{arguments:?}: {outcome:?}");
        for part in parts {
            assert!(outcome.stderr.contains(part), "{arguments:?}: no {part:?} in {}", outcome.stderr);
        }
    }
    assert!(!sandbox.path("x").exists());
}

/// Times are the machine's; that what they say is heeded is all that can be asserted. The model is large enough for its
/// layers to take most of the time.
#[test]
fn a_latency_is_a_budget() {
    let sandbox = sandbox();
    let config = json!({
        "model_type": "llama", "vocab_size": 600, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64, "rms_norm_eps": 1e-6
    });
    fs::write(sandbox.path("config.json"), config.to_string()).unwrap();
    sandbox.run(["model", "create", "config.json", "--vocabulary", "set", "--out", "large"]).ok();
    let search = || {
        let arguments = search("latency=0.9", "fast").into_iter();
        sandbox.run(arguments.map(|argument| if argument == "tiny" { "large" } else { argument })).json()
    };
    let report = search();
    let timings = &report["timings"];
    let time = |name: &str| timings[name].as_f64().unwrap();
    assert!(time("whole") > 0.0 && time("without_mlps") > 0.0, "{timings}");
    let share = report["measured_share"].as_f64().unwrap();
    assert!(share > 0.0, "{report:#}");
    let trials = report["trials"].as_array().unwrap();
    let chosen = &trials[report["chosen"].as_u64().unwrap() as usize];
    assert!(chosen["share"].as_f64().unwrap() <= 0.9 && chosen["keeps_budget"] == true);
    let (limit, whole) = (report["limit"].as_f64().unwrap(), report["whole_cost"].as_f64().unwrap());
    assert!(limit <= 0.9 * whole + 1e-12 && (whole - time("whole")).abs() < 1e-9);
    // What was timed is kept: the same search gives the same result.
    fs::remove_dir_all(sandbox.path("fast")).unwrap();
    assert_eq!(search(), report);
}

#[test]
fn every_command_passes_over_a_setting_that_is_named() {
    let sandbox = sandbox();
    model::set(&sandbox.path("tiny"), "attention_sinks", json!(4));
    let mini = mini().display().to_string();
    let commands: [(&[&str], &str); 7] = [
        (
            &[
                "score",
                "tiny",
                "--calibration",
                &mini,
                "--calibration-format",
                "texts",
                "--out",
                "scores.json",
            ],
            "",
        ),
        (&["drop", "tiny", "--mlp", "1", "--scores", "scores.json", "--out", "dropped"], "dropped"),
        (&["slim", "tiny", "--sparsity", "0.3", "--calibration", &mini, "--out", "masked"], "masked"),
        (&["narrow", "tiny", "--mask", "masked/neuron_mask.json", "--out", "narrow"], "narrow"),
        (&["sparsify", "tiny", "--method", "wanda", "--calibration", &mini, "--out", "sparse"], "sparse"),
        (&["sweep", "tiny", "--variants", "full", "--datasets", &mini, "--out", "swept"], ""),
        (&search("gflop=0.6", "found")[1..], "found"),
    ];
    for (arguments, out) in commands {
        let command: Vec<&str> = ["prune"].iter().chain(arguments).copied().collect();
        sandbox.run(&command).fails(3, ["attention_sinks is 4", "--ignore-setting attention_sinks"]);
        let ignoring = command.iter().chain(&["--ignore-setting", "attention_sinks"]);
        sandbox.run(ignoring).ok();
        if !out.is_empty() {
            // What is written lacks it, so it loads without the option.
            sandbox.run(["model", "inspect", out]).ok();
        }
    }
}
