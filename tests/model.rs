//! `secateur model`: inspect, check, merge.

use std::fs;
use std::path::Path;

use secateur_testkit::{minilm, workspace_root};
use serde_json::{Value, json};

use crate::support::dataset::{small, write};
use crate::support::model::{DIM, Tensors, safetensors, set, tiny, tiny_tensors, untold};
use crate::support::{Random, Sandbox};

/// The value in the last column of the line that begins with `name`.
fn last_column<'t>(text: &'t str, name: &str) -> &'t str {
    let line =
        text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.split_whitespace().last().unwrap()
}

#[test]
fn inspect_prints_the_counts_of_the_paper() {
    let sandbox = Sandbox::new();
    let cases: [(&[&str], &str); 17] = [
        (&["mistral-7b"], "7.1B"),
        (&["mistral-7b", "--drop-attention", "8"], "6.8B"),
        (&["mistral-7b", "--drop-attention", "16"], "6.4B"),
        (&["mistral-7b", "--drop-blocks", "8"], "5.4B"),
        (&["mistral-7b", "--drop-blocks", "16"], "3.6B"),
        (&["mistral-7b", "--drop-last-blocks", "16"], "3.6B"),
        (&["mistral-7b", "--drop-mlp", "8"], "5.7B"),
        (&["mistral-7b", "--drop-mlp", "16"], "4.3B"),
        (&["mistralai/Mistral-7B-v0.1", "--drop-mlp", "20"], "3.6B"),
        (&["mistral-7b", "--drop-mlp", "24"], "2.9B"),
        (&["mistral-7b", "--drop-mlp", "16", "--drop-attention", "8"], "4.0B"),
        (&["mistral-7b", "--drop-mlp", "16", "--width", "0.7"], "3.4B"),
        (&["llama2-7b"], "6.6B"),
        (&["llama2-7b", "--drop-mlp", "20"], "3.9B"),
        (&["llama2-7b", "--drop-mlp", "20", "--width", "0.7"], "3.4B"),
        (&["llama2-7b", "--drop-mlp", "20", "--width", "0.5"], "3.1B"),
        (&["LLaMA2-7B", "--drop-mlp", "28"], "2.8B"),
    ];
    for (arguments, want) in cases {
        let output = sandbox.run([&["model", "inspect"], arguments].concat()).ok();
        assert_eq!(last_column(&output, "total"), want, "{arguments:?}: {output}");
    }
    let output = sandbox.run(["model", "inspect", "mistral-7b", "--drop-mlp", "16"]).ok();
    assert!(output.contains("0-15    yes         4095      14336\n"), "{output}");
    assert!(output.contains("16-31   yes         4095    dropped\n"), "{output}");
    assert!(
        output.contains("GFLOP a token: 8.32 in linear layers + 0.13 in attention at length 512"),
        "{output}"
    );
    assert!(output.contains("weights         none here"), "{output}");
}

#[test]
fn inspect_prints_the_sizes_of_table_6() {
    let sandbox = Sandbox::new();
    for (drop, half, nf4) in [("0", "14.0", "4.3"), ("8", "11.4", "3.7"), ("16", "8.7", "3.0")] {
        let arguments = ["model", "inspect", "mistral-7b", "--drop-mlp", drop, "--quantize", "nf4"];
        let output = sandbox.run(arguments).ok();
        for (format, want) in [("16 bits", half), ("NF4", nf4)] {
            let line =
                output.lines().find(|line| line.contains(&format!("linear layers in {format},"))).unwrap();
            assert!(line.ends_with(&format!(", {want} GiB with the language-model head")), "{line}");
        }
    }
}

