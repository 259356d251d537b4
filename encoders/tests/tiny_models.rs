use std::path::Path;

use candle_core::Device;
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::candle::Candle;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::{Classifier, Stage, Transformer};
use secateur_encoders::{Checkpoint, Precision};

use crate::support::{Fixture, HIDDEN_SIZE, deviation, fnv1a64, outputs, sequences, splitmix64};

/// transformers' own f32 is up to 4e-6 from the recorded f64 results. Five times that leaves room for another order of
/// summation and for activations with an error of 4e-7. A wrong mask, norm or rotation is off by 1e-2 and more.
const TOLERANCE: f64 = 2e-5;

fn load<B: Backend>(backend: &B, directory: &Path) -> Transformer<B> {
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    Transformer::load(backend, architecture, &Checkpoint::open(directory).unwrap()).unwrap()
}

fn hidden<B: Backend>(backend: &B, model: &Transformer<B>, sequences: &[Vec<u32>]) -> Vec<f32> {
    let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
    backend.to_vec(&model.forward(backend, &sequences.concat(), &spans).unwrap()).unwrap()
}

/// All sequences in one batch against the recorded outputs. Returns the hidden states of all tokens.
fn check<B: Backend>(what: &str, backend: &B, directory: &Path, name: &str) -> Vec<f32> {
    let model = load(backend, directory);
    let sequences = sequences();
    let want = outputs(name);
    let all = hidden(backend, &model, &sequences);
    let close = |part: &str, got: &[f32]| {
        let deviation = deviation(got, &want[part]);
        assert!(deviation <= TOLERANCE, "{name}, {what}: {part} is off by {deviation:.1e}");
    };

    let mut layers = Vec::new();
    let spans = Spans::from_lengths([sequences[2].len()]);
    model
        .forward_observed(backend, &sequences[2], &spans, &mut |stage, x| {
            if matches!(stage, Stage::Embeddings | Stage::Layer(_)) {
                layers.extend(backend.to_vec(x)?);
            }
            Ok(())
        })
        .unwrap();
    // What transformers calls the last layer's output has passed the final norm.
    let states = sequences[2].len() * HIDDEN_SIZE;
    let last = layers.len() - states;
    layers[last..].copy_from_slice(&hidden(backend, &model, &sequences[2..3]));
    close("layers.2", &layers);

    let (mut last, mut mean) = (Vec::new(), Vec::new());
    for (index, span) in Spans::from_lengths(sequences.iter().map(Vec::len)).iter().enumerate() {
        let text = &all[span.start * HIDDEN_SIZE..span.end * HIDDEN_SIZE];
        last.extend_from_slice(&text[text.len() - HIDDEN_SIZE..]);
        mean.extend((0..HIDDEN_SIZE).map(|k| {
            let sum: f64 = text[k..].iter().step_by(HIDDEN_SIZE).map(|x| f64::from(*x)).sum();
            (sum / span.len() as f64) as f32
        }));
        if matches!(index, 2 | 3) {
            close(&format!("hidden.{index}"), text);
        }
    }
    close("last", &last);
    close("mean", &mean);
    all
}

/// Linear layers in 8 bits, whose vectors also are the same bits in every batch.
///
/// A code has 254 steps over the range of its group, which is about six standard deviations. So rounding changes an
/// operand by about 6 / 254 / sqrt(12) = 0.7 % of its size. A vector changes by sqrt(2) of this in each of at most
/// four sub-layers, which is a cosine of 1 - 4 * 0.01^2 / 2. 0.998 leaves a factor of ten, because the residual stream
/// weighs sub-layers unequally.
fn check_int8(directory: &Path, name: &str) {
    let backend = Cpu::serial().with_precision(Precision::Int8);
    let model = load(&backend, directory);
    let sequences = sequences();
    let together = hidden(&backend, &model, &sequences);
    check_vectors("int8", &together, name, 0.998);
    let alone = |sequence| hidden(&backend, &model, std::slice::from_ref(sequence));
    let alone: Vec<f32> = sequences.iter().flat_map(alone).collect();
    assert!(alone == together, "{name}, int8: hidden states depend on the batch");
    let parallel = hidden(&Cpu::parallel().with_precision(Precision::Int8), &model, &sequences);
    assert!(parallel == together, "{name}, int8: hidden states depend on the number of threads");
}

