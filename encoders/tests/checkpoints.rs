use std::path::Path;

use safetensors::Dtype;
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::Transformer;
use secateur_encoders::{Checkpoint, Encoder, LoadOptions, ModelFile, TextKind};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Fixture, MODELS, Tensor, sequences, write_json, write_tensors};

fn load(directory: &Path) -> secateur_encoders::Result<Vec<f32>> {
    let architecture = Architecture::read(directory.join("config.json"))?;
    let ops = Cpu::serial();
    let model = Transformer::load(&ops, architecture, &Checkpoint::open(directory)?)?;
    let sequence = &sequences()[3];
    ops.to_vec(&model.forward(&ops, sequence, &Spans::from_lengths([sequence.len()]))?)
}

fn refused(directory: &Path) -> String {
    load(directory).expect_err("the checkpoint is wrong").to_string()
}

fn directory(config: &Value) -> TempDir {
    let directory = TempDir::new().unwrap();
    write_json(directory.path(), "config.json", config);
    directory
}

/// `tensors` as shards, named by an index.
fn write_shards(directory: &Path, tensors: Vec<Tensor>, count: usize) {
    let mut map = serde_json::Map::new();
    let size = tensors.len().div_ceil(count);
    let mut tensors = tensors.into_iter().peekable();
    for shard in 1..=count {
        let file = format!("model-{shard:05}-of-{count:05}.safetensors");
        let part: Vec<Tensor> = tensors.by_ref().take(size).collect();
        map.extend(part.iter().map(|tensor| (tensor.name.clone(), Value::from(file.clone()))));
        write_tensors(&directory.join(file), &part, Dtype::F32);
    }
    assert!(tensors.peek().is_none());
    let index = json!({"metadata": {"total_size": 0}, "weight_map": map});
    write_json(directory, "model.safetensors.index.json", &index);
}

#[test]
fn an_architecture_knows_its_tensors() {
    for name in MODELS.into_iter().chain(["xlm-roberta-cross-encoder"]) {
        let fixture = Fixture::read(name);
        let directory = directory(&fixture.pruned_config(&fixture.config));
        let architecture = Architecture::read(directory.path().join("config.json")).unwrap();
        let mut known: Vec<(String, Vec<usize>)> =
            architecture.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        known.sort();
        let mut stored: Vec<(String, Vec<usize>)> = fixture
            .tensors
            .iter()
            .filter(|tensor| !tensor.name.starts_with("classifier.") && !tensor.name.starts_with("pooler."))
            .map(|tensor| (architecture.bare_name(&tensor.name).to_owned(), tensor.shape.clone()))
            .collect();
        stored.sort();
        assert_eq!(known, stored, "{name}");
    }
}

#[test]
fn element_types_shards_and_prefixes_are_one_model() {
    for (name, prefix) in [("mistral", "model."), ("bert", "bert."), ("modernbert", "model.")] {
        let fixture = Fixture::read(name);
        let want = load(fixture.write(&fixture.config).path()).unwrap();
        // The formula's values are exact in every type.
        for dtype in [Dtype::F16, Dtype::BF16] {
            let directory = directory(&fixture.config);
            let file = directory.path().join("model.safetensors");
            write_tensors(&file, &fixture.tensors(str::to_owned), dtype);
            assert!(load(directory.path()).unwrap() == want, "{name} in {dtype:?}");
        }
        // As saved with a head, in shards.
        let mut tensors = fixture.tensors(|tensor| format!("{prefix}{tensor}"));
        tensors.push(Tensor { name: "lm_head.weight".to_owned(), shape: vec![2, 2], values: vec![0.0; 4] });
        let directory = directory(&fixture.config);
        write_shards(directory.path(), tensors, 3);
        assert!(load(directory.path()).unwrap() == want, "{name} in shards");
    }
}

#[test]
fn llm_drop_directories_load_although_they_hold_what_was_dropped() {
    let fixture = Fixture::read("mistral");
    let with = |changes: Value| {
        let mut config = fixture.config.clone();
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        // All tensors are there, dropped ones included.
        fixture.write(&config)
    };
    let ours =
        with(json!({"secateur": {"attention": [true, true, false], "intermediate_sizes": [null, 80, null]}}));
    let want = load(ours.path()).unwrap();
    assert!(want != load(with(json!({})).path()).unwrap(), "nothing was dropped");
    for drops in [
        json!({"drop_attn_list": [2], "drop_mlp_list": [2, 0]}),
        json!({"drop_attn_list": [false, false, true], "drop_mlp_list": [true, false, true]}),
        json!({"drop_attn_list": [2], "drop_mlp_list": [true, false, true]}),
    ] {
        assert!(load(with(drops.clone()).path()).unwrap() == want, "{drops}");
    }
    // Without the dropped tensors it is the same.
    let lean = with(json!({"drop_attn_list": [2], "drop_mlp_list": [0, 2]}));
    let mut tensors = fixture.tensors(str::to_owned);
    tensors.retain(|tensor| {
        !tensor.name.starts_with("layers.2.")
            && !tensor.name.starts_with("layers.0.mlp.")
            && tensor.name != "layers.0.post_attention_layernorm.weight"
    });
    write_tensors(&lean.path().join("model.safetensors"), &tensors, Dtype::F32);
    assert!(load(lean.path()).unwrap() == want);
}

