use std::path::Path;

use safetensors::Dtype;
use secateur_encoders::{CrossEncoder, Encoder, LoadOptions, Pooling, TextKind};
use secateur_testkit::workspace_root;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Fixture, HIDDEN_SIZE, Tensor, write_json, write_tensors, write_tokenizer};

const WORDS: [&str; 6] = ["query:", "red", "roses", "are", "not", "pruned"];
const UNKNOWN: u32 = 0;
const BOS: u32 = 1;
const EOS: u32 = 2;

/// The tiny Llama with a tokenizer of six words, ids 3 to 8.
fn llama(template: Option<&str>, tokenizer_config: &Value) -> TempDir {
    let fixture = Fixture::read("llama");
    let directory = fixture.write(&fixture.config);
    write_tokenizer(directory.path(), &WORDS, template);
    write_json(directory.path(), "tokenizer_config.json", tokenizer_config);
    directory
}

fn load(directory: &TempDir, options: &LoadOptions) -> Encoder {
    Encoder::load(directory.path(), options).unwrap()
}

fn refused(directory: &TempDir, options: &LoadOptions) -> String {
    Encoder::load(directory.path(), options).err().expect("this must not load").to_string()
}

fn ids(encoder: &Encoder, text: &str) -> Vec<u32> {
    encoder.tokenize(&[text], TextKind::Passage).unwrap().remove(0)
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn texts_begin_and_end_as_tokenizer_config_says() {
    let both = Some("<s> $A </s>");
    let named = json!({"bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}});
    let with = |changes: Value| {
        let mut config = named.clone();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config
    };
    let cases: [(Option<&str>, Value, &[u32]); 10] = [
        (None, json!({}), &[4, 5]),
        (both, json!({}), &[BOS, 4, 5, EOS]),
        (both, named.clone(), &[BOS, 4, 5, EOS]),
        // What EffiR's checkpoints are: tokenizer.json puts only the BOS.
        (Some("<s> $A"), with(json!({"add_bos_token": true, "add_eos_token": true})), &[BOS, 4, 5, EOS]),
        (None, with(json!({"add_bos_token": true, "add_eos_token": true})), &[BOS, 4, 5, EOS]),
        (None, with(json!({"add_eos_token": true})), &[4, 5, EOS]),
        // Nothing is put twice.
        (both, with(json!({"add_bos_token": true, "add_eos_token": true})), &[BOS, 4, 5, EOS]),
        (both, with(json!({"add_eos_token": false})), &[BOS, 4, 5]),
        (both, with(json!({"add_bos_token": false, "add_eos_token": null})), &[4, 5, EOS]),
        // What Qwen3-Embedding is: an explicit "no BOS" leaves the EOS of tokenizer.json.
        (Some("$A </s>"), with(json!({"add_bos_token": false})), &[4, 5, EOS]),
    ];
    for (template, config, want) in cases {
        let encoder = load(&llama(template, &config), &LoadOptions::default());
        assert_eq!(ids(&encoder, "red roses"), want, "{template:?} with {config}");
        // A special token in the text is not taken for the special token that the tokenizer adds.
        let written = ids(&encoder, "<s> red </s>");
        assert_eq!(written.len(), want.len() + 1, "{template:?} with {config}: {written:?}");
    }
    // The names may stand in special_tokens_map.json alone.
    let directory = llama(None, &json!({"add_eos_token": true}));
    let message = refused(&directory, &LoadOptions::default());
    assert!(message.contains("tokenizer_config.json: eos_token is absent; expected a token"), "{message}");
    write_json(directory.path(), "special_tokens_map.json", &json!({"eos_token": {"content": "</s>"}}));
    assert_eq!(ids(&load(&directory, &LoadOptions::default()), "red"), [4, EOS]);
}

/// tests/fixtures/tokenizers/cases.json
#[derive(Deserialize)]
struct Cases {
    texts: Vec<String>,
    short: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    model_type: String,
    config: Value,
    /// Other files, by their names.
    #[serde(default)]
    files: serde_json::Map<String, Value>,
    /// Whether tokenizer.json cuts texts at the left.
    #[serde(default)]
    cut_left: bool,
    ids: Vec<Vec<u32>>,
    short_ids: Vec<Vec<u32>>,
}

/// A model of this family with room for all ids.
fn roomy(model_type: &str) -> TempDir {
    const IDS: usize = 400;
    let mut fixture = Fixture::read(model_type);
    fixture.config["vocab_size"] = IDS.into();
    let is_table =
        |name: &str| ["embed_tokens", "word_embeddings", "tok_embeddings"].iter().any(|x| name.contains(x));
    fixture.tensors.iter_mut().find(|tensor| is_table(&tensor.name)).unwrap().shape[0] = IDS;
    fixture.write(&fixture.config)
}

#[test]
fn tokens_are_those_of_transformers() {
    let folder = workspace_root().join("tests/fixtures/tokenizers");
    let cases: Cases = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let mut models = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    for Case { tokenizer, model_type, config, files, cut_left, ids: whole, short_ids } in &cases.cases {
        let directory: &TempDir = models.entry(model_type).or_insert_with(|| roomy(model_type));
        let json = std::fs::read(folder.join(format!("{tokenizer}.json"))).unwrap();
        let mut json: Value = serde_json::from_slice(&json).unwrap();
        if *cut_left {
            json["truncation"] =
                json!({"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
        }
        write_json(directory.path(), "tokenizer.json", &json);
        write_json(directory.path(), "tokenizer_config.json", config);
        for file in ["special_tokens_map.json", "added_tokens.json"] {
            let _ = std::fs::remove_file(directory.path().join(file));
        }
        for (file, value) in files {
            write_json(directory.path(), file, value);
        }
        let what =
            format!("{tokenizer} of {model_type} with {config} {files:?}, cut at the left: {cut_left}");
        for (max_length, wanted) in [(None, whole), (Some(cases.short), short_ids)] {
            let encoder = match Encoder::load(
                directory.path(),
                &LoadOptions { max_length, ..LoadOptions::default() },
            ) {
                Ok(encoder) => encoder,
                Err(error) => {
                    wrong.push(format!("{what}: {error}"));
                    break;
                }
            };
            for (text, want) in cases.texts.iter().zip(wanted) {
                let got = encoder.tokenize(&[text], TextKind::Passage);
                // A text without any token has no vector.
                let got =
                    if want.is_empty() { got.ok().unwrap_or_else(|| vec![Vec::new()]) } else { got.unwrap() };
                if got[0] != *want {
                    wrong.push(format!("{what}: {text:?} at {max_length:?} is {:?}, not {want:?}", got[0]));
                }
            }
        }
    }
    assert!(cases.cases.len() > 200);
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn words_are_not_cut_at_random() {
    let directory = roomy("qwen3");
    let json = std::fs::read(workspace_root().join("tests/fixtures/tokenizers/bytes.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    json["model"]["dropout"] = json!(0.5);
    write_json(directory.path(), "tokenizer.json", &json);
    write_json(
        directory.path(),
        "tokenizer_config.json",
        &json!({"tokenizer_class": "PreTrainedTokenizerFast"}),
    );
    let message = refused(&directory, &LoadOptions::default());
    assert!(message.contains("tokenizer.json: model.dropout is 0.5; expected null"), "{message}");
    // This class takes no more than pieces and merges from the file.
    write_json(directory.path(), "tokenizer_config.json", &json!({"tokenizer_class": "Qwen2Tokenizer"}));
    let encoder = load(&directory, &LoadOptions::default());
    let first = ids(&encoder, "roses are pruned");
    assert!((0..20).all(|_| ids(&encoder, "roses are pruned") == first));
}

#[test]
fn code_of_a_models_own_may_heed_what_its_class_does_not() {
    let config = json!({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "</s>", "add_eos_token": true});
    assert_eq!(ids(&load(&llama(None, &config), &LoadOptions::default()), "red"), [4]);
    let mut own = config.clone();
    own["auto_map"] = json!({"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", null]});
    assert_eq!(ids(&load(&llama(None, &own), &LoadOptions::default()), "red"), [4, EOS]);
}

#[test]
fn truncation_keeps_the_special_tokens() {
    let config =
        json!({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true});
    let at = |max_length| LoadOptions { max_length: Some(max_length), ..LoadOptions::default() };
    let directory = llama(None, &config);
    let text = "red roses are not pruned";
    for (max_length, want) in [
        (3, vec![BOS, 4, EOS]),
        (6, vec![BOS, 4, 5, 6, 7, EOS]),
        (7, vec![BOS, 4, 5, 6, 7, 8, EOS]),
        (8, vec![BOS, 4, 5, 6, 7, 8, EOS]),
    ] {
        assert_eq!(ids(&load(&directory, &at(max_length)), text), want);
    }
    let message = refused(&directory, &at(2));
    assert!(
        message.contains("the maximum length is 2; expected more than the 2 special tokens"),
        "{message}"
    );
    // tokenizer_config.json may limit the length, and cut the beginning instead of the end.
    let mut left = config.clone();
    left["truncation_side"] = "left".into();
    left["model_max_length"] = json!(4);
    let encoder = load(&llama(None, &left), &LoadOptions::default());
    assert_eq!((encoder.max_length(), ids(&encoder, text)), (4, vec![BOS, 7, 8, EOS]));
}

#[test]
fn no_vector_sees_padding() {
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "add_eos_token": true});
    let texts = ["red", "red roses are not pruned", "roses are pruned", "unheard of"];
    let mut seen: Option<Vec<f32>> = None;
    for side in [None, Some("Left"), Some("Right")] {
        let directory = llama(Some("<s> $A"), &config);
        let path = directory.path().join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if let Some(side) = side {
            tokenizer["padding"] = json!({
                "strategy": {"Fixed": 32}, "direction": side, "pad_to_multiple_of": null, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "[UNK]",
            });
            let truncation =
                json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
            tokenizer["truncation"] = truncation;
            let mut config = config.clone();
            config["padding_side"] = side.to_lowercase().into();
            write_json(directory.path(), "tokenizer_config.json", &config);
        }
        write_json(directory.path(), "tokenizer.json", &tokenizer);
        let encoder = load(&directory, &LoadOptions::default());
        assert_eq!(ids(&encoder, texts[3]), [BOS, UNKNOWN, UNKNOWN, EOS]);
        let together = encoder.encode(&texts, TextKind::Passage).unwrap();
        for (text, vector) in texts.iter().zip(together.chunks_exact(HIDDEN_SIZE)) {
            assert!(encoder.encode(&[text], TextKind::Passage).unwrap() == vector);
            assert!((length(vector) - 1.0).abs() < 1e-6);
        }
        assert!(*seen.get_or_insert_with(|| together.clone()) == together, "{side:?} is seen");
    }
}

#[test]
fn tokens_that_only_the_config_has_are_added() {
    let token = |content: &str, special: bool| json!({"content": content, "special": special, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false});
    let config = json!({"added_tokens_decoder": {"9": token("<instruct>", true), "10": token("<query>", true), "1": token("<s>", true)}});
    let encoder = load(&llama(None, &config), &LoadOptions::default());
    assert_eq!(ids(&encoder, "<instruct>red <query>roses"), [9, 4, 10, 5]);
    let config = json!({"added_tokens_decoder": {"77": token("<instruct>", true)}});
    let message = refused(&llama(None, &config), &LoadOptions::default());
    assert!(
        message.contains("added_tokens_decoder.77 is \"<instruct>\"") && message.contains("id 9"),
        "{message}"
    );
    let config = json!({"added_tokens_decoder": {"300": token("red", true)}});
    assert!(refused(&llama(None, &config), &LoadOptions::default()).contains("id 4"));
}

#[test]
fn prompts_come_from_the_directory_or_the_options() {
    let directory = llama(Some("<s> $A </s>"), &json!({}));
    let prompts = json!({"prompts": {"query": "query: ", "document": "red "}, "default_prompt_name": null});
    write_json(directory.path(), "config_sentence_transformers.json", &prompts);
    let tokens = |encoder: &Encoder, kind| encoder.tokenize(&["roses"], kind).unwrap().remove(0);
    let encoder = load(&directory, &LoadOptions::default());
    assert_eq!(tokens(&encoder, TextKind::Query), [BOS, 3, 5, EOS]);
    assert_eq!(tokens(&encoder, TextKind::Passage), [BOS, 4, 5, EOS]);
    let options = LoadOptions { query_prompt: Some(String::new()), ..LoadOptions::default() };
    let other = load(&directory, &options);
    assert_eq!(tokens(&other, TextKind::Query), [BOS, 5, EOS]);
    assert!(encoder.fingerprint() != other.fingerprint());
}

#[test]
fn pooling_is_what_the_directory_says() {
    let directory = llama(None, &json!({}));
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]);
    write_json(directory.path(), "modules.json", &modules);
    std::fs::create_dir(directory.path().join("1_Pooling")).unwrap();
    let with = |mode: &str| {
        let pooling = json!({"word_embedding_dimension": 48, mode: true, "include_prompt": true});
        write_json(&directory.path().join("1_Pooling"), "config.json", &pooling);
        load(&directory, &LoadOptions::default())
    };
    let one = |encoder: &Encoder, text: &str| encoder.encode(&[text], TextKind::Passage).unwrap();
    // The model is causal: the hidden state of a token is that of the last token of the text up to it.
    let last = with("pooling_mode_lasttoken");
    assert_eq!(last.settings().pooling, Pooling::LastToken);
    let states = ["red", "red roses", "red roses are"].map(|text| one(&last, text));
    let weighted = |weights: [f32; 3]| -> Vec<f32> {
        let total: f32 = weights.iter().sum();
        (0..HIDDEN_SIZE)
            .map(|k| states.iter().zip(weights).map(|(state, weight)| weight * state[k]).sum::<f32>() / total)
            .collect()
    };
    for (mode, weights) in [
        ("pooling_mode_cls_token", [1.0, 0.0, 0.0]),
        ("pooling_mode_mean_tokens", [1.0, 1.0, 1.0]),
        ("pooling_mode_weightedmean_tokens", [1.0, 2.0, 3.0]),
        ("pooling_mode_lasttoken", [0.0, 0.0, 1.0]),
    ] {
        let got = one(&with(mode), "red roses are");
        // Sums of three numbers of size at most ten, in another order.
        assert!(crate::support::deviation(&got, &weighted(weights)) < 1e-5, "{mode}");
    }
}

#[test]
fn vectors_are_cut_where_the_model_was_not_trained_otherwise() {
    let directory = llama(None, &json!({}));
    let config = Fixture::read("llama").config;
    let declare = |changes: Value| {
        let mut config = config.clone();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        write_json(directory.path(), "config.json", &config);
    };
    let cut = |dim| LoadOptions { truncate_dim: Some(dim), ..LoadOptions::default() };
    // Whoever asks for a cut gets it, unless the model says which cuts it was trained for.
    assert_eq!(load(&directory, &cut(16)).dim(), 16);
    declare(json!({"matryoshka_dimensions": [32, 16]}));
    assert!(refused(&directory, &cut(24)).contains("one of matryoshka_dimensions, [32, 16]"));
    declare(json!({"is_matryoshka": false}));
    assert_eq!(load(&directory, &cut(24)).dim(), 24);
    declare(json!({"is_matryoshka": true}));
    assert!(refused(&directory, &cut(49)).contains("expected 1 to 48"));

    let whole = load(&directory, &LoadOptions::default());
    let encoder = load(&directory, &cut(16));
    assert_eq!((encoder.dim(), whole.dim()), (16, 48));
    assert!(encoder.fingerprint() != whole.fingerprint());
    let texts = ["red roses", "pruned"];
    let full = whole.encode(&texts, TextKind::Query).unwrap();
    let part = encoder.encode(&texts, TextKind::Query).unwrap();
    assert_eq!(part.len(), 32);
    for (full, part) in full.chunks_exact(48).zip(part.chunks_exact(16)) {
        // Scaled after the cut: length 1, the direction of the whole vector's beginning.
        let scale = length(&full[..16]);
        let want: Vec<f32> = full[..16].iter().map(|x| x / scale).collect();
        assert!(crate::support::deviation(part, &want) < 1e-6);
    }
}

#[test]
fn pairs_are_scored_as_their_tokens() {
    let fixture = Fixture::read("xlm-roberta-cross-encoder");
    let directory = fixture.write(&fixture.config);
    write_tokenizer(directory.path(), &WORDS, Some("<s> $A </s>"));
    let reranker = CrossEncoder::load(directory.path(), &LoadOptions::default()).unwrap();
    let pairs =
        [("red roses", "roses are red"), ("red", "pruned"), ("are roses pruned", "red roses are not pruned")];
    let scores = reranker.score(&pairs).unwrap();
    for (pair, score) in pairs.iter().zip(&scores) {
        assert_eq!(reranker.score(&[*pair]).unwrap(), [*score]);
    }
    assert!(
        scores[0] != reranker.score(&[(pairs[0].1, pairs[0].0)]).unwrap()[0],
        "the order does not matter"
    );
    // Cut to the special tokens and three more, the longer text first: "red" and "roses are".
    let options = LoadOptions { max_length: Some(7), ..LoadOptions::default() };
    let short = CrossEncoder::load(directory.path(), &options).unwrap();
    assert_eq!(short.max_length(), 7);
    let cut = short.score(&[("red", "roses are not pruned")]).unwrap();
    assert_eq!(cut, reranker.score(&[("red", "roses are")]).unwrap());
    let options = LoadOptions { max_length: Some(4), ..LoadOptions::default() };
    let message =
        CrossEncoder::load(directory.path(), &options).unwrap().score(&pairs).unwrap_err().to_string();
    assert!(message.contains("more than the 4 special tokens"), "{message}");
}

#[test]
fn the_second_text_of_a_pair_is_of_type_1_where_the_model_knows_types() {
    let pairs = [("red roses", "roses are red")];
    let score = |name: &str, kind: u32| {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.config);
        write_tokenizer(directory.path(), &WORDS, Some("<s> $A </s>"));
        let path = directory.path().join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // <s> A </s> <s> B </s>
        for piece in &mut tokenizer["post_processor"]["pair"].as_array_mut().unwrap()[3..] {
            piece.as_object_mut().unwrap().values_mut().for_each(|piece| piece["type_id"] = kind.into());
        }
        write_json(directory.path(), "tokenizer.json", &tokenizer);
        let reranker = CrossEncoder::load(directory.path(), &LoadOptions::default()).unwrap();
        reranker.score(&pairs)
    };
    let bert = |kind| score("bert-cross-encoder", kind);
    assert!((bert(0).unwrap()[0] - bert(1).unwrap()[0]).abs() > 1e-3, "types do not reach the model");
    let message = bert(2).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json: a token's type is 2; expected one of the model's 2 types"),
        "{message}"
    );
    for name in ["xlm-roberta-cross-encoder", "modernbert-cross-encoder"] {
        assert_eq!(score(name, 0).unwrap(), score(name, 1).unwrap(), "{name} has one type");
    }
}

fn adapter(directory: &Path, base: &str, scale: f32) {
    write_json(
        directory,
        "adapter_config.json",
        &json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}),
    );
    let module = "base_model.model.layers.0.mlp.up_proj";
    let tensor = |name: &str, shape: [usize; 2]| Tensor {
        name: format!("{module}.{name}.weight"),
        shape: shape.to_vec(),
        values: vec![scale; shape[0] * shape[1]],
    };
    let tensors = [tensor("lora_A", [2, 48]), tensor("lora_B", [80, 2])];
    write_tensors(&directory.join("adapter_model.safetensors"), &tensors, Dtype::F32);
}

