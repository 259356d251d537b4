use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::Spans;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::inspect::{InspectOptions, Inspection};
use secateur_encoders::model::Transformer;
use secateur_encoders::{
    Adapted, Adapter, Checkpoint, Encoder, Error, LoadOptions, Quantization, Quantized, QuantizedFormat,
    Tensors as _, TextKind, write_quantized,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Fixture, MODELS, Tensor, deviation, sequences, write_tensors, write_tokenizer};

const NF4: Option<Quantization> = Some(Quantization::Nf4);

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The hidden states of every sequence.
fn hidden(directory: &Path, quantize: Option<Quantization>) -> Vec<f32> {
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    let mut tensors: Box<dyn secateur_encoders::Tensors> = Box::new(Checkpoint::open(directory).unwrap());
    if let Some(quantization) = quantize {
        tensors = Box::new(Quantized::new(tensors, quantization));
    }
    let ops = Cpu::serial();
    let model = Transformer::load(&ops, architecture, &*tensors).unwrap();
    let sequences = sequences();
    let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
    model.forward(&ops, &sequences.concat(), &spans).unwrap().values().to_vec()
}

/// A model directory with every tensor that the architecture asks for in f32, quantized ones dequantized.
fn write_dequantized(directory: &Path) -> TempDir {
    let out = TempDir::new().unwrap();
    std::fs::copy(directory.join("config.json"), out.path().join("config.json")).unwrap();
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(directory).unwrap();
    let tensors = architecture.tensors().into_iter().map(|tensor| {
        let stored = checkpoint.iter().find(|stored| architecture.bare_name(stored.name) == tensor.name);
        let name = stored.unwrap().name;
        let values = match tensor.shape[..] {
            [rows, columns] => checkpoint.matrix(name, rows, columns).unwrap().values.into_owned(),
            _ => checkpoint.vector(name, tensor.shape[0]).unwrap().into_owned(),
        };
        Tensor { name: name.to_owned(), shape: tensor.shape, values }
    });
    write_tensors(&out.path().join("model.safetensors"), &tensors.collect::<Vec<_>>(), Dtype::F32);
    out
}

#[test]
fn quantized_at_load_on_disk_and_dequantized_are_one_model() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        let whole = fixture.write(&fixture.pruned_config(&fixture.config));
        let out = TempDir::new().unwrap();
        let written = out.path().join("written");
        write_quantized(whole.path(), None, QuantizedFormat::Nf4, &written).unwrap();
        let at_load = hidden(whole.path(), NF4);
        assert!(at_load == hidden(&written, None), "{name}: written and loaded");
        assert!(at_load == hidden(&written, NF4), "{name}: what is quantized stays");
        assert!(at_load == hidden(write_dequantized(&written).path(), None), "{name}: dequantized");
        assert!(
            deviation(&at_load, &hidden(whole.path(), None)) > 1e-3,
            "{name}: quantizing changes a model"
        );
    }
}

