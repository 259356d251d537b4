//! Gradients against PyTorch's (tests/fixtures/training/generate.py), and what must not change them.

mod bf16;
mod gpu;

use std::collections::BTreeMap;

use secateur_testkit::workspace_root;
use serde::Deserialize;
use tempfile::TempDir;

use super::settings::{TrainSettings, Trained};
use super::step::Watch;
use super::{AdamW, Decay, Example, Lora, Schedule, Slim, Trainer};
use crate::compute::precision::Precision;
use crate::contrastive::loss::{Loss, LossValue};

use crate::support::{Fixture, fnv1a64, id_texts, id_tokenizer, sequences, splitmix64};

#[derive(Deserialize)]
struct Sketch {
    length: f64,
    products: Vec<f64>,
}

#[derive(Deserialize)]
struct Record {
    total: f64,
    contrastive: f64,
    distillation: f64,
    gradients: BTreeMap<String, Sketch>,
}

#[derive(Deserialize)]
struct Records {
    full: Record,
    lora: Record,
    gates: Record,
}

fn fixture<T: for<'a> Deserialize<'a>>(file: &str) -> BTreeMap<String, T> {
    let path = workspace_root().join("tests/fixtures/training").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The numbers of generate.py.
const LOSS: Loss = Loss {
    temperature: 0.1,
    contrastive_weight: 1.0,
    distillation_weight: 0.7,
    alignment_weight: 0.0,
    teacher_temperature: 0.5,
    student_temperature: 0.2,
};
const LORA: Lora = Lora { rank: 4, alpha: 8.0, dropout: 0.0, targets: Vec::new() };

/// center + scale * u, as the weights of the tiny models are made.
fn fill(name: &str, len: usize, center: f64, scale: f64) -> Vec<f32> {
    let mut state = fnv1a64(name);
    let mut u = || (2.0 * (splitmix64(&mut state) >> 59) as f64 - 31.0) / 32.0;
    (0..len).map(|_| (center + scale * u()) as f32).collect()
}

fn tiny(name: &str) -> TempDir {
    let fixture = Fixture::read(name);
    let directory = fixture.write(&fixture.pruned_config(&fixture.config));
    id_tokenizer(directory.path());
    directory
}

fn settings(trained: Trained) -> TrainSettings {
    TrainSettings { loss: LOSS, batch_tokens: Some(64), ..TrainSettings::new(trained, 100) }
}

/// A trainer whose adapters and factors have values of their own.
fn trainer(directory: &TempDir, settings: TrainSettings) -> Trainer {
    own_values(Trainer::load(directory.path(), settings).unwrap())
}

fn own_values(trainer: Trainer) -> Trainer {
    changed(trainer, |name, values| {
        let len = values.len();
        if name.contains(".lora_") {
            *values = fill(name, len, 0.0, 0.25);
        } else if name.starts_with("gates.") {
            *values = fill(name, len, 0.5, 0.6);
        }
    })
}

/// A trainer of which the parameters are changed, each by its name.
fn changed(mut trainer: Trainer, change: impl Fn(&str, &mut Vec<f32>)) -> Trainer {
    let mut values = Vec::new();
    for parameter in trainer.learner.parameters().unwrap() {
        let mut of_one = parameter.values.into_owned();
        change(&parameter.name, &mut of_one);
        values.push(of_one);
    }
    trainer.learner.replace(values).unwrap();
    trainer
}

fn examples() -> Vec<Example> {
    let texts = id_texts(&sequences());
    let example = |query: usize, passages: [usize; 2], scores: Option<[f32; 2]>| Example {
        query: texts[query].clone(),
        passages: passages.map(|text| texts[text].clone()).to_vec(),
        scores: scores.map(Vec::from),
    };
    vec![
        example(1, [4, 2], Some([1.0, -0.5])),
        example(2, [5, 1], None),
        example(3, [6, 0], Some([0.25, 0.75])),
    ]
}

/// A loss, and the gradients of all parameters, by name.
type Computed = (LossValue, BTreeMap<String, Vec<f32>>);

/// Those of the examples.
fn gradients(trainer: &Trainer) -> Computed {
    gradients_of_examples(trainer, &examples())
}

fn gradients_of_examples(trainer: &Trainer, examples: &[Example]) -> Computed {
    let texts = trainer.reader.texts(examples).unwrap();
    let (value, gradients) = trainer.learner.gradients(trainer.settings(), &texts).unwrap();
    let parameters = trainer.learner.parameters().unwrap();
    let named = parameters.into_iter().zip(gradients);
    (value, named.filter_map(|(parameter, gradient)| Some((parameter.name, gradient?))).collect())
}

/// The length of the difference from a recorded gradient: products with random signs have that length as their root
/// mean square.
fn distance(name: &str, gradient: &[f32], want: &Sketch) -> f64 {
    let difference = |(k, want): (usize, &f64)| {
        let mut state = fnv1a64(&format!("{name} {k}"));
        let signed = gradient.iter().map(|x| {
            let sign = if splitmix64(&mut state) >> 63 == 0 { 1.0 } else { -1.0 };
            sign * f64::from(*x)
        });
        (signed.sum::<f64>() - want).powi(2)
    };
    (want.products.iter().enumerate().map(difference).sum::<f64>() / want.products.len() as f64).sqrt()
}

/// The forward is within 2e-5 of f64 (tests/tiny_models.rs), in hidden states of length about 7; the loss divides by
/// a temperature of 0.1. A tensor's gradient is off by at most 1e-4 of its length. Where the true gradient vanishes, it
/// is off by at most 1e-4 of a thousandth of the length of all. (The bias of keys moves all scores of a query alike.)
fn compare(what: &str, (value, gradients): &(LossValue, BTreeMap<String, Vec<f32>>), want: &Record) {
    for (got, want) in [
        (value.total, want.total),
        (value.contrastive, want.contrastive),
        (value.distillation.unwrap(), want.distillation),
    ] {
        assert!((got - want).abs() < 1e-4 * want.max(1.0), "{what}: the loss is {got}, not {want}");
    }
    let names: Vec<&String> = gradients.keys().collect();
    assert_eq!(names, want.gradients.keys().collect::<Vec<_>>(), "{what}");
    let all = want.gradients.values().map(|sketch| sketch.length.powi(2)).sum::<f64>().sqrt();
    for (name, want) in &want.gradients {
        let distance = distance(name, &gradients[name], want);
        let limit = 1e-4 * want.length.max(1e-3 * all);
        assert!(distance < limit, "{what}: {name} is off by {distance:e} of {:e}", want.length);
    }
}

#[test]
fn gradients_of_all_weights_are_pytorchs() {
    for (name, want) in fixture::<Records>("gradients.json") {
        let trainer = trainer(&tiny(&name), settings(Trained::Full));
        compare(&format!("{name}, full"), &gradients(&trainer), &want.full);
    }
}

#[test]
fn gradients_of_adapters_are_pefts() {
    for (name, want) in fixture::<Records>("gradients.json") {
        let trainer = trainer(&tiny(&name), settings(Trained::Lora(LORA)));
        compare(&format!("{name}, LoRA"), &gradients(&trainer), &want.lora);
    }
}

#[test]
fn gradients_of_neuron_factors_are_pytorchs() {
    for (name, want) in fixture::<Records>("gradients.json") {
        let trainer = trainer(&tiny(&name), settings(Trained::Slim(Slim { pressure: 0.5 })));
        compare(&format!("{name}, slim"), &gradients(&trainer), &want.gates);
    }
}

/// How a batch is computed changes rounding at most, and the number of threads nothing at all.
fn on_threads(directory: &TempDir, settings: TrainSettings, threads: usize) -> Computed {
    let trainer = trainer(directory, settings);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| gradients(&trainer))
}

