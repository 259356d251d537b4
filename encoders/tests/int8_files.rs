use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use secateur_encoders::architecture::{Architecture, Layout, SubLayer};
use secateur_encoders::compute::Spans;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::inspect::{InspectOptions, Inspection};
use secateur_encoders::model::Transformer;
use secateur_encoders::prune::ModelDirectory;
use secateur_encoders::{
    Checkpoint, Encoder, LoadOptions, Precision, Quantization, QuantizedFormat, TextKind, write_merged,
    write_quantized,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Fixture, HIDDEN_SIZE, MODELS, Tensor, deviation, sequences, write_json, write_tensors, write_tokenizer,
};

const UP: &str = "layers.1.mlp.up_proj.weight";

/// The hidden states of every sequence, as `precision` has them.
fn hidden(directory: &Path, precision: Precision) -> Vec<f32> {
    let ops = Cpu::serial().with_precision(precision);
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    let model = Transformer::load(&ops, architecture, &Checkpoint::open(directory).unwrap()).unwrap();
    let sequences = sequences();
    let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
    model.forward(&ops, &sequences.concat(), &spans).unwrap().values().to_vec()
}

/// A model of a family with a tokenizer, and the same in 8 bits.
fn model_and_written(name: &str) -> (TempDir, TempDir) {
    let fixture = Fixture::read(name);
    let whole = fixture.write(&fixture.pruned_config(&fixture.config));
    write_tokenizer(whole.path(), &["the", "quick", "fox"], None);
    let out = TempDir::new().unwrap();
    write_quantized(whole.path(), None, QuantizedFormat::Int8, out.path().join("written")).unwrap();
    (whole, out)
}

fn load(directory: &Path, precision: Option<Precision>) -> Encoder {
    Encoder::load(directory, &LoadOptions { precision, ..LoadOptions::default() }).unwrap()
}

fn vectors(encoder: &Encoder) -> Vec<f32> {
    encoder.encode(&["the fox", "quick", "fox the quick"], TextKind::Query).unwrap()
}

#[test]
fn on_disk_and_at_load_are_one_model() {
    for name in MODELS {
        let (whole, out) = model_and_written(name);
        let written = out.path().join("written");
        let at_load = hidden(whole.path(), Precision::Int8);
        assert!(at_load == hidden(&written, Precision::Int8), "{name}: written and loaded");
        // In f32 the codes are numbers like any others.
        let (exact, in_f32) = (hidden(whole.path(), Precision::F32), hidden(&written, Precision::F32));
        let largest = exact.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let off = deviation(&exact, &in_f32) / f64::from(largest);
        assert!(off > 1e-5 && off < 0.1, "{name}: quantizing changes a model a little: {off}");
        assert!(in_f32 != at_load, "{name}: activations are quantized in 8 bits alone");
    }
}

#[test]
fn eight_bits_are_not_quantized_to_four() {
    let (whole, out) = model_and_written("llama");
    let in_four_bits = LoadOptions { quantize: Some(Quantization::Nf4), ..LoadOptions::default() };
    assert!(Encoder::load(whole.path(), &in_four_bits).is_ok());
    let error = Encoder::load(out.path().join("written"), &in_four_bits).err().unwrap().to_string();
    assert!(error.contains("quantization_config") && error.contains("do not quantize"), "{error}");
}

#[test]
fn an_encoder_computes_as_its_files_say() {
    let (whole, out) = model_and_written("llama");
    let written = out.path().join("written");
    let stored = load(&written, None);
    assert_eq!(stored.options().precision, Some(Precision::Int8));
    assert_eq!(vectors(&stored), vectors(&load(whole.path(), Some(Precision::Int8))));
    assert_eq!(vectors(&stored), vectors(&load(&written, Some(Precision::Int8))));
    let alone = stored.encode(&["quick"], TextKind::Query).unwrap();
    assert_eq!(alone, vectors(&stored)[HIDDEN_SIZE..2 * HIDDEN_SIZE], "a batch changes no vector");
    let in_f32 = load(&written, Some(Precision::F32));
    assert_ne!(vectors(&in_f32), vectors(&stored));

    // What an encoder is: that of its files, another in f32, and neither that of the model it was made from.
    let inspected = Inspection::of_path(&written, &InspectOptions::default()).unwrap();
    assert_eq!(inspected.fingerprint.as_deref(), Some(&stored.fingerprint().to_string()[..]));
    assert_eq!(stored.fingerprint(), load(&written, Some(Precision::Int8)).fingerprint());
    assert_ne!(stored.fingerprint(), in_f32.fingerprint());
    assert_ne!(stored.fingerprint(), load(whole.path(), Some(Precision::Int8)).fingerprint());
    let before = Inspection::of_path(whole.path(), &InspectOptions::default()).unwrap().weights.unwrap();
    let after = inspected.weights.unwrap();
    assert_eq!(after.parameters, before.parameters);
    assert_eq!((&after.missing, &after.unused), (&before.missing, &before.unused));
}

