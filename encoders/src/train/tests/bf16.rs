//! Training with products of bf16 beside training in f32.

use super::gpu::compare_with_f32;
use super::*;
use crate::error::Error;
use crate::load_options::LoadOptions;
use crate::weights::quantized::Quantization;

fn bf16(settings: TrainSettings) -> TrainSettings {
    TrainSettings { precision: Precision::Bf16, ..settings }
}

/// The same model in both precisions, with the same adapters and factors.
fn pair(name: &str, settings: TrainSettings, options: &LoadOptions) -> [Trainer; 2] {
    let directory = tiny(name);
    [bf16(settings.clone()), settings]
        .map(|settings| own_values(Trainer::load_with(directory.path(), settings, options).unwrap()))
}

/// The bound is that of the GPU, which rounds the inputs of attention as well.
#[test]
fn gradients_of_rounded_products_are_near_those_of_f32() {
    for name in fixture::<Records>("gradients.json").keys() {
        for trained in [Trained::Full, Trained::Lora(LORA), Trained::Slim(Slim { pressure: 0.5 })] {
            let [rounded, whole] = pair(name, settings(trained.clone()), &LoadOptions::default());
            let what = format!("{name}, {trained:?}");
            compare_with_f32(&what, &rounded, &whole);
            assert_ne!(gradients(&rounded).1, gradients(&whole).1, "{what}: something is rounded");
        }
    }
    let options = LoadOptions { quantize: Some(Quantization::Nf4), ..LoadOptions::default() };
    let [rounded, whole] = pair("mistral-pruned", settings(Trained::Lora(LORA)), &options);
    compare_with_f32("NF4", &rounded, &whole);
}

/// Weights that are held in bf16 are what products would round them to.
#[test]
fn weights_in_bf16_are_multiplied_as_they_are() {
    let directory = tiny("llama");
    let held = TrainSettings { bf16_weights: true, ..settings(Trained::Lora(LORA)) };
    let [held, whole] = [held, settings(Trained::Lora(LORA))]
        .map(|settings| gradients(&own_values(Trainer::load(directory.path(), bf16(settings)).unwrap())));
    assert_eq!(held.0, whole.0);
    assert!(held.1 == whole.1);
}

/// Neither the number of threads nor what is kept changes a bit.
#[test]
fn gradients_of_rounded_products_do_not_depend_on_how_they_are_computed() {
    let lora = Lora { dropout: 0.3, ..LORA };
    for (name, trained) in [("bert", Trained::Full), ("gemma2-pruned", Trained::Lora(lora))] {
        let directory = tiny(name);
        gradients_however_computed(&directory, &bf16(settings(trained)));
    }
}

/// 200 steps. Rounding moves a cosine of these models by up to 6e-3, as for a GPU, and the temperature of 0.1 makes
/// 6e-2 of it. So a step's loss may be as far off. Over all steps the differences nearly cancel out.
#[test]
fn loss_curves_of_rounded_products_are_those_of_f32() {
    for (name, distances) in distances_from_pytorchs_curves(Precision::Bf16) {
        let single = distances.iter().fold(0.0, |largest: f64, one| largest.max(one.abs()));
        let mean = distances.iter().sum::<f64>().abs() / distances.len() as f64;
        assert!(single > 0.0, "{name}: something is rounded");
        assert!(single < 6e-2 && mean < 1e-2, "{name}: {single}, in the mean {mean}");
    }
}

/// A run that goes on ends with the same bits. It does not go on in another precision.
#[test]
fn runs_go_on_in_the_precision_that_they_began_with() {
    let directory = tiny("bert");
    let settings = settings(Trained::Full);
    let load = |settings: &TrainSettings| Trainer::load(directory.path(), settings.clone()).unwrap();
    let steps = |trainer: &mut Trainer, num: usize| -> Vec<f64> {
        (0..num).map(|_| trainer.step(&[&examples()]).unwrap().loss).collect()
    };
    let mut whole = load(&bf16(settings.clone()));
    steps(&mut whole, 2);
    let file = directory.path().join("state");
    whole.save(&file, "notes").unwrap();
    let want = steps(&mut whole, 3);
    let mut second = load(&bf16(settings.clone()));
    assert_eq!(second.resume(&file).unwrap(), "notes");
    assert_eq!(steps(&mut second, 3), want);
    let values = |trainer: &Trainer| -> Vec<Vec<f32>> {
        trainer.learner.parameters().unwrap().into_iter().map(|one| one.values.into_owned()).collect()
    };
    assert!(values(&whole) == values(&second));

    let message = load(&settings).resume(&file).unwrap_err().to_string();
    assert!(message.contains("precision is \"bf16\" there, \"f32\" is given"), "{message}");
}

#[test]
fn nothing_is_trained_in_8_bits() {
    let settings = TrainSettings { precision: Precision::Int8, ..settings(Trained::Full) };
    let error = Trainer::load(tiny("bert").path(), settings).map(drop).unwrap_err();
    assert!(matches!(error, Error::Int8ToTrain), "{error}");
    assert!(error.to_string().contains("choose f32 or bf16"), "{error}");
}