#[test]
fn wrong_checkpoints_are_refused_with_tensor_and_file() {
    let fixture = Fixture::read("llama");
    let change = |edit: &dyn Fn(&mut Vec<Tensor>)| {
        let directory = fixture.write(&fixture.config);
        let mut tensors = fixture.tensors(str::to_owned);
        edit(&mut tensors);
        write_tensors(&directory.path().join("model.safetensors"), &tensors, Dtype::F32);
        refused(directory.path())
    };
    let down = "layers.1.mlp.down_proj.weight";
    let message = change(&|tensors| tensors.retain(|tensor| tensor.name != down));
    assert!(message.contains(&format!("model.safetensors has no tensor {down}")), "{message}");
    let message = change(&|tensors| {
        let tensor = tensors.iter_mut().find(|tensor| tensor.name == down).unwrap();
        tensor.shape = vec![80, 48];
    });
    assert!(
        message.contains(&format!(
            "model.safetensors: tensor {down} has shape [80, 48]; the configuration asks for [48, 80]"
        )),
        "{message}"
    );
    let message = change(&|tensors| {
        tensors.iter_mut().find(|tensor| tensor.name == down).unwrap().values[7] = f32::NAN;
    });
    assert!(message.contains(down) && message.contains("not finite"), "{message}");

    let directory = fixture.write(&fixture.config);
    let file = directory.path().join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refused(directory.path()).contains("not a whole safetensors file"));
    std::fs::remove_file(&file).unwrap();
    assert!(refused(directory.path()).contains("has no model.safetensors"));
    write_shards(directory.path(), fixture.tensors(str::to_owned), 2);
    std::fs::remove_file(directory.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refused(directory.path()).contains("model-00002-of-00002.safetensors"));
}

#[test]
fn wrong_configurations_are_refused_by_field() {
    let cases = [
        ("llama", json!({"model_type": "opt"}), "model_type is \"opt\"; the families that load are bert, "),
        (
            "llama",
            json!({"num_key_value_heads": 3}),
            "num_key_value_heads is 3; expected a divisor of num_attention_heads, 4",
        ),
        ("llama", json!({"head_dim": 5}), "head_dim is 5"),
        ("llama", json!({"hidden_act": "tanh"}), "hidden_act is \"tanh\""),
        (
            "llama",
            json!({"rope_scaling": {"rope_type": "spiral", "factor": 4.0}}),
            "rope_scaling.rope_type is \"spiral\"; expected default, linear, dynamic, llama3, yarn or longrope",
        ),
        ("llama", json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor is absent"),
        ("llama", json!({"rope_theta": 0.0}), "rope_theta is 0"),
        ("gemma2", json!({"use_bidirectional_attention": true}), "use_bidirectional_attention is true"),
        (
            "bert",
            json!({"position_embedding_type": "relative_key"}),
            "position_embedding_type is \"relative_key\"",
        ),
        ("mistral", json!({"sliding_window": 0}), "sliding_window is 0"),
        (
            "gemma2",
            json!({"layer_types": ["full_attention"]}),
            "layer_types is a list of 1; expected one entry for each of the 4 layers",
        ),
        ("gemma2", json!({"layer_types": ["a", "b", "c", "d"]}), "layer_types is \"a\""),
        ("gemma2", json!({"query_pre_attn_scalar": 0}), "query_pre_attn_scalar is 0"),
        (
            "bert",
            json!({"num_attention_heads": 7}),
            "num_attention_heads is 7; expected a divisor of hidden_size, 48",
        ),
        ("xlm-roberta", json!({"max_position_embeddings": 2}), "max_position_embeddings is 2"),
        ("modernbert", json!({"global_attn_every_n_layers": 0}), "global_attn_every_n_layers is 0"),
        ("modernbert", json!({"hidden_size": "many"}), "hidden_size is \"many\""),
    ];
    for (name, changes, want) in cases {
        let mut config = Fixture::read(name).config;
        config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let directory = directory(&config);
        let message = Architecture::read(directory.path().join("config.json")).unwrap_err().to_string();
        assert!(message.contains(want), "{message}");
    }
}

#[test]
fn a_model_in_memory_is_that_of_its_directory() {
    macro_rules! files {
        ($($name:literal),*) => {
            &[$(($name, include_bytes!(concat!("../default/", $name)))),*]
        };
    }
    static FILES: &[ModelFile] = files![
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json"
    ];
    let options = LoadOptions::default();
    let in_memory = Encoder::from_parts("default", FILES, &options).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("default");
    let on_disk = Encoder::load(&directory, &options).unwrap();
    assert_eq!(in_memory.fingerprint(), on_disk.fingerprint());
    assert_eq!((in_memory.name(), in_memory.settings()), (on_disk.name(), on_disk.settings()));
    let vectors = |encoder: &Encoder| encoder.encode(&["pruning roses", ""], TextKind::Query).unwrap();
    assert!(vectors(&in_memory) == vectors(&on_disk));

    let lacking = |file: &str| {
        let files: Vec<ModelFile> = FILES.iter().copied().filter(|(name, _)| *name != file).collect();
        Encoder::from_parts("box", Vec::leak(files), &options).err().unwrap().to_string()
    };
    for file in ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"] {
        let message = lacking(file);
        assert!(message.contains("box") && message.contains(file), "{message}");
    }
}
