//! A first attention that averages what it reads.

use super::modules::Role;
use super::{Architecture, NormKind, SubLayer};

/// Tensors with which the attention of layer 0 gives each token the mean of itself and the tokens before it. Queries
/// of zero weigh all tokens alike; values and output pass the normed embeddings on.
pub(crate) struct AveragingTensors {
    pub(crate) query: String,
    pub(crate) value: String,
    pub(crate) output: String,
    /// What norms the embeddings before it.
    pub(crate) input_norm: String,
    /// What norms the sum after it, where it is the only sub-layer that adds anything.
    pub(crate) final_norm: String,
}

impl Architecture {
    /// `None` unless this is a decoder with values as long as its hidden states and without a norm on its queries.
    /// (With such a norm, zeros would not stay zeros in training.)
    pub(crate) fn averaging_tensors(&self) -> Option<AveragingTensors> {
        let shape = &self.attention;
        let whole_values = shape.num_key_value_heads * shape.head_dim == self.hidden_size
            && shape.num_heads == shape.num_key_value_heads;
        if !(shape.causal && matches!(self.norm, NormKind::Rms { .. }) && whole_values) {
            return None;
        }
        let modules = self.modules();
        let weight = |role| {
            let module = modules.iter().find(|module| module.role == role && module.layer.unwrap_or(0) == 0);
            module.map(|module| format!("{}.weight", module.name))
        };
        let of_attention = SubLayer::Attention;
        let others = [Role::QueryNorm, Role::OutputNorm(of_attention), Role::SumNorm(of_attention)];
        if others.into_iter().any(|role| weight(role).is_some()) {
            return None;
        }
        Some(AveragingTensors {
            query: weight(Role::Query)?,
            value: weight(Role::Value)?,
            output: weight(Role::AttentionOutput)?,
            input_norm: weight(Role::InputNorm(of_attention))?,
            final_norm: weight(Role::FinalNorm)?,
        })
    }
}