/// The loss and the gradients, after neither the number of threads nor what is kept has changed a bit of them.
fn gradients_however_computed(directory: &TempDir, base: &TrainSettings) -> Computed {
    let want = on_threads(directory, base.clone(), 1);
    for (settings, threads) in [
        (base.clone(), 2),
        (base.clone(), 7),
        // More threads than parts: operations are spread instead.
        (base.clone(), 16),
        (TrainSettings { gradient_cache: true, ..base.clone() }, 2),
        (TrainSettings { recompute: true, ..base.clone() }, 2),
        (TrainSettings { recompute: true, gradient_cache: true, ..base.clone() }, 3),
    ] {
        let what = format!("{settings:?}, {threads} threads");
        let got = on_threads(directory, settings, threads);
        assert_eq!(got.0, want.0, "{what}");
        assert!(got.1 == want.1, "{what}");
    }
    want
}

#[test]
fn gradients_do_not_depend_on_how_they_are_computed() {
    let lora = Lora { dropout: 0.3, ..LORA };
    for trained in [Trained::Full, Trained::Lora(lora), Trained::Slim(Slim { pressure: 0.5 })] {
        for name in ["bert", "gemma2-pruned"] {
            let directory = tiny(name);
            let base = settings(trained.clone());
            let want = gradients_however_computed(&directory, &base);
            if matches!(&trained, Trained::Lora(lora) if lora.dropout > 0.0) {
                // Other parts drop other inputs.
                continue;
            }
            let got = on_threads(&directory, TrainSettings { batch_tokens: Some(1 << 20), ..base }, 1);
            for (name, want) in &want.1 {
                let length = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let difference: Vec<f32> = got.1[name].iter().zip(want).map(|(a, b)| a - b).collect();
                assert!(length(&difference) <= 1e-4 * length(want) + 1e-6, "{name}");
            }
        }
    }
}

