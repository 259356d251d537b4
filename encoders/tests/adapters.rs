use std::path::Path;

use safetensors::Dtype;
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::Transformer;
use secateur_encoders::prune::{Layout, ModelDirectory, SubLayer};
use secateur_encoders::{
    Adapted, Adapter, Checkpoint, Encoder, LoadOptions, Tensors, TextKind, write_merged,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Fixture, HIDDEN_SIZE, Tensor, TensorFormula, deviation, id_tokenizer, sequences, write_json,
    write_tensors,
};

/// The merged weights of both sides differ by an ulp, because one side multiplies by the scaling earlier. After three
/// layers the difference is like that of f32 rounding: 4e-6 in the fixtures.
const TOLERANCE: f64 = 2e-5;

fn tensor(name: &str, shape: &[usize], scale: f64) -> Tensor {
    let formula = TensorFormula { name: name.to_owned(), shape: shape.to_vec(), center: 0.0, scale };
    Tensor { name: name.to_owned(), shape: shape.to_vec(), values: formula.values() }
}

fn write_adapter(config: &Value, tensors: &[Tensor]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut all =
        json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]});
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    write_json(directory.path(), "adapter_config.json", &all);
    write_tensors(&directory.path().join("adapter_model.safetensors"), tensors, Dtype::F32);
    directory
}

fn hidden(base: &Path, adapter: Option<&Path>) -> secateur_encoders::Result<Vec<f32>> {
    let mut architecture = Architecture::read(base.join("config.json"))?;
    let mut tensors: Box<dyn Tensors> = Box::new(Checkpoint::open(base)?);
    if let Some(adapter) = adapter {
        let adapter = Adapter::open(adapter, &mut architecture)?;
        tensors = Box::new(Adapted::new(tensors, adapter, &architecture)?);
    }
    let ops = Cpu::serial();
    let vocab_size = architecture.vocab_size as u32;
    let model = Transformer::load(&ops, architecture, &*tensors)?;
    let mut ids = sequences()[3].clone();
    // The last row of the table, which resized embeddings have added.
    ids.push(vocab_size - 1);
    ops.to_vec(&model.forward(&ops, &ids, &Spans::from_lengths([ids.len()]))?)
}

/// A and B of a module, and the base's tensor with their product added: W + scaling B A.
fn merge(tensors: &mut [Tensor], module: &str, rank: usize, scaling: f64, prefix: &str) -> [Tensor; 2] {
    let base = tensors.iter_mut().find(|tensor| tensor.name == format!("{module}.weight")).unwrap();
    let [rows, columns] = base.shape[..] else { panic!("{module} is no matrix") };
    let a = tensor(&format!("{prefix}{module}.lora_A.weight"), &[rank, columns], 0.3);
    let b = tensor(&format!("{prefix}{module}.lora_B.weight"), &[rows, rank], 0.3);
    for row in 0..rows {
        for column in 0..columns {
            let product: f64 = (0..rank)
                .map(|r| f64::from(b.values[row * rank + r]) * f64::from(a.values[r * columns + column]))
                .sum();
            base.values[row * columns + column] += (scaling * product) as f32;
        }
    }
    [a, b]
}

/// The base's directory as an adapter should leave it.
fn write_base(fixture: &Fixture, tensors: &[Tensor]) -> TempDir {
    let directory = fixture.write(&fixture.config);
    write_tensors(&directory.path().join("model.safetensors"), tensors, Dtype::F32);
    directory
}

#[test]
fn adapters_of_both_spellings_are_merged() {
    let fixture = Fixture::read("llama");
    let base = fixture.write(&fixture.config);
    let plain = hidden(base.path(), None).unwrap();
    let cases: [(Value, usize, f64, usize, f64); 4] = [
        (json!({}), 4, 2.0, 4, 2.0),
        (json!({"use_rslora": true}), 4, 4.0, 4, 4.0),
        (json!({"fan_in_fan_out": true, "alpha_pattern": {"down_proj": 2}}), 4, 2.0, 4, 0.5),
        (json!({"rank_pattern": {"layers.2.mlp.down_proj": 16}}), 4, 2.0, 16, 0.5),
    ];
    for (config, q_rank, q_scaling, down_rank, down_scaling) in cases {
        for prefix in ["base_model.model.model.", "base_model.model."] {
            let mut merged = fixture.tensors(str::to_owned);
            let mut adapter = Vec::new();
            adapter.extend(merge(&mut merged, "layers.0.self_attn.q_proj", q_rank, q_scaling, prefix));
            adapter.extend(merge(&mut merged, "layers.2.mlp.down_proj", down_rank, down_scaling, prefix));
            let adapter = write_adapter(&config, &adapter);
            let got = hidden(base.path(), Some(adapter.path())).unwrap();
            let want = hidden(write_base(&fixture, &merged).path(), None).unwrap();
            let deviation = deviation(&got, &want);
            assert!(deviation <= TOLERANCE, "{config} with {prefix}: off by {deviation:.1e}");
            assert!(crate::support::deviation(&got, &plain) > 1e-2, "{config}: nothing was merged");
        }
    }
}