#[test]
fn files_are_those_of_compressed_tensors() {
    let (_whole, out) = model_and_written("modernbert");
    let written = out.path().join("written");
    let config: Value = serde_json::from_slice(&std::fs::read(written.join("config.json")).unwrap()).unwrap();
    let quantization = &config["quantization_config"];
    assert_eq!(quantization["quant_method"], "compressed-tensors");
    assert_eq!(quantization["config_groups"]["group_0"]["weights"]["group_size"], 128);
    assert_eq!(quantization["ignore"], json!(["embeddings.tok_embeddings", "lm_head"]));
    let bytes = std::fs::read(written.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |suffix: &str| file.tensor(&format!("layers.1.mlp.Wi.weight{suffix}")).unwrap();
    assert_eq!((tensor("").dtype(), tensor("").shape()), (Dtype::I8, &[160, HIDDEN_SIZE][..]));
    assert_eq!((tensor("_scale").dtype(), tensor("_scale").shape()), (Dtype::F32, &[160, 1][..]));
    // Each row has a number that is the scale's 127.
    let rows = tensor("").data().chunks_exact(HIDDEN_SIZE).map(|row| row.iter().map(|x| x.cast_signed()));
    assert!(rows.into_iter().all(|mut row| row.any(|code| code.unsigned_abs() == 127)));
}

/// Layers are taken from an 8-bit model as they are: what is left is the 8-bit model of what would be left.
#[test]
fn pruning_and_quantizing_change_places() {
    let (whole, out) = model_and_written("mistral");
    let at = |name: &str| out.path().join(name);
    let drop = |model: &Path, to: &Path| {
        let model = ModelDirectory::open(model).unwrap();
        let mut remaining = model.architecture().remaining();
        remaining.drop_last(SubLayer::Mlp, 1).unwrap();
        model.write_dropped(&remaining, Layout::Secateur, to).unwrap();
    };
    drop(&at("written"), &at("dropped"));
    drop(whole.path(), &at("smaller"));
    write_quantized(at("smaller"), None, QuantizedFormat::Int8, at("quantized")).unwrap();
    let bytes = |name: &str| std::fs::read(at(name).join("model.safetensors")).unwrap();
    assert!(bytes("dropped") == bytes("quantized"));
    assert_eq!(vectors(&load(&at("dropped"), None)), vectors(&load(&at("quantized"), None)));
}

#[test]
fn what_would_lose_the_codes_is_refused() {
    let (_whole, out) = model_and_written("llama");
    let written = out.path().join("written");
    let again = out.path().join("again");
    for format in [QuantizedFormat::Int8, QuantizedFormat::Nf4] {
        let message = write_quantized(&written, None, format, &again).unwrap_err().to_string();
        assert!(message.contains("quantization_config is that of a quantized model"), "{message}");
    }
    // An adapter is merged into f32 when it is loaded. There is nothing to be written of that in 8 bits.
    let adapter = TempDir::new().unwrap();
    let config = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["up_proj"],
        "base_model_name_or_path": written});
    write_json(adapter.path(), "adapter_config.json", &config);
    let part = |name: &str, shape: [usize; 2]| Tensor {
        name: format!("base_model.model.model.layers.1.mlp.up_proj.{name}.weight"),
        shape: shape.to_vec(),
        values: (0..shape[0] * shape[1]).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect(),
    };
    let parts = [part("lora_A", [2, HIDDEN_SIZE]), part("lora_B", [80, 2])];
    write_tensors(&adapter.path().join("adapter_model.safetensors"), &parts, Dtype::F32);
    let message = write_merged(adapter.path(), None, &again).unwrap_err().to_string();
    assert!(message.contains("merge into the model that it was made from"), "{message}");
    assert!(!again.exists());
    let adapted = load(adapter.path(), None);
    assert_ne!(vectors(&adapted), vectors(&load(&written, None)));
}

/// A tensor by its name: type, shape, bytes.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

#[test]
fn damaged_files_are_refused_by_name() {
    let (_whole, out) = model_and_written("llama");
    let written = out.path().join("written");
    let file = written.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors().into_iter();
    let tensors: Vec<Stored> = tensors
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let changed = |suffix: &str, change: &dyn Fn(&mut Stored)| {
        let mut tensors = tensors.clone();
        change(tensors.iter_mut().find(|tensor| tensor.0.ends_with(&format!("{UP}{suffix}"))).unwrap());
        tensors
    };
    let mut without = tensors.clone();
    without.retain(|tensor| !tensor.0.ends_with(&format!("{UP}_scale")));
    let cases: [(Vec<Stored>, &str); 6] = [
        (without, "up_proj.weight_scale"),
        (
            changed("", &|tensor| tensor.2.swap(0, 1)),
            "_scale is F32 of shape [80, 1]; expected F32 of shape [48, 1]",
        ),
        (changed("", &|tensor| tensor.1 = Dtype::U8), "is U8 of shape [80, 48]"),
        (changed("_scale", &|tensor| tensor.2 = vec![80]), "expected F32 of shape [80, 1]"),
        (changed("_scale", &|tensor| (tensor.1, tensor.2) = (Dtype::BF16, vec![80, 2])), "is BF16"),
        (changed("_scale", &|tensor| tensor.3[..4].copy_from_slice(&f32::NAN.to_le_bytes())), "not finite"),
    ];
    for (tensors, want) in cases {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        let Err(error) = Encoder::load(&written, &LoadOptions::default()) else {
            panic!("{want}: a damaged file loads")
        };
        let message = error.to_string();
        assert!(message.contains(want) && message.contains(UP), "{want}: {message}");
    }
}
