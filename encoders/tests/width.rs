use std::path::{Path, PathBuf};

use secateur_encoders::architecture::{Architecture, LinearInput, SubLayer};
use secateur_encoders::compute::Spans;
use secateur_encoders::compute::candle::Candle;
use secateur_encoders::model::{Stage, Transformer};
use secateur_encoders::prune::{
    Calibration, CalibrationFormat, Layout, ModelDirectory, NeuronMask, NeuronScores, PruneError,
    activation_magnitude,
};
use secateur_encoders::{
    Checkpoint, Encoder, Error, LoadOptions, Quantization, QuantizedFormat, TextKind, write_quantized,
};
use tempfile::TempDir;

use crate::support::{MODELS, deviation, id_texts, sequences, splitmix64, tiny};

fn load(directory: &Path) -> Encoder {
    Encoder::load(directory, &LoadOptions::default()).unwrap()
}

fn vectors(encoder: &Encoder) -> Vec<f32> {
    let texts = id_texts(&sequences());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    encoder.encode(&texts, TextKind::Passage).unwrap()
}

/// Random scores of every neuron.
fn random_scores(model: &ModelDirectory) -> NeuronScores {
    let mut state = 3;
    let mut layer = |width: usize| (0..width).map(|_| (splitmix64(&mut state) >> 40) as f64).collect();
    NeuronScores {
        model: model.name(),
        fingerprint: *model.fingerprint(),
        layers: model
            .architecture()
            .layers
            .iter()
            .map(|shape| shape.intermediate_size.map(&mut layer))
            .collect(),
    }
}

fn out(parent: &TempDir, name: &str) -> PathBuf {
    parent.path().join(name)
}

#[test]
fn masked_and_narrowed_models_give_the_same_embeddings() {
    for name in MODELS {
        let directory = tiny(name);
        let model = ModelDirectory::open(directory.path()).unwrap();
        let mask = random_scores(&model).mask(0.3, 0.1).unwrap();
        let (masked, narrowed) = (out(&directory, "masked"), out(&directory, "narrowed"));
        model.write_masked(&mask, &masked).unwrap();
        let masked_model = ModelDirectory::open(&masked).unwrap();
        let (_, read) = masked_model.mask().unwrap();
        assert_eq!(read, mask, "{name}");
        masked_model.write_narrowed(&read, &narrowed).unwrap();
        let [whole, masked, narrowed] = [directory.path(), &masked, &narrowed].map(load);
        assert_eq!(masked.architecture(), whole.architecture(), "{name}");
        let widths: Vec<_> =
            narrowed.architecture().layers.iter().map(|layer| layer.intermediate_size).collect();
        assert_eq!(widths, mask.widths(), "{name}");
        // Unit vectors. Sums over 80 and over 56 neurons, of which the missing ones are zero, run in one order.
        let difference = deviation(&vectors(&masked), &vectors(&narrowed));
        assert!(difference < 1e-6, "{name}: {difference}");
        assert!(deviation(&vectors(&masked), &vectors(&whole)) > 1e-4, "{name}: a mask changes a model");

        // The same from the whole model, without the detour.
        let direct = out(&directory, "direct");
        model.write_narrowed(&mask, &direct).unwrap();
        assert!(vectors(&load(&direct)) == vectors(&narrowed), "{name}");
        let stored = Checkpoint::open(&direct).unwrap();
        let architecture = narrowed.architecture();
        for tensor in architecture.tensors() {
            let found = stored.iter().find(|stored| architecture.bare_name(stored.name) == tensor.name);
            assert_eq!(found.unwrap().shape, tensor.shape, "{name}: {}", tensor.name);
        }
    }
}