#[test]
fn embeddings_are_replaced_resized_and_adapted() {
    let fixture = Fixture::read("llama");
    let base = fixture.write(&fixture.config);
    let rows = 203;
    let prefix = "base_model.model.model.embed_tokens";
    let table = tensor("resized", &[rows, HIDDEN_SIZE], 1.0).values;
    let a = tensor(&format!("{prefix}.lora_embedding_A"), &[4, rows], 0.3);
    let b = tensor(&format!("{prefix}.lora_embedding_B"), &[HIDDEN_SIZE, 4], 0.3);
    let mut merged = table.clone();
    for (row, out) in merged.chunks_exact_mut(HIDDEN_SIZE).enumerate() {
        for (k, x) in out.iter_mut().enumerate() {
            let product: f64 =
                (0..4).map(|r| f64::from(b.values[k * 4 + r]) * f64::from(a.values[r * rows + row])).sum();
            *x += (2.0 * product) as f32;
        }
    }
    let mut config = fixture.config.clone();
    config["vocab_size"] = rows.into();
    let want = |values: &[f32]| {
        let mut tensors = fixture.tensors(str::to_owned);
        let embeddings = tensors.iter_mut().find(|tensor| tensor.name == "embed_tokens.weight").unwrap();
        (embeddings.shape, embeddings.values) = (vec![rows, HIDDEN_SIZE], values.to_vec());
        let directory = fixture.write(&config);
        write_tensors(&directory.path().join("model.safetensors"), &tensors, Dtype::F32);
        hidden(directory.path(), None).unwrap()
    };
    // Beside resized embeddings PEFT saves the head, which has no place in an encoder and does no harm.
    let whole =
        |name: &str| Tensor { name: name.to_owned(), shape: vec![rows, HIDDEN_SIZE], values: table.clone() };
    for name in [".weight", ".modules_to_save.default.weight"] {
        let tensors = [whole(&format!("{prefix}{name}")), whole("base_model.model.lm_head.weight")];
        let adapter = write_adapter(&json!({"modules_to_save": ["embed_tokens"]}), &tensors);
        assert!(hidden(base.path(), Some(adapter.path())).unwrap() == want(&table), "{name}");
    }
    let adapter = write_adapter(&json!({}), &[whole(&format!("{prefix}.base_layer.weight")), a, b]);
    let got = hidden(base.path(), Some(adapter.path())).unwrap();
    assert!(deviation(&got, &want(&merged)) <= TOLERANCE);

    let out = TempDir::new().unwrap();
    let out = out.path().join("merged");
    write_merged(adapter.path(), Some(base.path()), &out).unwrap();
    assert!(hidden(&out, None).unwrap() == got, "a merged directory is another model");
}

#[test]
fn a_merged_directory_is_the_same_model() {
    let fixture = Fixture::read("mistral");
    let base = fixture.write(&fixture.config);
    for file in ["tokenizer.json", "1_Pooling/config.json"] {
        let path = base.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file).unwrap();
    }
    write_json(base.path(), "modules.json", &json!([{"path": "1_Pooling", "type": "Pooling"}]));
    let mut tensors = fixture.tensors(str::to_owned);
    let parts = merge(&mut tensors, "layers.1.mlp.up_proj", 4, 2.0, "base_model.model.model.");
    let config = json!({"base_model_name_or_path": base.path()});
    let adapter = write_adapter(&config, &parts);
    let want = hidden(base.path(), Some(adapter.path())).unwrap();

    let folder = TempDir::new().unwrap();
    let out = folder.path().join("merged");
    write_merged(adapter.path(), None, &out).unwrap();
    assert!(hidden(&out, None).unwrap() == want);
    assert_eq!(std::fs::read_to_string(out.join("tokenizer.json")).unwrap(), "tokenizer.json");
    assert_eq!(std::fs::read_to_string(out.join("1_Pooling/config.json")).unwrap(), "1_Pooling/config.json");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary folder is left");
    let again = write_merged(adapter.path(), None, &out).unwrap_err().to_string();
    assert!(again.contains("merged exists: choose another output"), "{again}");

    // In the base's own type: tensors without an addition keep their bytes, tensors with one are rounded once.
    write_tensors(&base.path().join("model.safetensors"), &fixture.tensors(str::to_owned), Dtype::BF16);
    let half = folder.path().join("half");
    write_merged(adapter.path(), None, &half).unwrap();
    let (before, after) = (Checkpoint::open(base.path()).unwrap(), Checkpoint::open(&half).unwrap());
    for (before, after) in before.iter().zip(after.iter()) {
        assert_eq!((before.name, before.dtype(), before.shape), (after.name, after.dtype(), after.shape));
        assert_eq!(
            before.bytes == after.bytes,
            before.name != "layers.1.mlp.up_proj.weight",
            "{}",
            before.name
        );
    }
    // bf16 has 8 bits of precision; one matrix of three layers is rounded by 2^-9.
    assert!(deviation(&hidden(&half, None).unwrap(), &want) < 0.1);
}

