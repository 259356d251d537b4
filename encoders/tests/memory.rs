use std::path::Path;

use secateur_encoders::architecture::Architecture;
use secateur_encoders::{Encoder, LoadOptions, Quantization, QuantizedFormat, TextKind, write_quantized};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{alone, status};
use crate::support::{write_json, write_random_weights, write_tokenizer};

/// Returns the bytes of the elements.
fn write_model(directory: &Path) -> usize {
    let config = json!({
        "model_type": "llama", "vocab_size": 10_000, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 4, "intermediate_size": 2048, "hidden_act": "silu",
        "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    });
    write_json(directory, "config.json", &config);
    write_random_weights(directory, &Architecture::read(directory.join("config.json")).unwrap())
}

/// KiB that loading and encoding add to the most that this process has needed.
fn growth(directory: &Path, options: &LoadOptions) -> usize {
    let before = status("VmRSS:");
    let encoder = Encoder::load(directory, options).unwrap();
    let text = "the quick brown fox ".repeat(16);
    encoder.encode(&[&text, "fox", "the fox"], TextKind::Passage).unwrap();
    status("VmHWM:") - before
}

#[test]
fn loading_and_encoding_peak_below_1_3_times_the_model() {
    alone("memory::loading_and_encoding_peak_below_1_3_times_the_model", measure);
}

fn measure() {
    let directory = TempDir::new().unwrap();
    let size = write_model(directory.path());
    assert!(size > 300 << 20);
    write_tokenizer(directory.path(), &["the", "quick", "brown", "fox"], None);
    // Embeddings stay in f32: 31 MB of 332. Of the other 301 MB an eighth and 1/252 remain, 39 MB. One matrix in f32
    // and the activations come on top. This test runs first, because the other one peaks higher.
    let quantized = growth(
        directory.path(),
        &LoadOptions { quantize: Some(Quantization::Nf4), ..LoadOptions::default() },
    );
    let limit = size / 1024 * 3 / 10;
    assert!(quantized < limit, "{quantized} KiB for a quantized model of {} KiB", size / 1024);

    let peak = growth(directory.path(), &LoadOptions::default());
    let limit = size / 1024 * 13 / 10;
    assert!(peak < limit, "{peak} KiB for a model of {} KiB", size / 1024);
}

#[test]
fn a_model_in_8_bits_peaks_below_1_2_times_its_file() {
    alone("memory::a_model_in_8_bits_peaks_below_1_2_times_its_file", measure_int8);
}

fn measure_int8() {
    let directory = TempDir::new().unwrap();
    write_model(directory.path());
    write_tokenizer(directory.path(), &["the", "quick", "brown", "fox"], None);
    let written = directory.path().join("written");
    let before = status("VmRSS:");
    write_quantized(directory.path(), None, QuantizedFormat::Int8, &written).unwrap();
    // The embeddings are copied from where they are mapped; of the others one matrix at a time is in memory.
    let writing = status("VmHWM:") - before;
    let size = std::fs::metadata(written.join("model.safetensors")).unwrap().len() as usize;
    assert!(size < 120 << 20 && writing < 80 << 10, "{size} bytes, {writing} KiB to write them");
    let peak = growth(&written, &LoadOptions::default());
    let limit = size / 1024 * 12 / 10;
    assert!(peak < limit, "{peak} KiB for a model of {} KiB", size / 1024);
}
