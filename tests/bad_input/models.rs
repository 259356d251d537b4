//! Faulty model directories.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::dataset::{small, write};
use crate::support::model::{safetensors, tiny, tiny_tensors};
use crate::support::{Outcome, Sandbox};

fn read_json(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

fn set(folder: &Path, name: &str, field: &str, value: Value) {
    let mut config = read_json(folder, name);
    config[field] = value;
    write(folder, name, config.to_string());
}

/// Indexing and encoding with the directory `model`.
fn commands(sandbox: &Sandbox) -> [Outcome; 2] {
    [("index", "db"), ("encode", "out.npy")]
        .map(|(subcommand, out)| sandbox.run([subcommand, "set", "--out", out, "--encoder", "model"]))
}

/// The same, which must leave nothing.
fn try_model(sandbox: &Sandbox) -> [Outcome; 2] {
    let outcomes = commands(sandbox);
    let names = sandbox.names();
    assert!(!names.iter().any(|name| name.starts_with("db") || name.starts_with("out")), "{names:?}");
    outcomes
}

#[test]
fn faulty_model_directories_are_refused() {
    const WEIGHT: &str = "encoder.layer.0.attention.self.query.weight";
    let remove = |name: &'static str| move |f: &Path| fs::remove_file(f.join(name)).unwrap();
    /// What is wrong, how it comes about, and what the message says.
    type Case<'a> = (&'a str, Box<dyn Fn(&Path)>, &'a [&'a str]);
    let cases: Vec<Case> = vec![
        (
            "no directory",
            Box::new(|f| fs::remove_dir_all(f).unwrap()),
            &["there is no model directory", "model"],
        ),
        (
            "no tokenizer",
            Box::new(remove("tokenizer.json")),
            &["model has no vocab.txt", "fetch vocab.txt or tokenizer.json"],
        ),
        ("no config", Box::new(remove("config.json")), &["model has no config.json"]),
        ("no weights", Box::new(remove("model.safetensors")), &["model has no model.safetensors"]),
        (
            "unknown architecture",
            Box::new(|f| set(f, "config.json", "model_type", json!("t5"))),
            &["model/config.json", "\"t5\"", "the families that load are", "bert"],
        ),
        ("config is not JSON", Box::new(|f| write(f, "config.json", "{")), &["model/config.json"]),
        (
            "config lacks its fields, which then have transformers' defaults",
            Box::new(|f| write(f, "config.json", r#"{"model_type": "bert"}"#)),
            &["model/model.safetensors", "the configuration asks for"],
        ),
        (
            "heads do not divide",
            Box::new(|f| set(f, "config.json", "num_attention_heads", json!(7))),
            &["model/config.json", "7"],
        ),
        (
            "no heads",
            Box::new(|f| set(f, "config.json", "num_attention_heads", json!(0))),
            &["model/config.json"],
        ),
        (
            "activation",
            Box::new(|f| set(f, "config.json", "hidden_act", json!("mish"))),
            &["model/config.json", "mish"],
        ),
        (
            "tokenizer is not JSON",
            Box::new(|f| write(f, "tokenizer.json", "<html>")),
            &["model/tokenizer.json"],
        ),
        (
            "tokenizer of another model",
            Box::new(|f| {
                // An id that the embedding table does not have, for a character of the data set.
                let mut tokenizer = read_json(f, "tokenizer.json");
                tokenizer["model"]["vocab"]["r"] = json!(4000);
                write(f, "tokenizer.json", tokenizer.to_string());
            }),
            &["model/tokenizer.json", "4000", "200"],
        ),
        (
            "module that is not known",
            Box::new(|f| {
                let modules = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
                                     {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]);
                write(f, "modules.json", modules.to_string());
            }),
            &["model/modules.json", "Dense"],
        ),
        (
            "no pooling config",
            Box::new(|f| {
                let _ = fs::remove_dir_all(f.join("1_Pooling"));
                let modules = json!([{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
                write(f, "modules.json", modules.to_string());
            }),
            &["model/1_Pooling/config.json"],
        ),
        (
            "maximum length 0",
            Box::new(|f| write(f, "sentence_bert_config.json", r#"{"max_seq_length": 0}"#)),
            &["model/sentence_bert_config.json", "max_seq_length"],
        ),
        (
            "tensor of wrong shape",
            Box::new(|f| {
                let mut tensors = tiny_tensors();
                let (shape, values) = tensors.get_mut(WEIGHT).unwrap();
                *shape = vec![48, 47];
                values.truncate(48 * 47);
                write(f, "model.safetensors", safetensors(&tensors));
            }),
            &["model/model.safetensors", WEIGHT, "[48, 47]", "[48, 48]"],
        ),
        (
            "tensor missing",
            Box::new(|f| {
                let mut tensors = tiny_tensors();
                tensors.remove(WEIGHT).unwrap();
                write(f, "model.safetensors", safetensors(&tensors));
            }),
            &["model/model.safetensors", WEIGHT],
        ),
        (
            "weights that are not numbers",
            Box::new(|f| {
                let mut tensors = tiny_tensors();
                tensors.get_mut(WEIGHT).unwrap().1[5] = f32::NAN;
                write(f, "model.safetensors", safetensors(&tensors));
            }),
            &["model/model.safetensors", WEIGHT, "not finite"],
        ),
    ];
    for (what, spoil, parts) in cases {
        let sandbox = Sandbox::new();
        small(&sandbox.path("set"));
        let folder = tiny(&sandbox.path("model"));
        spoil(&folder);
        // A fault in a text is found when the text is read. Every other fault is found before anything is written.
        let shown_by_texts = what == "tokenizer of another model";
        for outcome in if shown_by_texts { commands(&sandbox) } else { try_model(&sandbox) } {
            outcome.fails(3, parts);
        }
        assert!(!sandbox.path("db").exists() && !sandbox.path("out.npy").exists(), "{what}");
    }
}

#[test]
fn truncated_weights_are_refused_wherever_they_end() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    let folder = tiny(&sandbox.path("model"));
    let whole = fs::read(folder.join("model.safetensors")).unwrap();
    for len in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        write(&folder, "model.safetensors", &whole[..len]);
        for outcome in try_model(&sandbox) {
            outcome.fails(3, ["model/model.safetensors", "fetch it again"]);
        }
    }
    // A header length beyond any file, and bytes after the end.
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for bytes in [huge, [&whole[..], b"more"].concat()] {
        write(&folder, "model.safetensors", bytes);
        for outcome in try_model(&sandbox) {
            outcome.fails(3, ["model/model.safetensors"]);
        }
    }
}

#[test]
fn encoders_that_are_no_directory_are_refused() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    write(&sandbox.path("."), "weights.bin", "x");
    for (encoder, parts) in [
        ("./nowhere", &["there is no model directory ./nowhere"][..]),
        ("bert", &["there is no model directory bert"]),
    ] {
        sandbox.run(["index", "set", "--out", "db", "--encoder", encoder]).fails(3, parts);
    }
    sandbox.run(["index", "set", "--out", "db", "--encoder", "weights.bin"]).fails(3, ["weights.bin"]);
    sandbox.run(["encode", "set", "--out", "out.npy"]).fails(2, ["--encoder"]);
    assert_eq!(sandbox.names(), ["set", "weights.bin"]);
}

/// Where there is no GPU, asking for one says what was looked for before anything is written.
#[test]
fn a_device_that_is_not_there_is_refused() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    tiny(&sandbox.path("model"));
    let command = ["index", "set", "--out", "db", "--encoder", "model"];
    sandbox
        .run(command.iter().chain(&["--device", "cuda:99"]))
        .fails(1, ["cuda:99 cannot be used", "--device auto"]);
    sandbox
        .run(command.iter().chain(&["--device", "cuda", "--precision", "f32"]))
        .fails(1, ["cuda:0 cannot be used", "GPUs compute in bf16"]);
    sandbox
        .run(command.iter().chain(&["--device", "cuda", "--precision", "int8"]))
        .fails(1, ["cuda:0 cannot be used", "GPUs compute in bf16, and int8 was asked for"]);
    sandbox.run(command.iter().chain(&["--device", "tpu"])).fails(2, ["tpu", "cuda:N or cuda:all"]);
    sandbox.run(command.iter().chain(&["--precision", "f8"])).fails(2, ["f8", "f32, bf16, int8"]);
    sandbox.run(command.iter().chain(&["--batch-tokens", "0"])).fails(2, ["--batch-tokens"]);
    assert_eq!(sandbox.names(), ["model", "set"]);
}

/// Vectors of two precisions do not mix: a database in bf16 is searched in bf16, one in 8 bits in 8 bits.
#[test]
fn a_database_remembers_the_precision() {
    let sandbox = Sandbox::new();
    small(&sandbox.path("set"));
    tiny(&sandbox.path("model"));
    for (precision, other) in [("bf16", "int8"), ("int8", "bf16")] {
        let index = ["index", "set", "--out", precision, "--encoder", "model", "--precision", precision];
        sandbox.run(index.iter().chain(&["--batch-tokens", "9"])).ok();
        let search = ["search", precision, "word", "--mode", "dense"];
        sandbox.run(search).ok();
        let named = search.iter().chain(&["--encoder", "model"]);
        sandbox.run(named.clone()).fails(4, ["fingerprint"]);
        sandbox.run(named.clone().chain(&["--precision", other])).fails(4, ["fingerprint"]);
        sandbox.run(named.chain(&["--precision", precision])).ok();
    }
}