/// Linear layers in bf16: the vectors of last-token and mean pooling against the recorded f64 ones.
///
/// Rounding changes an operand by at most 2^-9 of itself. Over a layer's terms these errors are as good as random, so
/// a vector changes by about 2^-9 of its length in each sub-layer. That is a cosine of 1 - 2^-19 for each of at most
/// four sub-layers. 0.9999 leaves a factor of ten, because the residual stream weighs sub-layers unequally.
fn check_bf16(directory: &Path, name: &str) {
    let backend = Cpu::serial().with_precision(Precision::Bf16);
    let model = load(&backend, directory);
    check_vectors("bf16", &hidden(&backend, &model, &sequences()), name, 0.9999);
}

/// Hidden states whose vectors, by last-token and by mean pooling, have at least this cosine to the recorded ones.
fn check_vectors(what: &str, all: &[f32], name: &str, least: f64) {
    let sequences = sequences();
    let want = outputs(name);
    let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
    for (text, span) in spans.iter().enumerate() {
        let states = &all[span.start * HIDDEN_SIZE..span.end * HIDDEN_SIZE];
        let last = &states[states.len() - HIDDEN_SIZE..];
        let mean: Vec<f32> = (0..HIDDEN_SIZE)
            .map(|k| states[k..].iter().step_by(HIDDEN_SIZE).sum::<f32>() / span.len() as f32)
            .collect();
        for (pooling, got) in [("last", last), ("mean", &mean[..])] {
            let want = &want[pooling][text * HIDDEN_SIZE..(text + 1) * HIDDEN_SIZE];
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let cosine = dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
            assert!(cosine >= least, "{name}, {what}: {pooling} of text {text} has cosine {cosine}");
        }
    }
}

fn check_model(name: &str) {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.pruned_config(&fixture.config));
    let directory = directory.path();
    let together = check("fused", &Cpu::serial(), directory, name);
    check("composed", &Candle::new(Device::Cpu), directory, name);

    check_bf16(directory, name);
    check_int8(directory, name);

    // The same bits in every batch and on any number of threads.
    let sequences = sequences();
    let serial = Cpu::serial();
    let model = load(&serial, directory);
    let alone: Vec<f32> = sequences
        .iter()
        .flat_map(|sequence| hidden(&serial, &model, std::slice::from_ref(sequence)))
        .collect();
    assert!(alone == together, "{name}: hidden states depend on the batch");
    for threads in [2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let parallel = pool.install(|| hidden(&Cpu::parallel(), &model, &sequences));
        assert!(parallel == together, "{name}: hidden states depend on the number of threads");
    }

    // The other spelling of the configuration is the same model.
    let path = directory.join("config.json");
    let first = Architecture::read(&path).unwrap();
    crate::support::write_json(
        directory,
        "config.json",
        &fixture.pruned_config(&fixture.config_transformers_5),
    );
    assert_eq!(Architecture::read(&path).unwrap(), first, "{name}: transformers 5 spells another model");
}

#[test]
fn the_formula_of_the_weights_is_that_of_the_readme() {
    let seed = fnv1a64("embed_tokens.weight");
    assert_eq!(seed, 0xBEC8_601A_EEE6_EC19);
    assert_eq!(splitmix64(&mut { seed }), 0x48DE_FE57_6744_E79D);
    let tensor = crate::support::TensorFormula {
        name: "embed_tokens.weight".to_owned(),
        shape: vec![2, 3],
        center: 0.0,
        scale: 1.0,
    };
    assert_eq!(tensor.values(), [-0.40625, -0.84375, 0.65625, 0.46875, -0.03125, -0.90625]);
}

/// The types of a pair's tokens in the fixtures: the first half, rounded up, is the first text.
fn token_types(sequence: &[u32]) -> Vec<u32> {
    (0..sequence.len()).map(|place| u32::from(place >= sequence.len().div_ceil(2))).collect()
}