/// Depth and width at once: as loaded from the whole model's files, and as written.
#[test]
fn pruned_models_are_loaded_as_they_are_written() {
    for name in MODELS {
        let directory = tiny(name);
        let model = ModelDirectory::open(directory.path()).unwrap();
        let mask = random_scores(&model).mask(0.3, 0.1).unwrap();
        let mut remaining = model.architecture().remaining();
        for (sub_layer, layer) in [(SubLayer::Attention, 1), (SubLayer::Mlp, 2)] {
            if remaining.has(sub_layer, layer) {
                remaining.drop(sub_layer, layer).unwrap();
            }
        }
        let written = out(&directory, "pruned");
        model.write_pruned(&remaining, &mask, &written).unwrap();
        let options = LoadOptions::default();
        let loaded = Encoder::load_pruned(directory.path(), &options, &remaining, &mask).unwrap();
        assert_eq!(loaded.architecture(), load(&written).architecture(), "{name}");
        assert_eq!(loaded.architecture().remaining(), mask.within(&remaining), "{name}");
        assert!(vectors(&loaded) == vectors(&load(&written)), "{name}");
        // In two steps it is the same.
        let (narrow, both) = (out(&directory, "narrow"), out(&directory, "both"));
        model.write_narrowed(&mask, &narrow).unwrap();
        let narrow = ModelDirectory::open(&narrow).unwrap();
        narrow.write_dropped(&mask.within(&remaining), Layout::Secateur, &both).unwrap();
        assert!(vectors(&load(&both)) == vectors(&loaded), "{name}");
        let whole = load(directory.path());
        assert!(loaded.fingerprint() != whole.fingerprint(), "{name}");
        let dropped = Encoder::load_dropped(directory.path(), &options, &remaining).unwrap();
        assert!(loaded.fingerprint() != dropped.fingerprint(), "{name}");
    }
}

#[test]
fn masking_nothing_changes_no_bit() {
    for name in MODELS {
        let directory = tiny(name);
        let model = ModelDirectory::open(directory.path()).unwrap();
        let mask = random_scores(&model).mask(0.0, 0.0).unwrap();
        let [masked, narrowed] = ["masked", "narrowed"].map(|name| out(&directory, name));
        model.write_masked(&mask, &masked).unwrap();
        model.write_narrowed(&mask, &narrowed).unwrap();
        for written in [masked, narrowed] {
            assert!(vectors(&load(&written)) == vectors(&load(directory.path())));
        }
    }
}

#[test]
fn narrowed_models_are_narrowed_again() {
    let directory = tiny("llama");
    let narrow = |from: &Path, sparsity, name| {
        let model = ModelDirectory::open(from).unwrap();
        let mask = random_scores(&model).mask(sparsity, 0.0).unwrap();
        let out = out(&directory, name);
        model.write_narrowed(&mask, &out).unwrap();
        out
    };
    let first = narrow(directory.path(), 0.25, "first");
    let second = narrow(&first, 0.5, "second");
    let total = |directory: &Path| -> usize {
        load(directory).architecture().layers.iter().filter_map(|layer| layer.intermediate_size).sum()
    };
    // Three layers of 80.
    assert_eq!((total(&first), total(&second)), (180, 90));
    vectors(&load(&second));
}