#[test]
fn adapters_are_merged_before_and_into_quantized_weights() {
    let fixture = Fixture::read("llama");
    let whole = fixture.write(&fixture.config);
    let adapter = TempDir::new().unwrap();
    let config = serde_json::json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["up_proj"],
        "base_model_name_or_path": whole.path()});
    crate::support::write_json(adapter.path(), "adapter_config.json", &config);
    let module = "base_model.model.model.layers.1.mlp.up_proj";
    let part = |name: &str, shape: [usize; 2]| Tensor {
        name: format!("{module}.{name}.weight"),
        shape: shape.to_vec(),
        values: (0..shape[0] * shape[1]).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect(),
    };
    let parts = [part("lora_A", [2, crate::support::HIDDEN_SIZE]), part("lora_B", [80, 2])];
    write_tensors(&adapter.path().join("adapter_model.safetensors"), &parts, Dtype::F32);
    let out = TempDir::new().unwrap();
    let (merged, quantized) = (out.path().join("merged"), out.path().join("quantized"));
    secateur_encoders::write_merged(adapter.path(), None, &merged).unwrap();
    write_quantized(adapter.path(), None, QuantizedFormat::Nf4, &quantized).unwrap();
    assert!(hidden(&merged, NF4) == hidden(&quantized, None));

    // On a base that is stored quantized (QLoRA), the matrix that the adapter changes is in f32.
    let base = out.path().join("base");
    write_quantized(whole.path(), None, QuantizedFormat::Nf4, &base).unwrap();
    let mut architecture = Architecture::read(base.join("config.json")).unwrap();
    let plain = Checkpoint::open(&base).unwrap();
    let adapter = Adapter::open(adapter.path(), &mut architecture).unwrap();
    let stored = Box::new(Checkpoint::open(&base).unwrap());
    let adapted = Adapted::new(stored, adapter, &architecture).unwrap();
    let name = "model.layers.1.mlp.up_proj.weight";
    let name = if plain.contains(name) { name } else { "layers.1.mlp.up_proj.weight" };
    let difference = {
        let before = plain.matrix(name, 80, crate::support::HIDDEN_SIZE).unwrap().values;
        let after = adapted.weight(name, 80, crate::support::HIDDEN_SIZE).unwrap().dequantize().values;
        deviation(&before, &after)
    };
    assert!(difference > 0.1, "{difference}");
}

