//! The settings that the installed libraries know, as `tests/fixtures/settings/record_keys.py` recorded them.
//!
//! Each is read, harmless or refused here, so that a new key of a new version is seen.

use std::collections::BTreeMap;

use secateur_testkit::workspace_root;
use serde_json::{Map, Value};

use crate::architecture::family::rotary;
use crate::architecture::family::{self, keys};
use crate::keys::Keys;
use crate::sentence_keys;
use crate::tokenize::KEYS as TOKENIZER;
use crate::weights::adapter::keys::KEYS as ADAPTER;

fn recorded() -> Map<String, Value> {
    let path = workspace_root().join("tests/fixtures/settings/keys.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Keys of the constructors of Python classes that no file has.
const NOT_IN_FILES: [&str; 2] = ["model_name_or_path", "self"];

fn unknown<'n>(names: &[&'n str], tables: &[&Keys]) -> Vec<&'n str> {
    let is_known = |name: &str| tables.iter().any(|keys| keys.find(name).is_some());
    names.iter().copied().filter(|name| !NOT_IN_FILES.contains(name) && !is_known(name)).collect()
}

#[test]
fn every_key_of_the_libraries_is_known() {
    let recorded = recorded();
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, list) in recorded["config.json"].as_object().unwrap() {
        let family = family::by_name(family_name(name));
        let tables: Vec<_> = family.keys.with_common().collect();
        found.insert(format!("config.json of {name}"), unknown(&names(list), &tables));
    }
    for (file, tables) in [
        ("config.json of old", &[&keys::COMMON][..]),
        ("rope_parameters", &[&rotary::KEYS]),
        ("quantization_config", &[&keys::QUANTIZATION]),
        ("special tokens", &[&TOKENIZER]),
        ("sentence_bert_config.json", &[&sentence_keys::TRANSFORMER]),
        ("config_sentence_transformers.json", &[&sentence_keys::MODEL]),
        ("adapter_config.json", &[&ADAPTER]),
    ] {
        found.insert(file.to_owned(), unknown(&names(&recorded[file]), tables));
    }
    for (class, list) in recorded["tokenizer_config.json"].as_object().unwrap() {
        found.insert(format!("tokenizer_config.json of {class}"), unknown(&names(list), &[&TOKENIZER]));
    }
    for of_modules in [&recorded["modules"], &recorded["sentence_transformers of old"]] {
        for (module, list) in of_modules.as_object().unwrap() {
            let keys = match module.as_str() {
                "Pooling" => &sentence_keys::POOLING,
                "Dense" => &sentence_keys::DENSE,
                "LayerNorm" => &sentence_keys::LAYER_NORM,
                "Normalize" => &sentence_keys::NORMALIZE,
                _ => &sentence_keys::TRANSFORMER,
            };
            found.entry(module.clone()).or_default().extend(unknown(&names(list), &[keys]));
        }
    }
    found.retain(|_, unknown| !unknown.is_empty());
    assert!(found.is_empty(), "read these, or say why they are harmless or refused: {found:#?}");
}

fn family_name(name: &str) -> &'static str {
    let config = serde_json::json!({ "model_type": name });
    family::find(&config).unwrap_or_else(|| panic!("{name} loads")).model_type
}

/// A key is in one list only, or it would be unclear what holds.
#[test]
fn a_key_is_said_once() {
    let sentences = [
        &sentence_keys::TRANSFORMER,
        &sentence_keys::MODEL,
        &sentence_keys::POOLING,
        &sentence_keys::DENSE,
        &TOKENIZER,
        &ADAPTER,
        &keys::COMMON,
    ];
    for keys in sentences {
        let harmless = keys.harmless.iter().flat_map(|(_, keys)| *keys);
        let mut all: Vec<&str> = keys.read.iter().chain(harmless).copied().collect();
        all.extend(keys.only.iter().map(|(key, ..)| *key));
        all.sort_unstable();
        let twice: Vec<&[&str]> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

/// What is taken where config.json lacks a key is what transformers takes.
#[test]
fn defaults_are_those_of_transformers() {
    let recorded = recorded();
    for (name, theirs) in recorded["defaults"].as_object().unwrap() {
        let ours: Map<String, Value> =
            serde_json::from_str(family::by_name(family_name(name)).keys.defaults).unwrap();
        for (key, value) in &ours {
            let Some(their) = theirs.get(key) else { continue };
            let is_same = value == their || value.as_f64().is_some() && value.as_f64() == their.as_f64();
            assert!(is_same, "{name}: {key} is {value} here and {their} there");
        }
        for size in
            ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
        {
            assert!(ours.contains_key(size) && theirs.get(size).is_some(), "{name}: {size}");
        }
    }
}