#[test]
fn inspect_reads_directories_and_configurations_alone() {
    let sandbox = Sandbox::new();
    let folder = tiny(&sandbox.path("model"));
    write(&folder, "tokenizer_config.json", r#"{"padding_side": "left"}"#);
    write(&folder, "config_sentence_transformers.json", r#"{"prompts": {"query": "ask: "}}"#);
    set(&folder, "drop_mlp_list", json!([1]));
    let whole = sandbox.run(["model", "inspect", "model", "--json", "--length", "10"]).json();
    let weights: usize = tiny_tensors().values().map(|(_, values)| values.len()).sum();
    assert_eq!(whole["family"], "bert");
    assert_eq!(whole["layers"][0]["attention"], true);
    assert_eq!(whole["layers"][1]["intermediate_size"], Value::Null);
    assert_eq!(whole["flop_per_token"]["length"], 10);
    assert_eq!(whole["settings"]["pooling"], "mean");
    assert_eq!(whole["settings"]["query_prompt"], "ask: ");
    assert_eq!(
        whole["special_tokens"],
        json!({"before": ["[CLS]"], "after": ["[SEP]"], "padding_side": "left"})
    );
    assert_eq!(whole["weights"]["parameters"], weights);
    assert_eq!(whole["weights"]["dtypes"]["F32"], tiny_tensors().len());
    assert_eq!(whole["weights"]["missing"], json!([]));
    let unused = whole["weights"]["unused"].as_array().unwrap();
    assert!(unused.contains(&json!("encoder.layer.1.output.dense.weight")), "{unused:?}");
    assert_eq!(whole["fingerprint"].as_str().unwrap().len(), 64);
    let bytes = fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert_eq!(whole["weights"]["files"][0][1], bytes);

    // What a cut would leave has no fingerprint, and without weights and tokenizer the rest stays as it is.
    let cut = sandbox.run(["model", "inspect", "model", "--json", "--drop-attention", "1"]).json();
    assert_eq!(cut["fingerprint"], Value::Null);
    fs::remove_file(folder.join("tokenizer.json")).unwrap();
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    for model in ["model", "model/config.json"] {
        let alone = sandbox.run(["model", "inspect", model, "--json", "--length", "10"]).json();
        for key in ["layers", "parameters", "flop_per_token", "sizes"] {
            assert_eq!(alone[key], whole[key], "{model}: {key}");
        }
        assert_eq!(alone["weights"], Value::Null);
        assert_eq!(alone["special_tokens"], Value::Null);
    }
    let text = sandbox.run(["model", "inspect", "model"]).ok();
    assert!(text.contains("query prompt    \"ask: \"\n"), "{text}");
}

#[test]
fn inspect_refuses_what_is_not_there() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("model"));
    let cases: [(&[&str], i32, &[&str]); 4] = [
        (&["mistral"], 3, &["no backbone of that name is known", "model inspect --list"]),
        (&["./nowhere/config.json"], 3, &["./nowhere/config.json"]),
        (&["mistral-7b", "--width", "0"], 2, &["the MLPs' width by 0"]),
        (&["model", "--length", "100000"], 2, &["the length that was asked for is 100000; expected 1 to"]),
    ];
    for (arguments, code, parts) in cases {
        sandbox.run([&["model", "inspect"], arguments].concat()).fails(code, parts);
    }
    // As `prune drop` says it.
    let too_many = ["model", "inspect", "mistral-7b", "--drop-mlp", "33"];
    sandbox.run(too_many).fails(2, ["cannot drop 33 MLP sub-layers: the model has 32"]);
    sandbox.run(["model", "inspect"]).fails(2, ["<MODEL>"]);
    let list = sandbox.run(["model", "inspect", "--list"]).ok();
    assert_eq!(last_column(&list, "qwen2.5-7b"), "7.1B");
}

#[test]
fn check_tells_the_same_model_from_another() {
    let sandbox = Sandbox::new();
    let folder = tiny(&sandbox.path("model"));
    let check = |more: &[&str]| {
        sandbox.run([&["model", "check", "model", "--golden", "golden.jsonl"], more].concat())
    };
    assert_eq!(check(&["--write"]).ok(), format!("golden.jsonl: 24 texts, {DIM} numbers each\n"));
    check(&["--write"]).fails(2, ["golden.jsonl exists: choose another output, or remove it"]);
    // The numbers are written so that they are read as they were.
    let report = check(&["--max-difference", "0", "--min-cosine", "0.999999999"]).ok();
    assert!(report.contains("largest difference 0.0e0"), "{report}");
    assert!(report.ends_with(": pass\n"), "{report}");
    let report = check(&["--json"]).json();
    assert_eq!((&report["passed"], &report["comparison"]["texts"]), (&json!(true), &json!(24)));

    let outcome = check(&["--pooling", "cls"]);
    assert!(outcome.stdout.ends_with(": FAIL\n"), "{outcome:?}");
    outcome.fails(
        3,
        ["the vectors of model are not those of golden.jsonl", "the cosine of line", "below 0.9999"],
    );
    // One weight in ten thousand is changed. The default tolerance does not notice, a strict one does.
    let mut tensors = tiny_tensors();
    tensors.get_mut("encoder.layer.0.output.dense.weight").unwrap().1[7] += 0.001;
    write(&folder, "model.safetensors", safetensors(&tensors));
    check(&[]).ok();
    check(&["--max-difference", "0"]).fails(3, ["a number of line", "more than 0e0"]);

    write(&sandbox.path("."), "short.jsonl", r#"{"text": "a", "vector": [0.5, 0.5]}"#);
    let parts = ["short.jsonl: the vector of line 1 has 2 numbers; the encoder's have 48"];
    sandbox.run(["model", "check", "model", "--golden", "short.jsonl"]).fails(3, parts);
    sandbox.run(["model", "check", "model", "--golden", "none.jsonl"]).fails(3, ["none.jsonl"]);
    sandbox.run(["model", "check", "--golden", "golden.jsonl"]).fails(2, ["<MODEL>"]);
}

#[test]
fn check_records_the_texts_of_a_file() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("model"));
    write(&sandbox.path("."), "texts.txt", "red apple\n\ngreen pear\n");
    let arguments = ["model", "check", "model", "--golden", "g.jsonl", "--write", "--texts", "texts.txt"];
    sandbox.run(arguments).ok();
    let golden = fs::read_to_string(sandbox.path("g.jsonl")).unwrap();
    let texts: Vec<Value> =
        golden.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].clone()).collect();
    assert_eq!(texts, ["red apple", "", "green pear"]);
    assert_eq!(sandbox.names(), ["g.jsonl", "model", "texts.txt"]);
}