fn check_cross_encoder(name: &str) {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.config);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let want = &outputs(name)["logits"];
    fn check<B: Backend>(
        backend: &B,
        directory: &Path,
        checkpoint: &Checkpoint,
        want: &[f32],
    ) -> [Vec<f32>; 2] {
        let architecture = Architecture::read(directory.join("config.json")).unwrap();
        let has_types = architecture.token_types() > 1;
        let config = directory.join("config.json");
        let model = Classifier::load(backend, architecture, &config, checkpoint).unwrap();
        let sequences = sequences();
        let logits = |sequences: &[Vec<u32>]| {
            let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
            let types: Vec<u32> = sequences.iter().flat_map(|sequence| token_types(sequence)).collect();
            let types = if has_types { &types[..] } else { &[] };
            model.logits(backend, &sequences.concat(), types, &spans).unwrap()
        };
        let together = logits(&sequences);
        assert!(deviation(&together, want) <= TOLERANCE, "{together:?} against {want:?}");
        if has_types {
            let spans = Spans::from_lengths(sequences.iter().map(Vec::len));
            let untyped = model.logits(backend, &sequences.concat(), &[], &spans).unwrap();
            assert!(deviation(&untyped, want) > 1e-2, "the types of tokens change nothing");
        }
        let alone = sequences.iter().flat_map(|sequence| logits(std::slice::from_ref(sequence))).collect();
        [together, alone]
    }
    let [together, alone] = check(&Cpu::serial(), directory.path(), &checkpoint, want);
    assert!(alone == together, "{name}: logits depend on the batch");
    check(&Candle::new(Device::Cpu), directory.path(), &checkpoint, want);
}

#[test]
fn a_decoder_scores_no_pairs() {
    let fixture = Fixture::read("llama");
    let directory = fixture.write(&fixture.config);
    let error = load_classifier(directory.path());
    let want = "model_type is \"llama\"; expected a family that scores pairs: bert, xlm-roberta, modernbert";
    assert!(error.contains(want), "{error}");
}

#[test]
fn heads_that_are_not_there_or_not_known_are_refused_by_name() {
    let fixture = Fixture::read("bert");
    let error = load_classifier(fixture.write(&fixture.config).path());
    assert!(error.contains("has no tensor bert.pooler.dense.weight"), "{error}");

    let fixture = Fixture::read("modernbert-cross-encoder");
    let mut config = fixture.config.clone();
    config["classifier_pooling"] = "max".into();
    let error = load_classifier(fixture.write(&config).path());
    assert!(error.contains("classifier_pooling is \"max\"; expected cls or mean"), "{error}");
}

fn load_classifier(directory: &Path) -> String {
    let config = directory.join("config.json");
    let architecture = Architecture::read(&config).unwrap();
    let checkpoint = Checkpoint::open(directory).unwrap();
    Classifier::load(&Cpu::serial(), architecture, &config, &checkpoint).err().unwrap().to_string()
}

macro_rules! models {
    ($check:ident; $($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            $check($name);
        })*
    };
}

models! {
    check_cross_encoder;
    bert_cross_encoder: "bert-cross-encoder",
    xlm_roberta_cross_encoder: "xlm-roberta-cross-encoder",
    modernbert_cross_encoder: "modernbert-cross-encoder",
    modernbert_cross_encoder_cls: "modernbert-cross-encoder-cls",
}

models! {
    check_model;
    bert: "bert",
    bert_pruned: "bert-pruned",
    xlm_roberta: "xlm-roberta",
    modernbert: "modernbert",
    modernbert_pruned: "modernbert-pruned",
    mistral: "mistral",
    mistral_full_attention: "mistral-full-attention",
    mistral_pruned: "mistral-pruned",
    llama: "llama",
    llama_rope_scaling: "llama-rope-scaling",
    llama_pruned: "llama-pruned",
    qwen2: "qwen2",
    qwen3: "qwen3",
    gemma2: "gemma2",
    gemma2_pruned: "gemma2-pruned",
}