#[test]
fn an_adapters_directory_loads_with_its_base() {
    let base = llama(None, &json!({}));
    let encode = |encoder: &Encoder| encoder.encode(&["red roses"], TextKind::Passage).unwrap();
    let plain = load(&base, &LoadOptions::default());
    let directory = TempDir::new().unwrap();
    adapter(directory.path(), base.path().to_str().unwrap(), 0.5);
    let named = load(&directory, &LoadOptions::default());
    assert!(encode(&named) != encode(&plain));
    assert!(named.fingerprint() != plain.fingerprint());

    // Its own tokenizer counts before the base's.
    write_tokenizer(directory.path(), &WORDS, Some("$A </s>"));
    assert_eq!(ids(&load(&directory, &LoadOptions::default()), "red"), [4, EOS]);
    std::fs::remove_file(directory.path().join("tokenizer.json")).unwrap();

    // A name of the hub is no directory: the base has to be given.
    adapter(directory.path(), "mistralai/Mistral-7B-v0.1", 0.5);
    let message = refused(&directory, &LoadOptions::default());
    assert!(
        message.contains("has no base model") && message.contains("give the base model's directory"),
        "{message}"
    );
    let options = LoadOptions { base: Some(base.path().to_owned()), ..LoadOptions::default() };
    assert!(encode(&load(&directory, &options)) == encode(&named));
    // The fingerprint covers the adapter's weights.
    let before = *load(&directory, &options).fingerprint();
    adapter(directory.path(), "mistralai/Mistral-7B-v0.1", 0.25);
    assert!(*load(&directory, &options).fingerprint() != before);
    let message = refused(&base, &options);
    assert!(message.contains("has no adapter_config.json: a base model goes with an adapter"), "{message}");
}