#[test]
fn minilm_has_the_vectors_of_transformers() {
    let Some(model) = minilm("minilm_has_the_vectors_of_transformers") else { return };
    let sandbox = Sandbox::new();
    let fixture = workspace_root().join("tests/fixtures/minilm");
    let texts = fs::read_to_string(fixture.join("texts.jsonl")).unwrap();
    let vectors = fs::read(fixture.join("vectors.npy")).unwrap();
    // The elements are what follows the header of the .npy file.
    let rows = vectors[vectors.len() - 200 * 384 * 4..].chunks_exact(384 * 4);
    let golden: String = texts
        .lines()
        .zip(rows)
        .map(|(line, row)| {
            let text: Value = serde_json::from_str(line).unwrap();
            let vector: Vec<f32> =
                row.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            format!("{}\n", json!({"text": text["text"], "vector": vector}))
        })
        .collect();
    write(&sandbox.path("."), "golden.jsonl", golden);
    let model = model.to_str().unwrap();
    // Two programs' f32, of numbers below 0.3: the references' README allows a cosine of 1 - 1e-6.
    let arguments = ["model", "check", model, "--golden", "golden.jsonl", "--min-cosine", "0.999999"];
    let report = sandbox.run(arguments.into_iter().chain(["--max-difference", "1e-5"])).ok();
    assert!(report.contains("200 texts"), "{report}");
}

/// A LoRA adapter of the tiny model.
fn write_adapter(folder: &Path) {
    let mut tensors = Tensors::new();
    let mut random = Random(3);
    for layer in 0..2 {
        let prefix = format!("base_model.model.encoder.layer.{layer}.attention.self.query");
        for (name, shape) in [("lora_A", [2, DIM]), ("lora_B", [DIM, 2])] {
            let values = (0..2 * DIM).map(|_| random.below(1000) as f32 / 1000.0 - 0.5).collect();
            tensors.insert(format!("{prefix}.{name}.weight"), (shape.to_vec(), values));
        }
    }
    write(folder, "adapter_model.safetensors", safetensors(&tensors));
    let config =
        json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "owner/base"});
    write(folder, "adapter_config.json", config.to_string());
}

#[test]
fn merge_writes_the_model_that_the_adapter_makes() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("base"));
    write_adapter(&sandbox.path("adapter"));
    let golden = ["--golden", "golden.jsonl"];
    let model = |arguments: &[&str]| sandbox.run([&["model"], arguments, &golden].concat());
    model(&["check", "adapter", "--base", "base", "--write"]).ok();
    model(&["check", "base"]).fails(3, ["are not those of"]);

    let merge = ["model", "merge", "adapter", "--out", "merged"];
    sandbox.run(merge).fails(3, ["the base of the adapter adapter is owner/base", "--base"]);
    let output = sandbox.run(merge.into_iter().chain(["--base", "base"])).ok();
    assert_eq!(output, "merged: adapter merged into its base\n");
    model(&["check", "merged", "--max-difference", "0"]).ok();
    sandbox
        .run(merge.into_iter().chain(["--base", "base"]))
        .fails(2, ["merged exists: choose another output"]);
    sandbox
        .run(["model", "merge", "base", "--base", "base", "--out", "other"])
        .fails(3, ["adapter_config.json"]);
    // Nothing names a base either: it is a model like any other.
    let merge = ["model", "merge", "base", "--out", "other"];
    sandbox.run(merge).fails(3, ["base has no adapter_config.json", "not an adapter"]);
    assert!(!sandbox.path("other").exists());

    let inspection = sandbox.run(["model", "inspect", "adapter", "--base", "base", "--json"]).json();
    assert_eq!(inspection["family"], "bert");
}

