//! AdamW (Loshchilov & Hutter 2019) and the learning rate's course.

use serde::{Deserialize, Serialize};

use crate::compute::numbers::{Numbers, OptimizerStep};
use crate::compute::tape::{Gradients, Parameter};
use crate::error::Result;

/// What AdamW is told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How fast the mean of the gradients and that of their squares forget.
    pub betas: (f64, f64),
    /// Added to the root of the second.
    pub eps: f64,
    /// The share that a matrix loses at each step, times the learning rate. Norms and biases do not decay.
    pub weight_decay: f64,
    /// Gradients that are longer, all parameters together, are scaled down to this length.
    pub max_gradient_norm: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW {
            learning_rate: 1e-4,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 1.0,
        }
    }
}

/// How the learning rate falls after the warm-up. During the warm-up it rises linearly from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Decay {
    /// The learning rate stays constant.
    Constant,
    /// It falls in a line, to 0 after the last step.
    Linear,
    /// It falls in half a cosine wave, to 0 after the last step.
    Cosine,
}

/// The learning rate's course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Steps of the warm-up.
    pub warmup_steps: usize,
    /// All steps.
    pub num_steps: usize,
    /// After the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// What the learning rate is multiplied with at a step, counted from 0. As `get_linear_schedule_with_warmup` and
    /// `get_cosine_schedule_with_warmup` of transformers.
    ///
    /// ```
    /// use secateur_encoders::train::{Decay, Schedule};
    /// let schedule = Schedule { warmup_steps: 2, num_steps: 6, decay: Decay::Linear };
    /// assert_eq!([0, 1, 2, 4].map(|step| schedule.factor(step)), [0.0, 0.5, 1.0, 0.5]);
    /// ```
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let span = self.num_steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((step - self.warmup_steps) as f64 / span as f64).min(1.0);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        }
    }
}

/// The running means of gradients and of their squares, for each parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Moments<N = Vec<f32>> {
    pub(crate) first: Vec<N>,
    pub(crate) second: Vec<N>,
    /// Steps taken.
    pub(crate) steps: usize,
}

impl<N: Numbers> Moments<N> {
    pub(crate) fn new(memory: &N::Memory, parameters: &[Parameter<N>]) -> Result<Moments<N>> {
        let zeros = || -> Result<Vec<N>> {
            parameters.iter().map(|parameter| N::zeros(memory, parameter.values.len())).collect()
        };
        Ok(Moments { first: zeros()?, second: zeros()?, steps: 0 })
    }
}

impl AdamW {
    /// Takes a step with `learning_rate` on the gradients times `scale`. A parameter without a gradient stays as it is,
    /// as in PyTorch.
    pub(crate) fn step<N: Numbers>(
        &self,
        (learning_rate, scale): (f64, f32),
        parameters: &mut [Parameter<N>],
        gradients: &Gradients<N>,
        moments: &mut Moments<N>,
    ) -> Result<()> {
        moments.steps += 1;
        for (((parameter, gradient), first), second) in
            parameters.iter_mut().zip(gradients.iter()).zip(&mut moments.first).zip(&mut moments.second)
        {
            let Some(gradient) = gradient else { continue };
            let step = OptimizerStep {
                learning_rate,
                betas: self.betas,
                eps: self.eps,
                decay: if parameter.decays { self.weight_decay } else { 0.0 },
                scale,
                number: moments.steps,
            };
            parameter.values.step(gradient, [first, second], &step)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::tape::{ParameterRows, sizes};

    /// torch.optim.AdamW (lr 0.1, weight_decay 0.01) on w = (1, -2) with the gradients (0.5, 0.25), (-1, 2), (0, 0).
    /// After each step the values are those of PyTorch 2.15 in f64.
    #[test]
    fn steps_are_those_of_pytorch() {
        let mut parameters =
            [Parameter { name: "w".to_owned(), shape: vec![2, 1], values: vec![1.0, -2.0], decays: true }];
        let optimizer = AdamW { learning_rate: 0.1, weight_decay: 0.01, ..AdamW::default() };
        let mut moments = Moments::new(&(), &parameters).unwrap();
        let expected =
            [[0.899000002, -2.097999996], [0.934711354, -2.178048571], [0.962076551, -2.239370063]];
        for (gradient, want) in [[0.5, 0.25], [-1.0, 2.0], [0.0, 0.0]].into_iter().zip(expected) {
            let mut gradients = Gradients::new((), &sizes(&parameters));
            gradients.add_host(ParameterRows { parameter: 0, first_row: 0 }, gradient.to_vec()).unwrap();
            optimizer.step((0.1, 1.0), &mut parameters, &gradients, &mut moments).unwrap();
            for (got, want) in parameters[0].values.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 1e-6, "{got}, not {want}");
            }
        }
    }

    #[test]
    fn schedules_begin_and_end_where_they_should() {
        for (decay, middle, end) in
            [(Decay::Constant, 1.0, 1.0), (Decay::Linear, 0.5, 0.0), (Decay::Cosine, 0.5, 0.0)]
        {
            let schedule = Schedule { warmup_steps: 10, num_steps: 110, decay };
            let got = [0, 5, 10, 60, 110, 500].map(|step| schedule.factor(step));
            let want = [0.0, 0.5, 1.0, middle, end, end];
            assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{decay:?}: {got:?}");
        }
    }
}