/// A trainer whose matrices and embeddings need more bits than a bf16 has, as the tiny models' do not.
fn uneven(directory: &TempDir, settings: TrainSettings) -> Trainer {
    changed(trainer(directory, settings), |name, values| {
        let uneven = fill(name, values.len(), 1.0, 0.01);
        values.iter_mut().zip(uneven).for_each(|(x, factor)| *x *= factor);
    })
}

/// Weights in bf16 are those weights, in all that is computed with them. Loss and gradients are, bit for bit, those of
/// the rounded weights in f32.
#[test]
fn weights_in_bf16_are_rounded_and_nothing_else() {
    for name in ["llama", "mistral-pruned", "qwen3"] {
        let directory = tiny(name);
        let halves = TrainSettings { bf16_weights: true, ..settings(Trained::Full) };
        let held = uneven(&directory, halves);
        let whole = uneven(&directory, settings(Trained::Full));
        let unrounded = gradients(&whole);
        let vectors: Vec<String> = whole
            .learner
            .parameters()
            .unwrap()
            .into_iter()
            .filter(|parameter| parameter.shape.len() == 1)
            .map(|parameter| parameter.name)
            .collect();
        let rounded = changed(whole, |name, values| {
            if !vectors.iter().any(|vector| vector == name) {
                values.iter_mut().for_each(|x| *x = half::bf16::from_f32(*x).to_f32());
            }
        });
        let (got, want) = (gradients(&held), gradients(&rounded));
        assert_eq!(got.0, want.0, "{name}");
        assert!(got.1 == want.1, "{name}");
        assert_ne!(got.0, unrounded.0, "{name}: the weights have bits to lose");
    }
}

/// Steps far smaller than the last bit of a bf16 add up: they are taken by the f32 that stands behind it.
#[test]
fn small_steps_on_weights_in_bf16_are_not_lost() {
    let directory = tiny("llama");
    let fallen = |bf16_weights: bool| {
        let settings = TrainSettings {
            bf16_weights,
            optimizer: AdamW { learning_rate: 1e-5, ..AdamW::default() },
            schedule: Schedule { warmup_steps: 0, num_steps: 60, decay: Decay::Constant },
            ..settings(Trained::Full)
        };
        let mut trainer = uneven(&directory, settings);
        let losses = (0..60).map(|_| trainer.step(&[&examples()]).unwrap().loss).collect::<Vec<f64>>();
        losses[0] - losses[59]
    };
    let [halves, whole] = [true, false].map(fallen);
    // 60 steps are 6e-4; the last bit of a weight of 0.25 to 0.5 is 2e-3, that of smaller ones less. Some of the
    // weights have not changed their bf16 yet, others have changed by more than they should.
    assert!(whole > 0.0 && (halves - whole).abs() < 0.5 * whole, "{halves} {whole}");
}

