//! How fast steps of LoRA training are, and what memory they take.

use std::time::Instant;

use secateur_gpu::Gpu;
use serde::Serialize;

use super::random_weights::RandomWeights;
use crate::architecture::Architecture;
use crate::compute::backward::Backward;
use crate::compute::cuda::Cuda;
use crate::compute::tape::{Parameter, Tape, sizes};
use crate::contrastive::engine::{Engine, MemoryUse};
use crate::contrastive::loss::Target;
use crate::device::Device;
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;
use crate::train::{AdamW, Decay, Learner, Learning, Lora, Schedule, Texts, TrainSettings, Trained};

/// What a step reads: groups of a query and passages, the first of which answers it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Groups {
    /// Queries.
    pub groups: usize,
    /// Of each query.
    pub passages: usize,
    /// Of a passage.
    pub passage_tokens: usize,
    /// Of a query.
    pub query_tokens: usize,
}

/// What a step took.
#[derive(Clone, Debug, Serialize)]
pub struct StepSpeed {
    /// Steps that were timed, after one that was not.
    pub steps: usize,
    /// T of a step.
    pub tokens: usize,
    /// Numbers that are trained.
    pub trained: usize,
    /// Of a step, the median.
    pub seconds: f64,
    /// T by that.
    pub tokens_per_second: f64,
    /// The loss of the first step and of the last one, on the same texts.
    pub losses: [f64; 2],
    /// Gigabytes (10^9 bytes) of the device before anything was loaded, with the weights, and after the last step.
    pub used_gb: [f64; 3],
}

/// Takes a step of LoRA training (rank 32, all linear layers, recomputation) that is not timed, and `num_steps` that
/// are, on random texts.
///
/// # Errors
///
/// The device fails, or has no memory.
pub fn train(gpu: &Gpu, architecture: Architecture, groups: Groups, num_steps: usize) -> Result<StepSpeed> {
    let used = || -> Result<f64> {
        let memory = gpu.memory()?;
        Ok((memory.total - memory.free) as f64 / 1e9)
    };
    let before = used()?;
    let settings = lora(num_steps + 1);
    let tape = Tape::forward_only(Cuda::for_training(gpu.clone()));
    let weights = RandomWeights::new(&architecture, 0.03);
    let model = Transformer::load(&tape, architecture.clone(), &weights)?;
    drop(weights);
    let loaded = used()?;
    let mut learner = on_gpu(gpu, &tape, model, &settings)?;
    let (mut losses, mut seconds, mut tokens) = (Vec::new(), Vec::new(), 0);
    for _ in 0..=num_steps {
        let start = Instant::now();
        let texts = random_texts(groups, architecture.vocab_size);
        let report = learner.step(&settings, &mut [Ok(texts)].into_iter())?;
        gpu.synchronize()?;
        seconds.push(start.elapsed().as_secs_f64());
        losses.push(report.loss);
        tokens = report.num_tokens;
    }
    let mut timed = seconds.split_off(1);
    timed.sort_by(f64::total_cmp);
    let median = timed.get(timed.len() / 2).copied().unwrap_or(f64::NAN);
    Ok(StepSpeed {
        steps: timed.len(),
        tokens,
        trained: learner.num_trained(),
        seconds: median,
        tokens_per_second: tokens as f64 / median,
        losses: [losses[0], losses[losses.len() - 1]],
        used_gb: [before, loaded, used()?],
    })
}

/// Settings of LoRA training, all linear layers, without chance.
pub(super) fn lora(num_steps: usize) -> TrainSettings {
    let trained = Trained::Lora(Lora { dropout: 0.0, ..Lora::default() });
    let schedule = Schedule { warmup_steps: 0, num_steps, decay: Decay::Constant };
    let optimizer = AdamW { learning_rate: 2e-4, ..AdamW::default() };
    TrainSettings { optimizer, schedule, recompute: true, ..TrainSettings::new(trained, num_steps) }
}

pub(super) fn pooling_of(architecture: &Architecture) -> Pooling {
    if architecture.attention.causal { Pooling::LastToken } else { Pooling::Mean }
}

pub(super) fn memory_of(device: Device, settings: &TrainSettings) -> MemoryUse {
    MemoryUse { batch_tokens: device.batch_tokens(), gradient_cache: false, recompute: settings.recompute }
}

/// Gives a model its adapters, and says what is trained.
pub(super) fn adapt<B: Backward>(
    tape: &Tape<B>,
    model: &mut Transformer<Tape<B>>,
    settings: &TrainSettings,
) -> Result<Vec<Parameter>> {
    let Trained::Lora(lora) = &settings.trained else { panic!("the settings are those of LoRA training") };
    let parameters = lora.parameters(model.architecture(), settings.seed)?;
    model.train_adapters(tape.backend(), &parameters, lora.shape())?;
    Ok(parameters)
}

pub(super) fn on_gpu(
    gpu: &Gpu,
    tape: &Tape<Cuda>,
    mut model: Transformer<Tape<Cuda>>,
    settings: &TrainSettings,
) -> Result<Learner<Cuda>> {
    let parameters = adapt(tape, &mut model, settings)?;
    let (pooling, memory) = (pooling_of(model.architecture()), memory_of(Device::Cuda(0), settings));
    Learner::new(Engine::on_gpu(model, gpu.clone(), pooling, [0, 0], memory, sizes(&parameters)), parameters)
}

/// The same texts at each call.
pub(super) fn random_texts(groups: Groups, vocab_size: usize) -> Texts {
    let Groups { groups, passages, passage_tokens, query_tokens } = groups;
    let text = |number: usize, length: usize| -> Vec<u32> {
        let mut random = crate::random::named(number as u64, "texts");
        (0..length).map(|_| 3 + (random.bits() % (vocab_size as u64 - 3)) as u32).collect()
    };
    let queries = (0..groups).map(|number| text(number, query_tokens));
    let all = (0..groups * passages).map(|number| text(groups + number, passage_tokens));
    let target = |query: usize| Target { positive: query * passages, ..Target::default() };
    Texts {
        tokens: queries.chain(all).collect(),
        num_queries: groups,
        targets: (0..groups).map(target).collect(),
        teacher: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real steps are timed: of a small shape on the emulator, whose loss falls.
    #[test]
    fn steps_are_timed() {
        let config = serde_json::json!({"model_type": "mistral", "vocab_size": 50, "hidden_size": 16,
            "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "sliding_window": null});
        let architecture = super::super::read("small", &config).unwrap();
        let groups = Groups { groups: 2, passages: 2, passage_tokens: 9, query_tokens: 4 };
        let speed = train(&Gpu::emulated(), architecture, groups, 3).unwrap();
        assert_eq!((speed.steps, speed.tokens), (3, 2 * 4 + 4 * 9));
        assert!(speed.seconds > 0.0 && speed.tokens_per_second > 0.0 && speed.trained > 0);
        let ([first, last], [before, loaded, after]) = (speed.losses, speed.used_gb);
        assert!(last < first, "{speed:?}");
        assert!(before < loaded && loaded < after, "{speed:?}");
    }
}
