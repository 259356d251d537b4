//! A first attention that averages what it reads.

use crate::architecture::family::{self, Projections};
use crate::architecture::{Architecture, NormKind};

/// The tensors with which the attention of layer 0 gives each token the mean of itself and those before it: queries of zero weigh
/// all alike, and values and output pass on the normed embeddings.
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
    /// None unless this is a decoder whose queries are not normed (zeros would not stay so in training), with values as long as
    /// its hidden states.
    pub(crate) fn averaging_tensors(&self) -> Option<AveragingTensors> {
        let names = &family::by_name(self.family).names;
        let shape = &self.attention;
        let Projections::Separate { query, value, .. } = names.attention.projections else { return None };
        let whole_values = shape.num_key_value_heads * shape.head_dim == self.hidden_size
            && shape.num_heads == shape.num_key_value_heads;
        let rms = matches!(self.norm, NormKind::Rms { .. });
        if !(shape.causal && rms && whole_values && names.attention.query_norm.is_none()) {
            return None;
        }
        let norms = names.attention.norms_of_layer(0, names.first_attention_normed);
        let prefix = names.layer.replace("{}", "0");
        let of_layer = |name: &str| format!("{prefix}{name}.weight");
        Some(AveragingTensors {
            query: of_layer(query),
            value: of_layer(value),
            output: of_layer(names.attention.output),
            input_norm: of_layer(norms.input.filter(|_| norms.output.is_none() && norms.sum.is_none())?),
            final_norm: format!("{}.weight", names.final_norm?),
        })
    }
}