#[derive(Deserialize)]
struct Curve {
    learning_rate: f64,
    losses: Vec<f64>,
}

/// The pairs of generate.py's curves.
fn pairs() -> Vec<Example> {
    let text = |kind: &str, number: usize, least: u64, most: u64| {
        let mut state = fnv1a64(&format!("{kind} {number}"));
        let length = least + splitmix64(&mut state) % (most - least + 1);
        (0..length).map(|_| 5 + (splitmix64(&mut state) % 195) as u32).collect::<Vec<u32>>()
    };
    let queries: Vec<Vec<u32>> = (0..40).map(|number| text("query", number, 3, 10)).collect();
    let passages: Vec<Vec<u32>> = (0..40).map(|number| text("passage", number, 6, 25)).collect();
    let texts = id_texts(&queries).into_iter().zip(id_texts(&passages));
    texts.map(|(query, passage)| Example { query, passages: vec![passage], scores: None }).collect()
}

/// How the adapters of generate.py's curves begin.
fn begun(name: &str, values: &mut Vec<f32>) {
    if name.ends_with("lora_A.weight") {
        *values = fill(name, values.len(), 0.0, 0.1);
    }
}

/// 200 steps beside PyTorch's: the differences of the losses, by model and what is trained.
fn distances_from_pytorchs_curves(precision: Precision) -> Vec<(String, Vec<f64>)> {
    let pairs = pairs();
    let run = |(name, want): (String, Curve)| {
        let (model, trained) = name.split_once(' ').unwrap();
        let trained = if trained == "full" { Trained::Full } else { Trained::Lora(LORA) };
        let directory = tiny(model);
        let settings = TrainSettings {
            loss: Loss { temperature: 0.1, ..Loss::default() },
            optimizer: AdamW {
                learning_rate: want.learning_rate,
                weight_decay: 0.01,
                max_gradient_norm: 1.0,
                ..AdamW::default()
            },
            schedule: Schedule { warmup_steps: 10, num_steps: 200, decay: Decay::Linear },
            precision,
            ..settings(trained)
        };
        let mut trainer = changed(Trainer::load(directory.path(), settings).unwrap(), begun);
        let difference = |(step, want): (usize, &f64)| {
            let batch: Vec<Example> = (0..8).map(|i| pairs[(step * 8 + i) % 40].clone()).collect();
            let report = trainer.step(&[&batch]).unwrap();
            assert_eq!(report.step, step + 1);
            report.loss - want
        };
        let differences = want.losses.iter().enumerate().map(difference).collect();
        (name, differences)
    };
    fixture::<Curve>("curves.json").into_iter().map(run).collect()
}

/// f32 and f64 drift apart by less than the 1e-3 of the largest loss.
#[test]
fn loss_curves_are_pytorchs() {
    for (name, distances) in distances_from_pytorchs_curves(Precision::F32) {
        let largest = distances.iter().fold(0.0, |largest: f64, one| largest.max(one.abs()));
        assert!(largest < 1e-3, "{name}: {largest}");
    }
}

#[test]
fn divergence_is_noticed_and_noise_is_not() {
    let mut watch = Watch::default();
    // A loss that falls from 4 to 1 with waves of 0.5.
    for step in 1..=400 {
        let loss = 1.0 + 3.0 * (-(step as f64) / 50.0).exp() + 0.5 * (step as f64).sin();
        assert!(!watch.diverges(step, loss), "step {step}");
    }
    let first = (401..1000).find(|step| watch.diverges(*step, 20.0)).unwrap();
    assert!(first < 420, "{first}");
}
