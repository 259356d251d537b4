use std::path::{Path, PathBuf};

use secateur_encoders::golden::Golden;
use secateur_encoders::inspect::{InspectOptions, Inspection};
use secateur_encoders::{CrossEncoder, Encoder, LoadOptions};
use secateur_testkit::workspace_root;
use serde::Deserialize;

/// Hidden states of models this small are of size one to ten, and cosines of f32 hold to some 1e-6.
const LEAST_COSINE: f64 = 0.999_99;

fn folder() -> PathBuf {
    workspace_root().join("tests/fixtures/checkpoints")
}

/// The models that have this file.
fn names(file: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(file).exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The fixtures' vectors are those of sentence-transformers, transformers and PEFT.
#[test]
fn vectors_are_those_of_the_reference_libraries() {
    let names = names("golden.jsonl");
    assert!(names.len() >= 22, "fixtures are missing: {names:?}");
    let mut wrong = Vec::new();
    for name in &names {
        let golden = Golden::read(folder().join(name).join("golden.jsonl")).unwrap();
        let compared = Encoder::load(folder().join(name).join("model"), &LoadOptions::default())
            .and_then(|encoder| golden.compare(&encoder));
        match compared {
            Ok(comparison) if comparison.least_cosine >= LEAST_COSINE => {}
            Ok(comparison) => wrong.push(format!("{name}: {comparison:?}")),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Logits of models this small are of size one to ten.
const MOST_OFF: f64 = 1e-4;

#[derive(Deserialize)]
struct Scored {
    query: String,
    passage: String,
    score: f64,
}

/// The fixtures' scores are those of sentence-transformers.
#[test]
fn scores_are_those_of_the_reference_library() {
    let names = names("scores.jsonl");
    assert_eq!(names.len(), 4, "fixtures are missing: {names:?}");
    let mut wrong = Vec::new();
    for name in &names {
        let lines = std::fs::read_to_string(folder().join(name).join("scores.jsonl")).unwrap();
        let scored: Vec<Scored> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pairs: Vec<(&str, &str)> = scored.iter().map(|one| (&one.query[..], &one.passage[..])).collect();
        let model = CrossEncoder::load(folder().join(name).join("model"), &LoadOptions::default()).unwrap();
        for (one, score) in scored.iter().zip(model.score(&pairs).unwrap()) {
            if (one.score - f64::from(score)).abs() > MOST_OFF {
                let Scored { query, passage, score: want } = one;
                wrong.push(format!("{name}: {query:?} and {passage:?} have {score}, not {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A comparison that cannot fail would show nothing: one number of a vector changed is seen.
#[test]
fn another_model_is_told_apart() {
    let golden = Golden::read(folder().join("rope-yarn/golden.jsonl")).unwrap();
    let other = Encoder::load(folder().join("rope-linear/model"), &LoadOptions::default()).unwrap();
    assert!(golden.compare(&other).unwrap().least_cosine < 0.999);
}

#[test]
fn every_setting_has_a_source() {
    let inspect = |name: &str| {
        let path: &Path = &folder().join(name).join("model");
        Inspection::of_path(path, &InspectOptions::default()).unwrap()
    };
    let old = inspect("folders-of-old");
    let from = |inspection: &Inspection, setting: &str| {
        let found = inspection.in_force.iter().find(|one| one.setting == setting);
        found.map(|one| (one.value.to_string(), one.from.clone()))
    };
    let is = |value: &str, file: &str| Some((value.to_owned(), file.to_owned()));
    assert_eq!(from(&old, "max_length"), is("12", "sentence_bert_config.json"));
    assert_eq!(from(&old, "pooling"), is("\"cls\"", "1_Pooling/config.json"));
    assert_eq!(from(&old, "do_lower_case"), is("false", "tokenizer_config.json"));
    assert_eq!(from(&old, "hidden_size"), is("16", "config.json"));
    assert!(old.notices.is_empty(), "{:?}", old.notices);

    let bare = inspect("config-of-defaults");
    assert_eq!(from(&bare, "hidden_act"), is("\"gelu\"", "default of transformers"));
    assert_eq!(from(&bare, "pooling"), is("\"mean\"", "assumed"));
    assert!(bare.notices[0].text.contains("mean pooling"), "{:?}", bare.notices);
    let strict = LoadOptions { strict: true, ..LoadOptions::default() };
    let error = Encoder::load(folder().join("config-of-defaults/model"), &strict).err().unwrap().to_string();
    assert!(error.contains("modules.json") && error.contains("--strict"), "{error}");

    let adapter = inspect("adapter-olora");
    assert_eq!(from(&adapter, "init_lora_weights"), is("\"olora\"", "adapter_config.json"));
}
