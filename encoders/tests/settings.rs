use std::path::Path;

use secateur_encoders::{Encoder, LoadOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Fixture, id_tokenizer, write_json};

/// A tiny model as sentence-transformers writes it, every file of which can be changed.
fn directory() -> TempDir {
    let fixture = Fixture::read("bert");
    let directory = fixture.write(&fixture.config);
    id_tokenizer(directory.path());
    let module = |path: &str, name: &str| json!({"idx": 0, "name": "0", "path": path, "type": format!("sentence_transformers.models.{name}")});
    let modules = json!([
        module("", "Transformer"),
        module("1_Pooling", "Pooling"),
        module("2_Normalize", "Normalize")
    ]);
    write_json(directory.path(), "modules.json", &modules);
    for folder in ["1_Pooling", "2_Normalize"] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
    }
    write_json(
        directory.path(),
        "1_Pooling/config.json",
        &json!({"pooling_mode": "mean", "include_prompt": true}),
    );
    write_json(directory.path(), "2_Normalize/config.json", &json!({}));
    write_json(directory.path(), "sentence_bert_config.json", &json!({}));
    write_json(directory.path(), "config_sentence_transformers.json", &json!({}));
    directory
}

fn load(directory: &TempDir, options: &LoadOptions) -> Result<Encoder, String> {
    Encoder::load(directory.path(), options).map_err(|error| error.to_string())
}

fn with(directory: &TempDir, file: &str, key: &str, value: Value) {
    let path = directory.path().join(file);
    let mut object: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    object[key] = value;
    write_json(directory.path(), file, &object);
}

/// In every file that is read, a setting that nobody knows is refused by its name, unless it is to be ignored.
#[test]
fn an_unknown_setting_of_any_file_is_refused() {
    for file in [
        "config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
        "2_Normalize/config.json",
    ] {
        let directory = directory();
        load(&directory, &LoadOptions::default()).unwrap();
        with(&directory, file, "doubled_heads", json!({"how": [1, 2]}));
        let message = load(&directory, &LoadOptions::default()).err().unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        for part in [name, "doubled_heads", r#"{"how":[1,2]}"#, "--ignore-setting doubled_heads"] {
            assert!(message.contains(part), "{file}: {message}");
        }
        let ignored =
            LoadOptions { ignore_settings: vec!["doubled_heads".to_owned()], ..LoadOptions::default() };
        let encoder = load(&directory, &ignored).unwrap();
        assert!(encoder.settings().normalize);
        // What says nothing changes nothing.
        with(&directory, file, "doubled_heads", Value::Null);
        load(&directory, &LoadOptions::default()).unwrap();
    }
}

/// Settings whose usual value is harmless are refused with another one.
#[test]
fn other_values_than_the_usual_are_refused() {
    for (file, key, harmless, other) in [
        ("config.json", "pruned_heads", json!({}), json!({"0": [1]})),
        ("config.json", "auto_map", json!({}), json!({"AutoModel": "modeling.Own"})),
        (
            "config.json",
            "auto_map",
            json!({"AutoModelForCausalLM": "modeling.Own"}),
            json!({"AutoConfig": "configuration.Own"}),
        ),
        ("config.json", "is_encoder_decoder", json!(false), json!(true)),
        ("config.json", "position_embedding_type", json!("absolute"), json!("relative_key")),
        (
            "config.json",
            "quantization_config",
            json!({"quant_method": "bitsandbytes"}),
            json!({"quant_method": "gptq", "bits": 4}),
        ),
        ("sentence_bert_config.json", "query_expansion", json!({}), json!({"length": 32})),
        ("sentence_bert_config.json", "transformer_task", json!("feature-extraction"), json!("fill-mask")),
        (
            "sentence_bert_config.json",
            "module_output_name",
            json!("token_embeddings"),
            json!("sentence_embedding"),
        ),
        (
            "config_sentence_transformers.json",
            "model_type",
            json!("SentenceTransformer"),
            json!("SparseEncoder"),
        ),
        ("tokenizer_config.json", "sp_model_kwargs", json!({}), json!({"enable_sampling": true})),
        ("1_Pooling/config.json", "pooling_mode", json!(["mean"]), json!("median")),
        (
            "2_Normalize/config.json",
            "module_input_name",
            json!("sentence_embedding"),
            json!("token_embeddings"),
        ),
    ] {
        let directory = directory();
        with(&directory, file, key, harmless);
        load(&directory, &LoadOptions::default()).unwrap();
        with(&directory, file, key, other.clone());
        let message = load(&directory, &LoadOptions::default()).err().unwrap_or_default();
        assert!(
            message.contains(key) && message.contains(file.rsplit('/').next().unwrap()),
            "{key} {other}: {message}"
        );
    }
}

