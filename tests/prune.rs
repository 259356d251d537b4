//! `secateur prune`, as users run it, on the tiny BERT and the bundled collection.

use serde_json::{Value, json};

use crate::support::{Sandbox, mini, model, tree};

/// A sandbox with the model `tiny` (3 layers) and its scores.
fn scored() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let said = sandbox.run(score("scores.json")).ok();
    assert!(said.starts_with("scores.json: tiny on 6 sequences of 768 tokens in all"), "{said}");
    sandbox
}

fn score(out: &str) -> Vec<String> {
    let mini = mini().display().to_string();
    let fixed = ["prune", "score", "tiny", "--block-length", "128", "--calibration-blocks", "6"];
    fixed.into_iter().chain(["--calibration", &mini, "--out", out]).map(str::to_owned).collect()
}

fn read(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(name)).unwrap()).unwrap()
}

#[test]
fn scores_are_written_drawn_and_repeatable() {
    let sandbox = scored();
    let scores = read(&sandbox, "scores.json");
    assert_eq!(scores["model"], "tiny");
    assert_eq!(scores["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(scores["settings"]["metric"], "cosine");
    for part in ["attention", "mlp", "block"] {
        let numbers: Vec<f64> =
            scores["importance"][part].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
        let order: Vec<usize> = scores["drop_order"][part]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap() as usize)
            .collect();
        assert_eq!((numbers.len(), order.len()), (3, 3));
        assert!(order.windows(2).all(|pair| numbers[pair[0]] <= numbers[pair[1]]), "{scores}");
    }

    // The same file, whatever the threads; with a drawing on request.
    let again = ["--threads", "3", "--plot", "plot.svg"].map(str::to_owned);
    let said = sandbox.run(score("again.json").into_iter().chain(again)).ok();
    assert!(said.contains("attention  dropped"), "{said}");
    assert_eq!(read(&sandbox, "again.json"), scores);
    let plot = std::fs::read_to_string(sandbox.path("plot.svg")).unwrap();
    // The background, three colors of the legend, and for each part a cell a layer and number of drops.
    assert_eq!(plot.matches("<rect ").count(), 1 + 3 + 3 * 3 * 3, "{plot}");
    assert_eq!(plot.matches("#4c78a8").count(), 1 + 3 * (1 + 2 + 3));
    for part in ["layer (number)", "sub-layers dropped (number)", ">dropped<", ">kept<"] {
        assert!(plot.contains(part), "no {part} in {plot}");
    }
    assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"));
    assert_eq!(sandbox.names(), ["again.json", "plot.svg", "scores.json", "tiny"]);
    // Drawings are SVG, whatever the file is called.
    let other = ["--plot", "plot.png"].map(str::to_owned);
    sandbox
        .run(score("other.json").into_iter().chain(other))
        .fails(2, ["--plot", "plot.png", "ends in .svg"]);
    assert!(!sandbox.path("other.json").exists());

    // Another form of text, another metric.
    let mini = mini().display().to_string();
    let command = [
        "prune",
        "score",
        "tiny",
        "--calibration",
        &mini,
        "--calibration-format",
        "texts",
        "--tokens",
        "last",
    ];
    sandbox.run(command.iter().chain(&["--metric", "l2", "--out", "last.json"])).ok();
    let last = read(&sandbox, "last.json");
    assert_eq!((&last["num_sequences"], &last["settings"]["tokens"]), (&json!(63), &json!("last")));

    // The gradient reads titles and texts, two sequences a pair.
    let command = ["prune", "score", "tiny", "--calibration", &mini, "--metric", "gradient", "--blocks", "8"];
    sandbox.run(command.iter().chain(&["--out", "gradient.json"])).ok();
    let gradient = read(&sandbox, "gradient.json");
    assert_eq!(
        (&gradient["num_sequences"], &gradient["settings"]["metric"]),
        (&json!(16), &json!("gradient"))
    );
    std::fs::write(sandbox.path("plain.txt"), "one text\nanother\n").unwrap();
    let command = ["prune", "score", "tiny", "--calibration", "plain.txt", "--metric", "gradient"];
    sandbox.run(command.iter().chain(&["--out", "x"])).fails(3, ["titles"]);
}

#[test]
fn dropped_models_load_like_any_other() {
    let sandbox = scored();
    let order = read(&sandbox, "scores.json")["drop_order"].clone();
    let drop = |arguments: &[&str]| sandbox.run(["prune", "drop"].iter().chain(arguments));
    let said =
        drop(&["tiny", "--mlp", "1", "--attention", "1", "--scores", "scores.json", "--out", "1M1A"]).ok();
    assert!(said.contains(&format!("without attention of layer {}", order["attention"][0])), "{said}");
    assert!(said.contains(&format!("MLP of layer {}", order["mlp"][0])), "{said}");
    let config = read(&sandbox, "1M1A/config.json");
    let layer = order["mlp"][0].as_u64().unwrap() as usize;
    assert_eq!(config["secateur"]["intermediate_sizes"][layer], Value::Null);

    let mini = mini().display().to_string();
    sandbox.run(["encode", &mini, "--queries", "--encoder", "1M1A", "--out", "pruned.npy"]).ok();
    sandbox.run(["encode", &mini, "--queries", "--encoder", "tiny", "--out", "whole.npy"]).ok();
    let file = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert_eq!(file("pruned.npy").len(), file("whole.npy").len());
    assert!(file("pruned.npy") != file("whole.npy"));

    // By name, from a model that is pruned already, in LLM-Drop's layout.
    drop(&["1M1A", "--layers", "block:2", "--last-blocks", "1", "--out", "named", "--format", "llm-drop"])
        .ok();
    let config = read(&sandbox, "named/config.json");
    assert!(config["drop_mlp_list"].as_array().unwrap().contains(&json!(2)), "{config}");
    assert!(config["drop_attn_list"].as_array().unwrap().contains(&json!(1)), "{config}");
    sandbox.run(["encode", &mini, "--queries", "--encoder", "named", "--out", "named.npy"]).ok();

    // Measured anew at each step: the first step is that of one shot.
    let steps = ["--iterative", "--calibration", &mini, "--block-length", "128", "--calibration-blocks", "6"];
    drop(&[&["tiny", "--mlp", "2", "--out", "iterative"], &steps[..]].concat()).ok();
    let config = read(&sandbox, "iterative/config.json");
    let widths = config["secateur"]["intermediate_sizes"].as_array().unwrap();
    assert_eq!(widths.iter().filter(|width| width.is_null()).count(), 2);
    assert!(widths[layer].is_null());
}

#[test]
fn a_target_chooses_depth_then_width() {
    let sandbox = scored();
    let drop = |target: &[&str], out: &str| {
        let fixed = ["prune", "drop", "tiny", "--scores", "scores.json", "--out", out];
        sandbox.run(fixed.iter().chain(target))
    };
    // tiny has 77,376 parameters, an MLP of it 7,904; one is half of its 3 layers, rounded down.
    let said = drop(&["--target-params", "0.07M"], "depth").ok();
    assert!(
        said.contains("the 1 least important of 3 MLPs") && said.contains("depth alone is enough"),
        "{said}"
    );
    let said = drop(&["--target-params", "66000"], "width").ok();
    let sparsity = said.split("secateur prune slim width --sparsity ").nth(1).expect("advice").trim();
    let sparsity: f64 = sparsity.parse().unwrap();
    assert!(sparsity > 0.0 && sparsity <= 0.5, "{said}");
    assert!(said.contains("from 0.0774M parameters to at most 0.0660M parameters"), "{said}");
    drop(&["--target-gflop", "0.0001"], "gflop").ok();
    drop(&["--target-gflop", "5"], "x").fails(2, ["5.0000 GFLOP per token is out of reach", "in between"]);
    drop(&["--target-params", "many"], "x").fails(2, ["such as 3.4B"]);
    assert!(!sandbox.path("x").exists());
}

#[test]
fn wrong_requests_say_what_to_do() {
    let sandbox = scored();
    model::tiny(&sandbox.path("other"));
    let text = std::fs::read_to_string(sandbox.path("other/config.json")).unwrap();
    std::fs::write(sandbox.path("other/config.json"), text.replace("1e-12", "1e-11")).unwrap();
    std::fs::write(sandbox.path("short.txt"), "one text\nanother\n").unwrap();
    let before = tree(&sandbox.path("tiny"));
    let cases: [(&[&str], i32, &[&str]); 10] = [
        (&["drop", "tiny", "--out", "x"], 2, &["say what to drop"]),
        (&["drop", "tiny", "--mlp", "1", "--out", "x"], 2, &["1M", "give the model's scores"]),
        (
            &["drop", "tiny", "--mlp", "4", "--scores", "scores.json", "--out", "x"],
            2,
            &["cannot drop 4 MLP sub-layers: the model has 3"],
        ),
        (&["drop", "tiny", "--mlp", "0", "--out", "x"], 2, &[]),
        (&["drop", "tiny", "--layers", "mlp:3", "--out", "x"], 2, &["cannot drop MLP 3", "3 layers"]),
        (&["drop", "tiny", "--layers", "mlp3", "--out", "x"], 2, &["expected mlp:N"]),
        (
            &["drop", "other", "--mlp", "1", "--scores", "scores.json", "--out", "x"],
            3,
            &["scores.json holds the scores of tiny (fingerprint ", "the model is other (fingerprint "],
        ),
        (&["drop", "tiny", "--mlp", "1", "--scores", "absent.json", "--out", "x"], 3, &["absent.json"]),
        (&["score", "tiny", "--out", "x"], 2, &["--calibration"]),
        (
            &["score", "tiny", "--calibration", "short.txt", "--out", "x"],
            3,
            &["fewer than one block of 320", "give more text"],
        ),
    ];
    for (arguments, code, parts) in cases {
        let outcome = sandbox.run(["prune"].iter().chain(arguments));
        assert_eq!(outcome.status.code(), Some(code), "{arguments:?}: {outcome:?}");
        for part in parts {
            assert!(outcome.stderr.contains(part), "{arguments:?}: no {part:?} in {}", outcome.stderr);
        }
    }
    assert!(!sandbox.path("x").exists());
    assert_eq!(tree(&sandbox.path("tiny")), before);
}

#[test]
fn a_sweep_measures_each_cell_once() {
    let sandbox = scored();
    let mini = mini().display().to_string();
    let sweep = |variants: &str| {
        let fixed = ["prune", "sweep", "tiny", "--scores", "scores.json", "--datasets", &mini];
        sandbox.run(fixed.into_iter().chain(["--variants", variants, "--out", "table"]))
    };
    let said = sweep("full,1M").ok();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["full", "1M"], "{said}");
    let names: Vec<&str> = lines[1..].iter().filter_map(|line| line.first().copied()).collect();
    assert_eq!(names[..5], ["parameters", "mini", "average", "documents/s", "ms/query"]);
    assert!(said.contains("\n\nnDCG@10 by MTEB's rules. Times are of one run"), "{said}");
    let cell = read(&sandbox, "table/1M.mini.json");
    let scores = read(&sandbox, "scores.json");
    assert_eq!(scores["texts"], "mini");
    assert_eq!(cell["dropped_mlp"], json!([scores["drop_order"]["mlp"][0]]));
    assert_eq!(lines[2][3], format!("{:.4}", cell["ndcg_at_10"].as_f64().unwrap()));

    // The same number as from a database of the model that `drop` writes, by the same rules.
    sandbox.run(["prune", "drop", "tiny", "--mlp", "1", "--scores", "scores.json", "--out", "1M"]).ok();
    sandbox.run(["index", &mini, "--encoder", "1M", "--out", "db"]).ok();
    let measured = sandbox.run(["eval", "db", &mini, "--mode", "dense", "--rules", "mteb", "--json"]).json();
    assert_eq!(measured["means"]["nDCG@10"], cell["ndcg_at_10"]);

    // Finished cells stay as they are; new ones are added; those of another model are measured anew.
    let before = tree(&sandbox.path("table"));
    let said = sweep("full,1M,last-1B").ok();
    assert_eq!(said.lines().next().unwrap().split_whitespace().count(), 3);
    let after = tree(&sandbox.path("table"));
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    assert_eq!(after.keys().filter(|name| name.extension().is_some_and(|end| end == "json")).count(), 3);
    let mut stale = cell.clone();
    stale["fingerprint"] = json!("0");
    stale["ndcg_at_10"] = json!(0.99);
    std::fs::write(sandbox.path("table/1M.mini.json"), stale.to_string()).unwrap();
    sweep("1M").ok();
    assert_eq!(read(&sandbox, "table/1M.mini.json")["ndcg_at_10"], cell["ndcg_at_10"]);

    // For programs, and as a picture.
    let fixed = ["prune", "sweep", "tiny", "--scores", "scores.json", "--datasets", &mini];
    let more = ["--variants", "full,1M", "--out", "table", "--json", "--plot", "sweep.svg"];
    let json = sandbox.run(fixed.into_iter().chain(more)).json();
    assert_eq!((&json[0]["variant"], &json[1]["variant"]), (&json!("full"), &json!("1M")));
    // Reading a number as JSON may cost its last bit.
    let is_of_cell =
        |value: &Value| (value.as_f64().unwrap() - cell["ndcg_at_10"].as_f64().unwrap()).abs() < 1e-12;
    assert!(
        is_of_cell(&json[1]["ndcg_at_10"]) && is_of_cell(&json[1]["datasets"]["mini"]["ndcg_at_10"]),
        "{json}"
    );
    assert_eq!(json[1]["parameters"], cell["num_parameters"]);
    let svg = std::fs::read_to_string(sandbox.path("sweep.svg")).unwrap();
    assert!(svg.contains(">1M</text>") && svg.contains("tiny on mini"), "{svg}");

    sweep("full,4M").fails(2, ["cannot drop 4 MLP"]);
    assert!(sweep("3X").stderr.contains("is not a variant"));
}