#[test]
fn databases_remember_base_and_dimension() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    let base = tiny(&sandbox.path("base"));
    write_adapter(&sandbox.path("adapter"));
    let index = |more: &[&str]| {
        let arguments = ["index", "set", "--out", "db", "--encoder", "adapter", "--base", "base"];
        sandbox.run([&arguments, more].concat())
    };
    set(&base, "matryoshka_dimensions", json!([32]));
    index(&["--truncate-dim", "16"]).fails(2, ["matryoshka_dimensions"]);
    set(&base, "matryoshka_dimensions", json!([32, 16]));
    index(&["--truncate-dim", "16"]).ok();
    // Nothing but the database says what loads here, and another encoder would be refused.
    sandbox.run(["search", "db", "bread", "--mode", "dense"]).ok();
    sandbox.run(["search", "db", "bread", "--encoder", "base", "--truncate-dim", "16"]).fails(4, ["db"]);

    let arguments = ["encode", "set", "--out", "v.npy", "--encoder", "base", "--truncate-dim", "16"];
    let output = sandbox.run(arguments).ok();
    assert!(output.contains(" x 16 f32"), "{output}");
}

#[test]
fn what_is_assumed_is_told_or_refused() {
    let sandbox = Sandbox::new();
    untold(&sandbox.path("model"));
    small(&sandbox.path("data"));
    let assumed = "warning: model/modules.json: is not there, so nothing says how token vectors become one: mean pooling";
    let index = ["index", "data", "--out", "db", "--encoder", "model"];
    let outcome = sandbox.run(index);
    assert!(outcome.status.success() && outcome.stderr.contains("mean pooling"), "{outcome:?}");
    assert_eq!(outcome.stderr.matches("warning: ").count(), 1, "{outcome:?}");
    let outcome = sandbox.run(["model", "inspect", "model", "--json"]);
    assert!(outcome.stderr.starts_with(assumed), "{outcome:?}");
    let inspection: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(inspection["notices"][0]["text"].as_str().unwrap().contains("mean pooling"), "{inspection}");
    sandbox.run(["model", "inspect", "model", "--strict"]).fails(3, ["modules.json", "--strict"]);
    sandbox
        .run([&index[..3], &["db2", "--encoder", "model", "--strict"]].concat())
        .fails(3, ["modules.json"]);
    // Who says it needs not be told.
    sandbox
        .run(["index", "data", "--out", "db3", "--encoder", "model", "--pooling", "mean", "--strict"])
        .ok();
}

#[test]
fn settings_that_are_not_heeded_are_passed_over_by_name_alone() {
    let sandbox = Sandbox::new();
    let folder = tiny(&sandbox.path("model"));
    set(&folder, "attention_sinks", json!(4));
    sandbox
        .run(["model", "inspect", "model"])
        .fails(3, ["config.json", "attention_sinks is 4", "--ignore-setting attention_sinks"]);
    sandbox.run(["model", "inspect", "model", "--ignore-setting", "attention_sinks"]).ok();
    // A database remembers what was passed over.
    small(&sandbox.path("data"));
    sandbox
        .run(["index", "data", "--out", "db", "--encoder", "model", "--ignore-setting", "attention_sinks"])
        .ok();
    sandbox.run(["search", "db", "rye", "--mode", "dense"]).ok();
}

#[test]
fn a_path_that_is_not_there_is_not_looked_up() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("mine/model"));
    for name in ["models/typo", "mine/typo", "./typo", "a/b/c"] {
        sandbox.run(["model", "inspect", name]).fails(3, ["there is no model directory", name]);
    }
}

#[test]
fn the_base_of_an_adapter_is_found_by_its_name() {
    let sandbox = Sandbox::new();
    let snapshot = sandbox.path("hub/models--acme--base/snapshots/0123456789abcdef0123456789abcdef01234567");
    tiny(&snapshot);
    write(&sandbox.path("hub/models--acme--base"), "refs/main", "0123456789abcdef0123456789abcdef01234567");
    let config =
        json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "acme/base"});
    write(&sandbox.path("adapter"), "adapter_config.json", config.to_string());
    fs::write(sandbox.path("adapter/adapter_model.safetensors"), safetensors(&Tensors::new())).unwrap();
    let inspect = |cache: &str| {
        let mut command = sandbox.command(["model", "inspect", "adapter"]);
        crate::support::Outcome::of(
            command.env("HF_HUB_CACHE", sandbox.path(cache)).env("HF_HUB_OFFLINE", "1"),
        )
    };
    assert!(inspect("hub").ok().contains("adapter: bert"));
    inspect("empty").fails(3, ["the base of the adapter adapter is acme/base", "--base"]);
}