#[test]
fn adapters_of_other_models_are_refused() {
    let fixture = Fixture::read("llama");
    let full = fixture.write(&fixture.config);
    let dropped = {
        let mut config = fixture.config.clone();
        config["drop_mlp_list"] = json!([1]);
        fixture.write(&config)
    };
    let prefix = "base_model.model.model.";
    let refused = |base: &TempDir, config: Value, tensors: &[Tensor]| {
        let adapter = write_adapter(&config, tensors);
        hidden(base.path(), Some(adapter.path())).expect_err("the adapter belongs elsewhere").to_string()
    };
    let parts = merge(&mut fixture.tensors(str::to_owned), "layers.1.mlp.down_proj", 4, 2.0, prefix);
    hidden(full.path(), Some(write_adapter(&json!({}), &parts).path())).unwrap();
    let message = refused(&dropped, json!({}), &parts);
    let want = "adapter_model.safetensors: the model has no place for tensor base_model.model.model.layers.1.mlp.down_proj.lora_A.weight";
    assert!(message.contains(want), "{message}");

    for name in
        ["base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", "layers.0.mlp.up_proj.lora_A.weight"]
    {
        let message = refused(&full, json!({}), &[tensor(name, &[4, HIDDEN_SIZE], 1.0)]);
        assert!(message.contains(name), "{message}");
    }
    let message = refused(&full, json!({"r": 8}), &parts);
    assert!(message.contains("lora_A.weight has shape [4, 80]") && message.contains("[8, 80]"), "{message}");
    let message = refused(&full, json!({}), &parts[..1]);
    assert!(message.contains("no tensor model.layers.1.mlp.down_proj.lora_B"), "{message}");
    let message = refused(&full, json!({"peft_type": "IA3"}), &parts);
    assert!(message.contains("peft_type is \"IA3\""), "{message}");
}

#[test]
fn a_model_with_an_adapter_is_pruned_like_any_other() {
    let fixture = Fixture::read("llama");
    let base = fixture.write(&fixture.config);
    id_tokenizer(base.path());
    let mut tensors = fixture.tensors(str::to_owned);
    let prefix = "base_model.model.";
    let mut adapted = Vec::from(merge(&mut tensors, "layers.0.self_attn.q_proj", 4, 2.0, prefix));
    adapted.extend(merge(&mut tensors, "layers.2.mlp.down_proj", 4, 2.0, prefix));
    let adapter = write_adapter(&json!({"base_model_name_or_path": base.path()}), &adapted);
    // One of the sub-layers that the adapter changes goes, the other stays.
    let out = base.path().join("out");
    let source = ModelDirectory::open(adapter.path()).unwrap();
    let mut remaining = source.architecture().remaining();
    remaining.drop(SubLayer::Mlp, 2).unwrap();
    source.write_dropped(&remaining, Layout::Secateur, &out).unwrap();
    let encode = |encoder: Encoder| encoder.encode(&["t5 t7 t9", "t11"], TextKind::Passage).unwrap();
    let options = LoadOptions::default();
    let written = encode(Encoder::load(&out, &options).unwrap());
    let in_memory = encode(Encoder::load_dropped(adapter.path(), &options, &remaining).unwrap());
    assert!(written == in_memory);
    let of_base = encode(Encoder::load_dropped(base.path(), &options, &remaining).unwrap());
    assert!(deviation(&written, &of_base) > 1e-3, "the adapter was not merged");
}
