//! `secateur prune slim`, `prune narrow` and `prune sparsify`, as users run them, on the tiny BERT and the bundled
//! collection.

use serde_json::Value;

use crate::support::{Sandbox, mini, model};

/// The vectors of the bundled collection's queries by a model of the sandbox.
fn vectors(sandbox: &Sandbox, encoder: &str) -> Vec<f32> {
    let mini = mini().display().to_string();
    let out = format!("{encoder}.npy");
    let outcome = sandbox.run(["encode", &mini, "--queries", "--encoder", encoder, "--out", &out]);
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    let bytes = std::fs::read(sandbox.path(&out)).unwrap();
    // The header of a .npy file: magic (6), version (2), length (2), text.
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn neurons_are_masked_by_their_activations_and_removed() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().display().to_string();
    let slim = |rest: &[&str]| sandbox.run([&["prune", "slim", "tiny", "--sparsity", "0.3"], rest].concat());
    let first =
        ["--calibration", &mini, "--out", "masked", "--save-scores", "scores.json", "--plot", "plot.svg"];
    let said = slim(&first).ok();
    assert!(said.starts_with("masked: tiny with 30.0 % of its MLP neurons zero"), "{said}");
    let plot = std::fs::read_to_string(sandbox.path("plot.svg")).unwrap();
    // The background, three colors of the legend, and two parts of the bar of each of three layers.
    assert_eq!(plot.matches("<rect ").count(), 1 + 3 + 2 * 3, "{plot}");
    for part in ["layer (number)", "neurons of the MLP (%)", ">stays<"] {
        assert!(plot.contains(part), "no {part} in {plot}");
    }

    // The same from the scores; a mask is a file.
    slim(&["--scores", "scores.json", "--out", "again"]).ok();
    let mask = |folder: &str| std::fs::read(sandbox.path(folder).join("neuron_mask.json")).unwrap();
    assert_eq!(mask("masked"), mask("again"));
    let widths: Vec<u64> = serde_json::from_slice::<Value>(&mask("masked")).unwrap()["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mlp| 80 - mlp["masked"].as_array().unwrap().len() as u64)
        .collect();
    assert_eq!(widths.iter().sum::<u64>(), 168);

    let said = sandbox.run(["prune", "narrow", "masked", "--out", "compacted"]).ok();
    assert!(said.contains("parameters: 77,376 before, 70,392 after"), "{said}");
    let config: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("compacted/config.json")).unwrap()).unwrap();
    assert_eq!(config["secateur"]["intermediate_sizes"], serde_json::json!(widths));
    let mask_file = sandbox.path("masked/neuron_mask.json").display().to_string();
    // By its old name, which stays.
    sandbox.run(["prune", "compact", "tiny", "--mask", &mask_file, "--out", "direct"]).ok();

    let [whole, masked, compacted, direct] =
        ["tiny", "masked", "compacted", "direct"].map(|name| vectors(&sandbox, name));
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest(&masked, &compacted) < 1e-6);
    assert!(largest(&masked, &whole) > 1e-4);
    assert_eq!(compacted, direct);
}

#[test]
fn sparse_models_are_as_large_and_load() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().display().to_string();
    let size = |folder: &str| {
        let tensors = std::fs::metadata(sandbox.path(folder).join("model.safetensors")).unwrap().len();
        // Headers may differ in their spaces.
        tensors / 1024
    };
    let whole = vectors(&sandbox, "tiny");
    for method in ["wanda", "sparsegpt"] {
        let fixed = ["prune", "sparsify", "tiny", "--method", method, "--calibration", &mini];
        let said = sandbox.run([&fixed[..], &["--calibration-blocks", "20", "--out", method]].concat()).ok();
        assert!(said.contains("as large as before"), "{said}");
        assert!(size(method).abs_diff(size("tiny")) <= 2);
        assert_ne!(vectors(&sandbox, method), whole);
    }
}

#[test]
fn what_cannot_be_masked_is_refused() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().display().to_string();
    let slim = |sparsity: &str, rest: &[&str]| {
        let fixed = ["prune", "slim", "tiny", "--calibration", &mini, "--out", "out", "--sparsity", sparsity];
        sandbox.run([&fixed, rest].concat())
    };
    slim("1.5", &[]).fails(2, ["a sparsity of 1.5", "0 to below 1"]);
    slim("0.5", &["--floor", "0.8"]).fails(2, ["120 of 240 neurons", "at most 48 can go", "0.200"]);
    sandbox.run(["prune", "slim", "tiny", "--sparsity", "0.3", "--out", "out"]).fails(2, ["--calibration"]);
    sandbox.run(["prune", "narrow", "tiny", "--out", "out"]).fails(3, ["no neuron_mask.json", "prune slim"]);
    assert!(!sandbox.path("out").exists());
}

/// The encoder in the box is a table of embeddings.
#[test]
fn a_model_without_mlps_is_refused() {
    let sandbox = Sandbox::new();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/encoders/default");
    let mini = mini().display().to_string();
    sandbox
        .run(["prune", "slim", model, "--sparsity", "0.3", "--calibration", &mini, "--out", "slimmed"])
        .fails(3, ["has no MLP"]);
    assert!(sandbox.names().is_empty());
}