#[test]
fn activation_magnitude_is_its_definition() {
    for name in ["bert", "modernbert", "mistral-pruned", "gemma2"] {
        let directory = tiny(name);
        let encoder = load(directory.path());
        let texts = id_texts(&sequences());
        let calibration =
            Calibration { format: CalibrationFormat::Texts, max_sequences: 100, block_length: None };
        let measure = || {
            let texts = texts.iter().map(|text| Ok::<_, Error>(text.clone()));
            activation_magnitude(&encoder, texts, &calibration, |_| ()).unwrap()
        };
        let scores = measure();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(measure), scores, "{name}: threads");

        // Each text alone, by the composed operations.
        let backend = Candle::new(candle_core::Device::Cpu);
        let architecture = Architecture::read(directory.path().join("config.json")).unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let model = Transformer::load(&backend, architecture.clone(), &checkpoint).unwrap();
        let widths = architecture.layers.iter().map(|layer| layer.intermediate_size);
        let mut sums: Vec<Vec<f64>> = widths.map(|width| vec![0.0; width.unwrap_or(0)]).collect();
        let mut num_tokens = 0;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for tokens in encoder.tokenize(&texts, TextKind::Passage).unwrap() {
            num_tokens += tokens.len();
            let spans = Spans::from_lengths([tokens.len()]);
            model
                .forward_observed(&backend, &tokens, &spans, &mut |stage, x| {
                    if let Stage::Input(layer, LinearInput::MlpOutput) = stage {
                        for row in x.to_vec2::<f32>()? {
                            sums[layer].iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x.abs()));
                        }
                    }
                    Ok(())
                })
                .unwrap();
        }
        for (layer, sums) in sums.iter().enumerate() {
            let Some(scores) = &scores.layers[layer] else { continue };
            assert_eq!(scores.len(), sums.len());
            for (score, sum) in scores.iter().zip(sums) {
                let want = sum / num_tokens as f64;
                // Activations of size one, off by some 1e-6 in f32 (the fixtures' own deviation is up to 4e-6).
                assert!(
                    (score - want).abs() <= 1e-5 * want.max(1.0),
                    "{name}, layer {layer}: {score}, {want}"
                );
            }
        }
    }
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let directory = tiny("llama");
    let model = ModelDirectory::open(directory.path()).unwrap();
    let mask = random_scores(&model).mask(0.3, 0.0).unwrap();
    let refused = |model: &ModelDirectory, mask: &NeuronMask| {
        let out = out(&directory, "refused");
        let message = model.write_narrowed(mask, &out).unwrap_err().to_string();
        assert!(!out.exists());
        message
    };
    let message = model.mask().unwrap_err().to_string();
    assert!(message.contains("has no neuron_mask.json") && message.contains("prune slim"), "{message}");

    let other = tiny("llama-pruned");
    let message = refused(&ModelDirectory::open(other.path()).unwrap(), &mask);
    assert!(message.contains("layers.width is [Some(80), Some(80), Some(80)]"), "{message}");

    let mut all = mask.clone();
    let mlp = all.layers[1].as_mut().unwrap();
    mlp.masked = (0..mlp.width).collect();
    let message = refused(&model, &all);
    assert!(message.contains("all of layer 1") && message.contains("drop the MLP"), "{message}");

    let quantized = out(&directory, "quantized");
    write_quantized(directory.path(), None, QuantizedFormat::Nf4, &quantized).unwrap();
    let message = refused(&ModelDirectory::open(&quantized).unwrap(), &mask);
    assert!(message.contains("narrow the model that it was made from"), "{message}");

    let file = out(&directory, "mask.json");
    let cases = [
        (r#"{"layers": [{"width": 4, "masked": [1, 1]}]}"#, "ascending numbers below the width, 4"),
        (r#"{"layers": [{"width": 4, "masked": [4]}]}"#, "ascending numbers below the width, 4"),
        (r#"{"layers": [{"masked": [4]}]}"#, "width"),
    ];
    for (text, want) in cases {
        std::fs::write(&file, text).unwrap();
        let message = NeuronMask::read(&file).unwrap_err().to_string();
        assert!(message.contains(want), "{message}");
    }
    let scores = random_scores(&model);
    let other = ModelDirectory::open(other.path()).unwrap();
    assert!(matches!(
        scores.check(&file, &other),
        Err(Error::Prune(PruneError::ScoresOfAnotherModel { .. }))
    ));
    std::fs::write(&file, scores.to_json()).unwrap();
    assert_eq!(NeuronScores::read(&file).unwrap(), scores);
}

#[test]
fn narrowed_models_are_quantized() {
    let directory = tiny("qwen3");
    let model = ModelDirectory::open(directory.path()).unwrap();
    let mask = random_scores(&model).mask(0.3, 0.0).unwrap();
    let (narrowed, quantized) = (out(&directory, "narrowed"), out(&directory, "quantized"));
    model.write_narrowed(&mask, &narrowed).unwrap();
    write_quantized(&narrowed, None, QuantizedFormat::Nf4, &quantized).unwrap();
    let options = LoadOptions { quantize: Some(Quantization::Nf4), ..LoadOptions::default() };
    let at_load = Encoder::load(&narrowed, &options).unwrap();
    assert!(vectors(&at_load) == vectors(&load(&quantized)));
}
