use std::path::Path;

use safetensors::Dtype;
use secateur_encoders::architecture::Architecture;
use secateur_encoders::compute::cpu::Cpu;
use secateur_encoders::compute::cuda::Cuda;
use secateur_encoders::compute::{Backend, Spans};
use secateur_encoders::model::{Classifier, Transformer, can_keep_prompt};
use secateur_encoders::{Checkpoint, Pooling, Precision, Quantization, Quantized, Tensors};
use secateur_gpu::Gpu;

use crate::support::{Fixture, HIDDEN_SIZE, MODELS, outputs, sequences, write_tensors};

/// bf16 weights and inputs of linear layers, and attention in bf16, against recorded f64. Rounding changes a vector by
/// about 2^-9 of its length in each sub-layer; the issue asks for 0.999, which leaves that a factor of ten.
const LEAST_COSINE: f64 = 0.999;

fn emulated() -> Cuda {
    Cuda::new(Gpu::emulated())
}

fn load<B: Backend>(backend: &B, directory: &Path, tensors: &dyn Tensors) -> Transformer<B> {
    let architecture = Architecture::read(directory.join("config.json")).unwrap();
    Transformer::load(backend, architecture, tensors).unwrap()
}

fn vectors<B: Backend>(
    backend: &B,
    model: &Transformer<B>,
    texts: &[Vec<u32>],
    pooling: Pooling,
) -> Vec<f32> {
    let spans = Spans::from_lengths(texts.iter().map(Vec::len));
    let pooled = model.pooled(backend, &texts.concat(), &spans, pooling, 0).unwrap();
    backend.to_vectors(&pooled, HIDDEN_SIZE, true).unwrap()
}

#[track_caller]
fn alike(what: &str, got: &[f32], want: &[f32], least: f64) {
    assert_eq!(got.len(), want.len());
    for (text, (got, want)) in got.chunks_exact(HIDDEN_SIZE).zip(want.chunks_exact(HIDDEN_SIZE)).enumerate() {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let cosine = dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
        assert!(cosine >= least, "{what}: text {text} has cosine {cosine}");
    }
}

/// All families, whole and pruned: one batch, and each text alone, which takes the path of few tokens if it is short.
#[test]
fn gpu_vectors_of_every_family_are_those_of_transformers() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.pruned_config(&fixture.config));
        let backend = emulated();
        let model = load(&backend, directory.path(), &Checkpoint::open(directory.path()).unwrap());
        // The longest would take most of the time: 150 tokens are more than two tiles.
        let (mut texts, want) = (sequences(), outputs(name));
        texts.retain(|text| text.len() <= 150);
        for (pooling, part) in [(Pooling::LastToken, "last"), (Pooling::Mean, "mean")] {
            if pooling == Pooling::Mean {
                texts.truncate(4);
            }
            let together = vectors(&backend, &model, &texts, pooling);
            let wanted = &want[part][..texts.len() * HIDDEN_SIZE];
            alike(&format!("{name}, {part}"), &together, wanted, LEAST_COSINE);
            if pooling == Pooling::LastToken {
                let alone: Vec<f32> = texts
                    .iter()
                    .filter(|text| text.len() <= 33)
                    .flat_map(|text| vectors(&backend, &model, std::slice::from_ref(text), pooling))
                    .collect();
                alike(&format!("{name}, alone"), &alone, &together[..alone.len()], 0.9999);
            }
        }
    }
}

#[test]
fn gpu_logits_of_cross_encoders_are_those_of_transformers() {
    for name in [
        "bert-cross-encoder",
        "xlm-roberta-cross-encoder",
        "modernbert-cross-encoder",
        "modernbert-cross-encoder-cls",
    ] {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.config);
        let config = directory.path().join("config.json");
        let architecture = Architecture::read(&config).unwrap();
        let has_types = architecture.token_types() > 1;
        let backend = emulated();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let model = Classifier::load(&backend, architecture, &config, &checkpoint).unwrap();
        let mut texts = sequences();
        texts.truncate(4);
        let types = |text: &Vec<u32>| -> Vec<u32> {
            (0..text.len()).map(|place| u32::from(place >= text.len().div_ceil(2))).collect()
        };
        let types: Vec<u32> = if has_types { texts.iter().flat_map(types).collect() } else { Vec::new() };
        let spans = Spans::from_lengths(texts.iter().map(Vec::len));
        let got = model.logits(&backend, &texts.concat(), &types, &spans).unwrap();
        let want = &outputs(name)["logits"];
        assert_eq!(got.len(), texts.len());
        let size = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= 0.03 * size, "{name}: {got} against {want}");
        }
    }
}