/// What sentence-transformers 6.2 takes where two files, or two keys, state one thing.
#[test]
fn what_counts_first_counts_here_too() {
    let lengths = |sentence: Value, tokenizer: Value| {
        let directory = directory();
        with(&directory, "sentence_bert_config.json", "max_seq_length", sentence);
        with(&directory, "tokenizer_config.json", "model_max_length", tokenizer);
        load(&directory, &LoadOptions::default()).unwrap().max_length()
    };
    let positions = load(&directory(), &LoadOptions::default()).unwrap().max_length();
    assert_eq!(lengths(json!(20), json!(7)), 20);
    assert_eq!(lengths(Value::Null, json!(7)), 7);
    assert_eq!(lengths(Value::Null, json!(1e30)), positions);
    // The table of positions has no more rows.
    assert_eq!(lengths(json!(positions + 50), json!(7)), positions);

    let prompts = |prompts: Value, default: Value| {
        let directory = directory();
        with(&directory, "config_sentence_transformers.json", "prompts", prompts);
        with(&directory, "config_sentence_transformers.json", "default_prompt_name", default);
        let encoder = load(&directory, &LoadOptions::default()).unwrap();
        let settings = encoder.settings();
        (settings.query_prompt.clone(), settings.passage_prompt.clone(), encoder.notices().len())
    };
    let are = |query: &str, passage: &str, notices: usize| (query.to_owned(), passage.to_owned(), notices);
    assert_eq!(
        prompts(json!({"query": "q ", "document": "d ", "passage": "p "}), Value::Null),
        are("q ", "d ", 0)
    );
    assert_eq!(prompts(json!({"query": "q ", "passage": "p "}), Value::Null), are("q ", "", 1));
    assert_eq!(prompts(json!({"a": "x "}), json!("a")), are("", "", 1));
    assert_eq!(prompts(json!({"query": null}), Value::Null), are("", "", 0));

    let own = directory();
    with(&own, "sentence_bert_config.json", "query_length", json!(3));
    with(&own, "sentence_bert_config.json", "document_length", json!(5));
    let encoder = load(&own, &LoadOptions::default()).unwrap();
    let text = ["t5 t6 t7 t8 t9 t10 t11"];
    let count = |kind| encoder.tokenize(&text, kind).unwrap()[0].len();
    assert_eq!(
        (count(secateur_encoders::TextKind::Query), count(secateur_encoders::TextKind::Passage)),
        (3, 5)
    );
}

#[test]
fn a_similarity_that_no_index_has_is_told() {
    let directory = directory();
    with(&directory, "config_sentence_transformers.json", "similarity_fn_name", json!("manhattan"));
    let encoder = load(&directory, &LoadOptions::default()).unwrap();
    assert!(encoder.notices()[0].to_string().contains("manhattan"), "{:?}", encoder.notices());
    let strict = LoadOptions { strict: true, ..LoadOptions::default() };
    assert!(load(&directory, &strict).err().unwrap().contains("cosine is assumed"));
    with(&directory, "config_sentence_transformers.json", "similarity_fn_name", json!("dot"));
    load(&directory, &strict).unwrap();
}

/// The weight of a hybrid search is read, changes no fingerprint, and is refused where it is no weight.
#[test]
fn the_weight_of_a_hybrid_search_is_a_setting() {
    let directory = directory();
    let plain = load(&directory, &LoadOptions::default()).unwrap();
    assert_eq!(plain.settings().dense_weight, None);
    let file = "config_sentence_transformers.json";
    with(&directory, file, "dense_weight", json!(0.25));
    let weighed = load(&directory, &LoadOptions::default()).unwrap();
    assert_eq!(weighed.settings().dense_weight, Some(0.25));
    assert_eq!(weighed.fingerprint(), plain.fingerprint());
    for (wrong, message) in [(json!(-1), "at least 0"), (json!("much"), "invalid type")] {
        with(&directory, file, "dense_weight", wrong);
        let refusal = load(&directory, &LoadOptions::default()).err().unwrap();
        assert!(refusal.contains(file) && refusal.contains(message), "{refusal}");
    }
}

#[test]
fn a_pickle_that_names_a_function_is_not_run() {
    let fixture = Fixture::read("bert");
    let directory = fixture.write(&fixture.config);
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    // What `pickle.dumps` makes of an object whose `__reduce__` is (os.system, ("true",)), as an old file of torch.
    let program = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.";
    let mut file = Vec::new();
    file.extend_from_slice(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.");
    file.extend_from_slice(b"\x80\x02M\xe9\x03.\x80\x02}.");
    file.extend_from_slice(program);
    std::fs::write(directory.path().join("pytorch_model.bin"), file).unwrap();
    id_tokenizer(directory.path());
    let message = load(&directory, &LoadOptions::default()).err().unwrap();
    assert!(message.contains("it names posix.system") && message.contains("safetensors"), "{message}");
}
