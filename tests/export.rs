//! `secateur model export`, as users run it, and the programs that it writes for.

use std::process::Command;

use secateur_testkit::skip;
use serde_json::{Value, json};

use crate::support::model::{set, tiny, tiny_cross_encoder, untold};
use crate::support::{Sandbox, workspace_root};

#[test]
fn a_pruned_model_becomes_one_of_a_stock_family() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("tiny"));
    let drop = ["prune", "drop", "tiny", "--layers", "attention:0,mlp:1,block:2", "--out", "small"];
    sandbox.run(drop).ok();
    let export = ["model", "export", "small", "--to", "sentence-transformers", "--out", "stock"];
    sandbox
        .run(export)
        .fails(3, ["small cannot be exported", "layer 0 has no attention; layer 1 has no MLP", "(--pad)"]);
    let padded = [&export[..], &["--pad"]].concat();
    let said = sandbox.run(&padded).ok();
    for line in [
        "stock: small for sentence-transformers",
        "layers: 2; nothing remained of layer 2, so numbers after it are lower",
        "attention of zeros in layer 0",
        "MLP of zeros in layer 1",
        "norms were moved: vectors are those of the model up to rounding",
    ] {
        assert!(said.lines().any(|said| said == line), "no {line:?} in {said}");
    }
    sandbox.run(&padded).fails(2, ["exists: choose another output, or remove it"]);
    sandbox.run(["model", "check", "small", "--golden", "golden.jsonl", "--write"]).ok();
    let check = ["model", "check", "stock", "--golden", "golden.jsonl", "--min-cosine", "0.999999"];
    sandbox.run(check).ok();
    let inspected = sandbox.run(["model", "inspect", "stock", "--json"]).json();
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 2);
    // BERT's own head is kept.
    assert_eq!(inspected["weights"]["unused"], json!(["pooler.dense.bias", "pooler.dense.weight"]));
}

#[test]
fn what_cannot_be_exported_says_why() {
    let sandbox = Sandbox::new();
    tiny(&sandbox.path("tiny"));
    let export =
        |model: &str, format: &str| sandbox.run(["model", "export", model, "--to", format, "--out", "out"]);
    export("tiny", "gguf").fails(2, ["gguf", "sentence-transformers, nemotron-nas"]);
    export("tiny", "nemotron-nas").fails(3, ["tiny cannot be exported to nemotron-nas", "it is a bert"]);
    export("nothing", "transformers").fails(3, ["nothing"]);
    sandbox.run(["model", "quantize", "tiny", "--out", "nf4"]).ok();
    export("nf4", "transformers").fails(3, ["quantized; export the model that it was made from"]);

    // A cross-encoder stays one for transformers alone.
    let folder = tiny_cross_encoder(&sandbox.path("scorer"));
    set(&folder, "architectures", json!(["BertForSequenceClassification"]));
    export("scorer", "sentence-transformers").fails(3, ["a cross-encoder gives scores", "to transformers"]);
    export("scorer", "transformers").ok();
    let kept = std::fs::read(sandbox.path("out/model.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&kept).contains("classifier.weight"));
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();

    // A setting that is not known, passed over or not.
    let folder = untold(&sandbox.path("odd"));
    set(&folder, "alibi", json!(8));
    export("odd", "transformers").fails(3, ["alibi", "--ignore-setting"]);
    let ignored =
        ["model", "export", "odd", "--to", "transformers", "--out", "out", "--ignore-setting", "alibi"];
    sandbox.run(ignored).ok();
    let config: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("out/config.json")).unwrap()).unwrap();
    assert!(config.get("alibi").is_none(), "{config}");
}

/// Each export is loaded by the program that it was written for: scripts/exports/check.py.
#[test]
fn exports_give_their_readers_the_vectors_of_the_model() {
    let root = workspace_root();
    let test = "exports_give_their_readers_the_vectors_of_the_model";
    // The one of scripts/parity, or one that is named.
    let installed = root.join("target/parity/venv/bin/python");
    let python = std::env::var_os("PYTHON").map_or(installed, Into::into);
    let has_readers = Command::new(&python).args(["-c", "import sentence_transformers"]).output();
    if !has_readers.is_ok_and(|output| output.status.success()) {
        skip(test, "no python with sentence-transformers: PYTHON names one, and scripts/parity installs one");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let check = root.join("scripts/exports/check.py");
    let output = Command::new(python)
        .arg(check)
        .args([env!("CARGO_BIN_EXE_secateur").as_ref(), work.path().as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // Eight families in three cuts, and the blocks of three of them.
    let lines = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((lines("equal "), lines("read ")), (8 * 3, 3 * 3), "{said}");
}
