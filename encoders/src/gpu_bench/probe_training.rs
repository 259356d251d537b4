//! Whether training on a GPU goes where it goes on the CPU.

use secateur_gpu::Gpu;
use serde::Serialize;

use super::random_weights::RandomWeights;
use super::training::{Groups, adapt, lora, memory_of, on_gpu, pooling_of, random_texts};
use crate::architecture::Architecture;
use crate::compute::cpu::{Cpu, Factors};
use crate::compute::cuda::Cuda;
use crate::compute::tape::{Tape, sizes};
use crate::contrastive::engine::Engine;
use crate::device::Device;
use crate::error::Result;
use crate::model::Transformer;
use crate::train::{Learner, Learning, StepReport, TrainSettings};

/// The same steps of training on both.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingProbe {
    /// Of each step, on the GPU and on the CPU.
    pub losses: Vec<[f64; 2]>,
    /// The length of the gradient of each step, on the GPU and on the CPU.
    pub gradients: Vec<[f64; 2]>,
}

impl TrainingProbe {
    /// Whether both went the same way, but for rounding, and the loss fell. Gradients of bf16 are off by about 1% of
    /// their length with four layers; a wrong one soon leads elsewhere.
    pub fn passes(&self) -> bool {
        let near = |[gpu, cpu]: &[f64; 2]| (gpu - cpu).abs() <= 0.05 * cpu.abs();
        let falls = matches!(&self.losses[..], [[first, _], .., [last, _]] if last < first);
        falls && self.losses.iter().chain(&self.gradients).all(near)
    }
}

/// Some steps of LoRA training of a small model, on the GPU and on the CPU.
///
/// # Errors
///
/// The device fails.
pub(super) fn probe_training(gpu: &Gpu, architecture: &Architecture) -> Result<TrainingProbe> {
    const STEPS: usize = 4;
    let mut settings = lora(STEPS);
    // Sharper ones make differences of rounding larger.
    settings.loss.temperature = 0.1;
    settings.optimizer.learning_rate = 1e-3;
    let weights = RandomWeights::new(architecture, 0.08);
    let tape = Tape::forward_only(Cuda::for_training(gpu.clone()));
    let model = Transformer::load(&tape, architecture.clone(), &weights)?;
    let gpu = reports(on_gpu(gpu, &tape, model, &settings)?, &settings)?;
    let tape = Tape::forward_only(Cpu::parallel());
    let model = Transformer::load(&tape, architecture.clone(), &weights)?;
    let cpu = reports(on_cpu(&tape, model, &settings)?, &settings)?;
    let pairs = |of: fn(&StepReport) -> f64| gpu.iter().zip(&cpu).map(|(x, y)| [of(x), of(y)]).collect();
    Ok(TrainingProbe { losses: pairs(|report| report.loss), gradients: pairs(|report| report.gradient_norm) })
}

fn reports(mut learner: impl Learning, settings: &TrainSettings) -> Result<Vec<StepReport>> {
    // Fewer tokens than a tile and more.
    let groups = Groups { groups: 3, passages: 2, passage_tokens: 70, query_tokens: 9 };
    let vocab_size = learner.architecture().vocab_size;
    let step = |_| learner.step(settings, &mut [Ok(random_texts(groups, vocab_size))].into_iter());
    (0..settings.schedule.num_steps).map(step).collect()
}

fn on_cpu(
    tape: &Tape<Cpu>,
    mut model: Transformer<Tape<Cpu>>,
    settings: &TrainSettings,
) -> Result<Learner<Cpu>> {
    let parameters = adapt(tape, &mut model, settings)?;
    let (pooling, memory) = (pooling_of(model.architecture()), memory_of(Device::Cpu, settings));
    Learner::new(
        Engine::on_cpu(model, pooling, [0, 0], memory, (sizes(&parameters), Factors::F32)),
        parameters,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_way_does_not_pass() {
        let probe = |losses: &[[f64; 2]], gradients: &[[f64; 2]]| TrainingProbe {
            losses: losses.to_vec(),
            gradients: gradients.to_vec(),
        };
        assert!(probe(&[[2.0, 2.01], [1.5, 1.49]], &[[0.5, 0.51], [0.4, 0.4]]).passes());
        assert!(!probe(&[[2.0, 2.01], [1.5, 1.3]], &[[0.5, 0.51], [0.4, 0.4]]).passes());
        assert!(!probe(&[[2.0, 2.01], [1.5, 1.49]], &[[0.5, 0.6], [0.4, 0.4]]).passes());
        assert!(!probe(&[[2.0, 2.0], [2.0, 2.0]], &[[0.5, 0.5]]).passes());
        assert!(!probe(&[[2.0, 2.0], [f64::NAN, 1.0]], &[[0.5, 0.5]]).passes());
    }
}