#[test]
fn files_say_what_transformers_reads() {
    let fixture = Fixture::read("modernbert");
    let whole = fixture.write(&fixture.config);
    let out = TempDir::new().unwrap();
    let written = out.path().join("written");
    write_quantized(whole.path(), None, QuantizedFormat::Nf4, &written).unwrap();
    let config = read_json(&written.join("config.json"));
    let quantization = &config["quantization_config"];
    assert_eq!(quantization["quant_method"], "bitsandbytes");
    assert_eq!(quantization["bnb_4bit_quant_type"], "nf4");
    assert_eq!(
        quantization["llm_int8_skip_modules"],
        serde_json::json!(["embeddings.tok_embeddings", "lm_head"])
    );
    let bytes = std::fs::read(written.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |suffix: &str| file.tensor(&format!("layers.1.mlp.Wi.weight{suffix}")).unwrap();
    // (160, 48): 7,680 weights, 120 blocks.
    assert_eq!((tensor("").dtype(), tensor("").shape()), (Dtype::U8, &[3840, 1][..]));
    assert_eq!((tensor(".absmax").dtype(), tensor(".absmax").shape()), (Dtype::U8, &[120][..]));
    assert_eq!(tensor(".nested_absmax").shape(), [1]);
    assert_eq!(tensor(".nested_quant_map").shape(), [256]);
    assert_eq!(tensor(".quant_map").shape(), [16]);
    let state: Value = serde_json::from_slice(tensor(".quant_state.bitsandbytes__nf4").data()).unwrap();
    assert_eq!(state["shape"], serde_json::json!([160, 48]));
    assert_eq!(state["blocksize"], 64);
    assert_eq!(state["nested_blocksize"], 256);
    assert_eq!(state["dtype"], "float32");
    let message = write_quantized(&written, None, QuantizedFormat::Nf4, out.path().join("again"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("quantization_config is that of a quantized model"), "{message}");
    assert!(!out.path().join("again").exists());
}

#[test]
fn inspection_counts_what_the_codes_stand_for() {
    let fixture = Fixture::read("llama");
    let whole = fixture.write(&fixture.config);
    let out = TempDir::new().unwrap();
    let written = out.path().join("written");
    write_quantized(whole.path(), None, QuantizedFormat::Nf4, &written).unwrap();
    let weights = |directory: &Path| {
        Inspection::of_path(directory, &InspectOptions::default()).unwrap().weights.unwrap()
    };
    let (before, after) = (weights(whole.path()), weights(&written));
    assert_eq!(after.parameters, before.parameters);
    assert_eq!((&after.missing, &after.unused), (&before.missing, &before.unused));
    assert!(after.dtypes["U8"] > 0 && !before.dtypes.contains_key("U8"));
}

#[test]
fn quantizing_changes_the_fingerprint() {
    let fixture = Fixture::read("llama");
    let whole = fixture.write(&fixture.config);
    write_tokenizer(whole.path(), &["the", "quick", "fox"], None);
    let out = TempDir::new().unwrap();
    let written = out.path().join("written");
    write_quantized(whole.path(), None, QuantizedFormat::Nf4, &written).unwrap();
    let load = |path: &Path, quantize| {
        Encoder::load(path, &LoadOptions { quantize, ..LoadOptions::default() }).unwrap()
    };
    let [plain, at_load, stored] = [load(whole.path(), None), load(whole.path(), NF4), load(&written, None)];
    assert_ne!(plain.fingerprint(), at_load.fingerprint());
    assert_ne!(plain.fingerprint(), stored.fingerprint());
    let vectors = |encoder: &Encoder| encoder.encode(&["the fox", "quick"], TextKind::Query).unwrap();
    assert_eq!(vectors(&at_load), vectors(&stored));
    assert_ne!(vectors(&at_load), vectors(&plain));
}

/// Tensors by name: type, shape, bytes.
type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

#[test]
fn damaged_quantized_weights_are_refused_by_name() {
    let fixture = Fixture::read("llama");
    let whole = fixture.write(&fixture.config);
    let out = TempDir::new().unwrap();
    let written = out.path().join("written");
    write_quantized(whole.path(), None, QuantizedFormat::Nf4, &written).unwrap();
    let file = written.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors: Tensors = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let up =
        tensors.iter().find(|tensor| tensor.0.ends_with("layers.1.mlp.up_proj.weight")).unwrap().0.clone();
    let state = |change: &dyn Fn(&mut Value)| {
        let suffix = ".quant_state.bitsandbytes__nf4";
        let change = |bytes: &mut Vec<u8>| {
            let mut state: Value = serde_json::from_slice(bytes).unwrap();
            change(&mut state);
            *bytes = serde_json::to_vec(&state).unwrap();
        };
        let mut tensors = tensors.clone();
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == format!("{up}{suffix}")).unwrap();
        change(&mut tensor.3);
        tensor.2 = vec![tensor.3.len()];
        tensors
    };
    let without = |suffix: &str| {
        tensors.iter().filter(|tensor| tensor.0 != format!("{up}{suffix}")).cloned().collect::<Tensors>()
    };
    let changed = |suffix: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut tensors = tensors.clone();
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == format!("{up}{suffix}")).unwrap();
        change(&mut tensor.3);
        if tensor.1 == Dtype::U8 {
            tensor.2 = vec![tensor.3.len()];
        }
        tensors
    };
    let nan = f32::NAN.to_le_bytes();
    let cases: [(Tensors, &str); 10] = [
        (state(&|state| state["blocksize"] = 128.into()), "blocksize 64"),
        (state(&|state| state["quant_type"] = "fp4".into()), "quant_type nf4"),
        (state(&|state| state["shape"] = serde_json::json!([40, 96])), "shape [40, 96]"),
        (state(&|state| state["shape"] = serde_json::json!([3840])), "two dimensions"),
        (state(&|state| state["nested_offset"] = Value::Null), "nested_offset"),
        (without(".absmax"), "has no tensor"),
        (without(".nested_absmax"), "has no tensor"),
        (changed(".absmax", &|bytes| bytes.truncate(9)), "expected U8 of 60 bytes"),
        (changed(".quant_map", &|bytes| bytes[5] ^= 1), "the values of nf4"),
        (changed(".nested_absmax", &|bytes| bytes.copy_from_slice(&nan)), "not finite"),
    ];
    for (tensors, want) in cases {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        let architecture = Architecture::read(written.join("config.json")).unwrap();
        let checkpoint = Checkpoint::open(&written).unwrap();
        let error: Error = match Transformer::load(&Cpu::serial(), architecture, &checkpoint) {
            Ok(_) => panic!("{want}: a damaged file loads"),
            Err(error) => error,
        };
        let message = error.to_string();
        assert!(
            message.contains(want) && message.contains("layers.1.mlp.up_proj.weight"),
            "{want}: {message}"
        );
    }
}
