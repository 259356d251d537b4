//! What a training run is told.

use serde::{Deserialize, Serialize};

use super::lora::Lora;
use super::optimizer::{AdamW, Schedule};
use super::slim::Slim;
use crate::compute::precision::Precision;
use crate::contrastive::loss::Loss;
use crate::error::{Error, Result};

/// What of a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trained {
    /// Low-rank additions to linear layers; the model is frozen.
    Lora(Lora),
    /// Every tensor of the transformer.
    Full,
    /// Factors on the neurons of the MLPs; the model is frozen.
    #[serde(rename = "gates")]
    Slim(Slim),
}

/// What a training run is told, apart from its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// What is trained.
    pub trained: Trained,
    /// What is minimized.
    pub loss: Loss,
    /// How.
    pub optimizer: AdamW,
    /// The learning rate's course.
    pub schedule: Schedule,
    /// Queries are cut to this many tokens; to the model's own limit unless given.
    pub query_max_length: Option<usize>,
    /// Passages likewise.
    pub passage_max_length: Option<usize>,
    /// The most tokens that one thread, or a GPU, computes together. A longer text is computed by itself. Unless given:
    /// 512 on a CPU and 16,384 on a GPU.
    pub batch_tokens: Option<usize>,
    /// Compute vectors first, without a record, then each part of the batch again for its gradient. The method is that
    /// of Gao et al. 2021 ("Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). It takes the
    /// memory of one part, and about a third more time.
    pub gradient_cache: bool,
    /// Keep the input of each layer only, and compute its operations again when it is their turn.
    pub recompute: bool,
    /// Hold the model's matrices in bf16, which takes half the memory; a GPU always does. A CPU multiplies them in f32.
    /// Trained matrices are kept in f32 as well, so that steps smaller than the last bit of a bf16 are not lost. The
    /// rule is that of Micikevicius et al. 2018 ("Mixed Precision Training").
    #[serde(default)]
    pub bf16_weights: bool,
    /// What a CPU multiplies in linear layers and their gradients: f32, or numbers rounded to bf16. Sums, everything
    /// else and what is trained are f32 all the same. Processors with AMX are fast at bf16, and multiply it in
    /// attention as well. Others gain nothing. A GPU always multiplies bf16.
    #[serde(default)]
    pub precision: Precision,
    /// Decides everything that is random.
    pub seed: u64,
}

impl TrainSettings {
    /// The settings for training `trained` for `num_steps`, with the defaults of the paper.
    pub fn new(trained: Trained, num_steps: usize) -> TrainSettings {
        TrainSettings {
            trained,
            loss: Loss::default(),
            optimizer: AdamW::default(),
            schedule: Schedule {
                warmup_steps: 100.min(num_steps / 10),
                num_steps,
                decay: super::Decay::Linear,
            },
            query_max_length: None,
            passage_max_length: None,
            batch_tokens: None,
            gradient_cache: false,
            recompute: false,
            bf16_weights: false,
            precision: Precision::F32,
            seed: 42,
        }
    }

    /// Refuses numbers that nothing can be trained with, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`]; [`Error::Int8ToTrain`].
    pub fn check(&self) -> Result<()> {
        if self.precision == Precision::Int8 {
            return Err(Error::Int8ToTrain);
        }
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        let share = |x: f64| (0.0..1.0).contains(&x);
        let Loss {
            temperature,
            contrastive_weight,
            distillation_weight,
            alignment_weight,
            teacher_temperature,
            student_temperature,
        } = self.loss;
        let AdamW { learning_rate, betas, eps, weight_decay, max_gradient_norm } = self.optimizer;
        let mut rules = vec![
            ("temperature", temperature, positive(temperature), "above 0"),
            ("contrastive_weight", contrastive_weight, not_negative(contrastive_weight), "0 or more"),
            ("distillation_weight", distillation_weight, not_negative(distillation_weight), "0 or more"),
            ("alignment_weight", alignment_weight, not_negative(alignment_weight), "0 or more"),
            ("teacher_temperature", teacher_temperature, positive(teacher_temperature), "above 0"),
            ("student_temperature", student_temperature, positive(student_temperature), "above 0"),
            ("learning_rate", learning_rate, positive(learning_rate), "above 0"),
            ("beta 1", betas.0, share(betas.0), "0 to below 1"),
            ("beta 2", betas.1, share(betas.1), "0 to below 1"),
            ("eps", eps, positive(eps), "above 0"),
            ("weight_decay", weight_decay, not_negative(weight_decay), "0 or more"),
            ("max_gradient_norm", max_gradient_norm, max_gradient_norm > 0.0, "above 0"),
            ("num_steps", self.schedule.num_steps as f64, self.schedule.num_steps > 0, "at least 1"),
        ];
        match &self.trained {
            Trained::Lora(lora) => rules.extend([
                ("rank", lora.rank as f64, lora.rank > 0, "at least 1"),
                ("alpha", lora.alpha, positive(lora.alpha), "above 0"),
                ("dropout", lora.dropout, share(lora.dropout), "0 to below 1"),
            ]),
            Trained::Slim(slim) => {
                rules.push(("pressure", slim.pressure, not_negative(slim.pressure), "0 or more"));
            }
            Trained::Full => {}
        }
        match rules.into_iter().find(|(_, _, holds, _)| !holds) {
            None => Ok(()),
            Some((setting, found, _, expected)) => Err(Error::InvalidSetting { setting, found, expected }),
        }
    }
}