/// Where one row makes a vector, the last layer is computed for it alone: bit for bit the same on a CPU.
#[test]
fn vectors_of_one_row_are_those_of_the_whole_forward() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.pruned_config(&fixture.config));
        let backend = Cpu::serial();
        let model = load(&backend, directory.path(), &Checkpoint::open(directory.path()).unwrap());
        let texts = sequences();
        let spans = Spans::from_lengths(texts.iter().map(Vec::len));
        for pooling in [Pooling::LastToken, Pooling::Cls] {
            let hidden = model.forward(&backend, &texts.concat(), &spans).unwrap();
            let whole = backend.to_vec(&backend.pool(&hidden, &spans, pooling, 0).unwrap()).unwrap();
            let pooled = model.pooled(&backend, &texts.concat(), &spans, pooling, 0).unwrap();
            assert!(backend.to_vec(&pooled).unwrap() == whole, "{name}, {pooling}");
        }
    }
}

/// A prompt that all texts begin with is computed once. On a CPU no bit changes, and on a GPU rounding alone.
#[test]
fn a_prompt_computed_once_changes_no_vector() {
    let mut causal = 0;
    for name in MODELS {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.pruned_config(&fixture.config));
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let (cpu, gpu) = (Cpu::serial(), emulated());
        let on_cpu = load(&cpu, directory.path(), &checkpoint);
        if !can_keep_prompt(on_cpu.architecture()) {
            continue;
        }
        causal += 1;
        let on_gpu = load(&gpu, directory.path(), &checkpoint);
        // The second prompt takes the place of the first.
        for length in [9, 12] {
            let prompt: Vec<u32> = (0..length).map(|id| 3 + id % 11).collect();
            let mut texts = sequences();
            texts.retain(|text| text.len() <= 70);
            texts.truncate(4);
            let whole: Vec<Vec<u32>> = texts.iter().map(|text| [&prompt[..], text].concat()).collect();
            let want = vectors(&cpu, &on_cpu, &whole, Pooling::LastToken);
            let spans = Spans::from_lengths(texts.iter().map(Vec::len));
            let last = on_cpu.last_after_prompt(&cpu, &prompt, &texts.concat(), &spans).unwrap();
            assert!(cpu.to_vectors(&last, HIDDEN_SIZE, true).unwrap() == want, "{name}");
            let last = on_gpu.last_after_prompt(&gpu, &prompt, &texts.concat(), &spans).unwrap();
            let got = gpu.to_vectors(&last, HIDDEN_SIZE, true).unwrap();
            alike(&format!("{name} after a prompt"), &got, &want, LEAST_COSINE);
        }
    }
    assert!(causal >= 5, "{causal} families are causal");
}

/// bf16 weights go to the device as they lie in the file; the formula's weights are exact in bf16.
#[test]
fn gpu_weights_of_a_bf16_file_are_those_of_an_f32_file() {
    for name in ["mistral-pruned", "bert"] {
        let fixture = Fixture::read(name);
        let directory = fixture.write(&fixture.pruned_config(&fixture.config));
        let backend = emulated();
        let mut texts = sequences();
        texts.truncate(4);
        let run = || {
            let model = load(&backend, directory.path(), &Checkpoint::open(directory.path()).unwrap());
            vectors(&backend, &model, &texts, Pooling::Cls)
        };
        let of_f32 = run();
        let file = directory.path().join("model.safetensors");
        write_tensors(&file, &fixture.tensors(str::to_owned), Dtype::BF16);
        assert!(run() == of_f32, "{name}");
    }
}

#[test]
fn gpu_weights_of_four_bits_are_unpacked() {
    let fixture = Fixture::read("mistral");
    let directory = fixture.write(&fixture.config);
    let quantized = || {
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        Quantized::new(Box::new(checkpoint), Quantization::Nf4)
    };
    let (gpu, cpu) = (emulated(), Cpu::serial().with_precision(Precision::Bf16));
    let (on_gpu, on_cpu) =
        (load(&gpu, directory.path(), &quantized()), load(&cpu, directory.path(), &quantized()));
    let mut texts = sequences();
    texts.truncate(4);
    let want = vectors(&cpu, &on_cpu, &texts, Pooling::LastToken);
    alike("mistral in 4 bits", &vectors(&gpu, &on_gpu, &texts, Pooling::LastToken), &want, LEAST_COSINE);
}

/// Nine launches a layer, five for few tokens; beside them the embeddings and the last norm.
#[test]
fn gpu_launches_of_a_layer_are_few() {
    let fixture = Fixture::read("mistral");
    let directory = fixture.write(&fixture.config);
    let backend = emulated();
    let model = load(&backend, directory.path(), &Checkpoint::open(directory.path()).unwrap());
    let layers = model.architecture().layers.len() as u64;
    for (tokens, of_layer) in [(40, 9), (14, 5)] {
        let before = backend.gpu().launches();
        let ids: Vec<u32> = (0..tokens).map(|id| 3 + id % 20).collect();
        model.forward(&backend, &ids, &Spans::from_lengths([ids.len()])).unwrap();
        assert_eq!(backend.gpu().launches() - before, of_layer * layers + 2, "{tokens} tokens");
    }
}
