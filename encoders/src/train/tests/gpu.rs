//! Training on a GPU, which the emulator stands in for, against the CPU.

use secateur_gpu::Gpu;

use super::super::device::Found;
use super::*;
use crate::device::Device;
use crate::load_options::LoadOptions;
use crate::weights::quantized::Quantization;

/// A trainer on the emulated GPU.
fn on_gpu(directory: &TempDir, settings: TrainSettings, options: &LoadOptions) -> Trainer {
    let open = |_: &_| Ok(Found::of_gpu(Device::Cuda(0), Gpu::emulated()));
    Trainer::load_on(directory.path(), settings, options, open).unwrap()
}

/// Texts of 2 to 64 tokens: below and above the 32 that a kernel of its own takes, and more than a tile together.
fn few_examples() -> Vec<Example> {
    let texts = id_texts(&sequences());
    let example = |query: usize, passages: [usize; 2]| Example {
        query: texts[query].clone(),
        passages: passages.map(|text| texts[text].clone()).to_vec(),
        scores: Some(vec![1.0, -0.5]),
    };
    vec![example(1, [3, 2]), example(2, [4, 1])]
}

fn length(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

fn distance_of(x: &[f32], y: &[f32]) -> f64 {
    length(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<f32>>())
}

/// How far a gradient may be from the CPU's, as a share of its length.
///
/// A rounding to bf16 changes a number by at most 2^-9 of it, 8e-4 on average. Between the embeddings and a gradient
/// lie about twelve roundings a layer, there and back. Those of four layers are 6e-3, if they add up like random steps.
/// So vectors are off by about that. The logits are cosines divided by a temperature of 0.1: they and the slopes of the
/// loss are off by ten times as much.
const OF_GRADIENTS: f64 = 0.06;

/// Where the true gradient vanishes, such as that of a bias of keys, the rounding of its terms is left. It is measured
/// by this share of the length of all.
const FLOOR: f64 = 0.02;

pub(super) fn compare_with_f32(what: &str, gpu: &Trainer, cpu: &Trainer) {
    let ((got, of_gpu), (want, of_cpu)) = (gradients_of(gpu), gradients_of(cpu));
    assert!(
        (got.total - want.total).abs() < 0.05 * want.total.max(1.0),
        "{what}: {} {}",
        got.total,
        want.total
    );
    assert_eq!(of_gpu.keys().collect::<Vec<_>>(), of_cpu.keys().collect::<Vec<_>>(), "{what}");
    let all = of_cpu.values().map(|gradient| length(gradient).powi(2)).sum::<f64>().sqrt();
    assert!(all > 1e-3, "{what}: there is something to compare");
    for (name, want) in &of_cpu {
        let off = distance_of(&of_gpu[name], want);
        let limit = OF_GRADIENTS * length(want).max(FLOOR * all);
        assert!(off < limit, "{what}: {name} is off by {off:e} of {:e}; all are {all:e}", length(want));
    }
}

fn gradients_of(trainer: &Trainer) -> (LossValue, BTreeMap<String, Vec<f32>>) {
    gradients_of_examples(trainer, &few_examples())
}

/// Both trainers with the same adapters and factors.
fn pair(name: &str, settings: TrainSettings, options: &LoadOptions) -> [Trainer; 2] {
    let directory = tiny(name);
    let cpu = Trainer::load_with(directory.path(), settings.clone(), options).unwrap();
    [own_values(on_gpu(&directory, settings, options)), own_values(cpu)]
}

#[test]
fn gpu_gradients_of_all_weights_are_the_cpus_for_every_family() {
    for name in fixture::<Records>("gradients.json").keys() {
        let [gpu, cpu] = pair(name, settings(Trained::Full), &LoadOptions::default());
        compare_with_f32(&format!("{name}, full"), &gpu, &cpu);
    }
}

#[test]
fn gpu_gradients_of_adapters_are_the_cpus() {
    for (name, quantize) in [("bert", None), ("mistral-pruned", Some(Quantization::Nf4)), ("qwen3", None)] {
        let options = LoadOptions { quantize, ..LoadOptions::default() };
        let lora = Lora { dropout: if name == "qwen3" { 0.3 } else { 0.0 }, ..LORA };
        // One part of each kind on both, so that dropout is the same.
        let settings = TrainSettings { batch_tokens: Some(1 << 20), ..settings(Trained::Lora(lora)) };
        let [gpu, cpu] = pair(name, settings, &options);
        if name != "qwen3" {
            compare_with_f32(&format!("{name}, LoRA"), &gpu, &cpu);
            continue;
        }
        // The CPU makes four parts, and other parts drop other inputs.
        assert_eq!(gradients_of(&gpu), gradients_of(&gpu), "a batch that is computed again drops the same");
        let without = TrainSettings { trained: Trained::Lora(LORA), ..gpu.settings().clone() };
        let [other, _] = pair(name, without, &options);
        assert_ne!(gradients_of(&gpu).1, gradients_of(&other).1, "something is dropped");
    }
}

#[test]
fn gpu_gradients_of_neuron_factors_are_the_cpus() {
    for name in ["bert", "gemma2-pruned"] {
        let slim = Slim { pressure: 0.5 };
        let [gpu, cpu] = pair(name, settings(Trained::Slim(slim)), &LoadOptions::default());
        compare_with_f32(&format!("{name}, slim"), &gpu, &cpu);
    }
}

/// What is kept between forward and backward changes nothing, bit for bit.
#[test]
fn gpu_gradients_do_not_depend_on_what_is_kept() {
    let lora = Lora { dropout: 0.3, ..LORA };
    for (name, trained) in [("bert", Trained::Full), ("gemma2-pruned", Trained::Lora(lora))] {
        let directory = tiny(name);
        let base = settings(trained);
        let run = |settings| gradients_of(&own_values(on_gpu(&directory, settings, &LoadOptions::default())));
        let want = run(base.clone());
        for settings in [
            TrainSettings { recompute: true, ..base.clone() },
            TrainSettings { gradient_cache: true, ..base.clone() },
            TrainSettings { gradient_cache: true, recompute: true, ..base },
        ] {
            assert!(run(settings.clone()) == want, "{name}: {settings:?}");
        }
    }
}

/// Steps on both: the loss falls along one curve. A loss is off by what vectors are off by, see [`OF_GRADIENTS`], and
/// the weights move apart by as much as gradients differ.
#[test]
fn gpu_loss_curves_are_the_cpus() {
    let pairs = pairs();
    for (name, trained, learning_rate) in [
        ("llama", Trained::Full, 1e-3),
        ("mistral", Trained::Lora(LORA), 5e-3),
        ("bert", Trained::Slim(Slim { pressure: 0.5 }), 3e-2),
    ] {
        let settings = TrainSettings {
            loss: Loss { temperature: 0.1, ..Loss::default() },
            optimizer: AdamW { learning_rate, weight_decay: 0.01, ..AdamW::default() },
            schedule: Schedule { warmup_steps: 0, num_steps: 8, decay: Decay::Linear },
            ..settings(trained)
        };
        let directory = tiny(name);
        let mut gpu = changed(on_gpu(&directory, settings.clone(), &LoadOptions::default()), begun);
        let mut cpu = changed(Trainer::load(directory.path(), settings).unwrap(), begun);
        let batch = &pairs[..4];
        let mut losses = Vec::new();
        for _ in 0..8 {
            let [got, want] = [&mut gpu, &mut cpu].map(|trainer| trainer.step(&[batch]).unwrap());
            assert_eq!((got.step, got.num_tokens), (want.step, want.num_tokens), "{name}");
            assert!((got.loss - want.loss).abs() < 0.05 * want.loss.max(0.5), "{name}: {got:?} {want:?}");
            losses.push(want.loss);
        }
        assert!(losses[7] < losses[0] - 0.05, "{name}: there is a curve: {losses:?}");
    }
}

/// A run that is interrupted ends with the same weights.
#[test]
fn gpu_training_goes_on_from_its_state() {
    let directory = tiny("mistral-pruned");
    let settings = settings(Trained::Lora(Lora { dropout: 0.1, ..LORA }));
    let load = || on_gpu(&directory, settings.clone(), &LoadOptions::default());
    let (mut whole, mut second) = (load(), load());
    let file = directory.path().join("state.safetensors");
    whole.step(&[&few_examples()]).unwrap();
    whole.save(&file, "notes").unwrap();
    let want = whole.step(&[&few_examples()]).unwrap();
    assert_eq!(second.resume(&file).unwrap(), "notes");
    assert_eq!(second.step(&[&few_examples()]).unwrap(), want);
    assert_eq!(second.learner.parameters().unwrap(), whole.learner.parameters().unwrap());
    // What was trained can be written and read; the CPU encodes with it as the GPU does.
    let adapter = directory.path().join("adapter");
    second.write(&adapter).unwrap();
    let encoder = crate::Encoder::load(&adapter, &LoadOptions::default()).unwrap();
    let texts = id_texts(&sequences());
    let texts = [&texts[2][..], &texts[3]];
    let (got, want) = (
        second.encode(&texts, crate::TextKind::Passage).unwrap(),
        encoder.encode(&texts, crate::TextKind::Passage).unwrap(),
    );
    for (got, want) in got.chunks(48).zip(want.chunks(48)) {
        let cosine: f32 = got.iter().zip(want).map(|(x, y)| x * y).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
}

/// A device without memory is an error that says what to do, not a panic.
#[test]
fn gpu_memory_that_is_full_is_an_error() {
    let directory = tiny("bert");
    let open = |_: &_| Ok(Found::of_gpu(Device::Cuda(0), Gpu::emulated_with(1 << 20)));
    let settings = settings(Trained::Full);
    let result = Trainer::load_on(directory.path(), settings, &LoadOptions::default(), open);
    let mut message = String::new();
    match result.map(|mut trainer| trainer.step(&[&few_examples()])) {
        Err(error) | Ok(Err(error)) => message += &error.to_string(),
        Ok(Ok(_)) => {}
    }
    assert!(message.contains("memory is full") && message.contains("--batch-tokens"), "{message}");
}
