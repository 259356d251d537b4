//! AdamW (Loshchilov & Hutter 2019) and the learning rate's course.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::compute::tape::{Gradients, Parameter};

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
pub(crate) struct Moments {
    pub(crate) first: Vec<Vec<f32>>,
    pub(crate) second: Vec<Vec<f32>>,
    /// Steps taken.
    pub(crate) steps: usize,
}

impl Moments {
    pub(crate) fn new(parameters: &[Parameter]) -> Moments {
        let zeros = || parameters.iter().map(|parameter| vec![0.0; parameter.values.len()]).collect();
        Moments { first: zeros(), second: zeros(), steps: 0 }
    }
}

impl AdamW {
    /// Takes a step with `learning_rate`. A parameter without a gradient stays as it is, as in PyTorch.
    pub(crate) fn step(
        &self,
        learning_rate: f64,
        parameters: &mut [Parameter],
        gradients: &Gradients,
        moments: &mut Moments,
    ) {
        moments.steps += 1;
        let (beta1, beta2) = self.betas;
        let steps = moments.steps as i32;
        let size = (learning_rate / (1.0 - beta1.powi(steps))) as f32;
        let correction = (1.0 / (1.0 - beta2.powi(steps)).sqrt()) as f32;
        let (eps, b1, b2) = (self.eps as f32, beta1 as f32, beta2 as f32);
        let (rest1, rest2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        for (((parameter, gradient), first), second) in
            parameters.iter_mut().zip(gradients.iter()).zip(&mut moments.first).zip(&mut moments.second)
        {
            let Some(gradient) = gradient else { continue };
            let kept = if parameter.decays { (1.0 - learning_rate * self.weight_decay) as f32 } else { 1.0 };
            const PART: usize = 1 << 14;
            let parts = parameter.values.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
            let parts = parts.zip(first.par_chunks_mut(PART)).zip(second.par_chunks_mut(PART));
            parts.for_each(|(((values, gradient), first), second)| {
                for (((value, g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                    *m = b1 * *m + rest1 * g;
                    *v = b2 * *v + rest2 * g * g;
                    *value = *value * kept - size * *m / (v.sqrt() * correction + eps);
                }
            });
        }
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
        let mut moments = Moments::new(&parameters);
        let expected =
            [[0.899000002, -2.097999996], [0.934711354, -2.178048571], [0.962076551, -2.239370063]];
        for (gradient, want) in [[0.5, 0.25], [-1.0, 2.0], [0.0, 0.0]].into_iter().zip(expected) {
            let mut gradients = Gradients::new(&sizes(&parameters));
            gradients.of(ParameterRows { parameter: 0, first_row: 0 }, 2).copy_from_slice(&gradient);
            optimizer.step(0.1, &mut parameters, &gradients, &mut moments);
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
