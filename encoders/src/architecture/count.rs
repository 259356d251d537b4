//! How many parameters an architecture has, and how much it computes for a token.

use serde::Serialize;

use super::tensors::{TensorGroup, TensorShape};
use super::{Architecture, LayerAttention};

/// Parameters of a transformer, without any head: as the EffiR paper counts them (arXiv 2512.20612, footnote 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Token, position and type embeddings.
    pub embeddings: usize,
    /// The linear layers of the attentions, biases included.
    pub attention: usize,
    /// The linear layers of the MLPs, biases included.
    pub mlp: usize,
    /// All norms.
    pub norms: usize,
}

impl Parameters {
    /// All of them.
    pub fn total(&self) -> usize {
        self.embeddings + self.attention + self.mlp + self.norms
    }
}

/// Floating-point operations for one token of a text; a multiplication and an addition count as two. Norms,
/// activations, the softmax and the look-up of embeddings are left out, as is usual.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flop {
    /// The text's length in tokens.
    pub length: usize,
    /// In the linear layers: twice their parameters without biases. This does not depend on the length.
    pub linear: f64,
    /// In scores and contexts of the attentions: `4 * num_heads * head_dim` for each token that a token sees, on
    /// average over the text.
    pub attention: f64,
}

impl Flop {
    /// Both.
    pub fn total(&self) -> f64 {
        self.linear + self.attention
    }
}

impl Architecture {
    /// Counts the parameters.
    pub fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::default();
        for tensor in self.tensors() {
            let count = match tensor.group {
                TensorGroup::Embeddings => &mut parameters.embeddings,
                TensorGroup::Attention => &mut parameters.attention,
                TensorGroup::Mlp => &mut parameters.mlp,
                TensorGroup::Norm => &mut parameters.norms,
            };
            *count += tensor.elements();
        }
        parameters
    }

    /// What a token of a text of `length` tokens costs.
    pub fn flop_per_token(&self, length: usize) -> Flop {
        let tensors = self.tensors();
        let linear: usize =
            tensors.iter().filter(|tensor| tensor.is_linear()).map(TensorShape::elements).sum();
        let columns = (self.attention.num_heads * self.attention.head_dim) as f64;
        let attentions = self.layers.iter().filter_map(|layer| layer.attention.as_ref());
        let seen: f64 = attentions.map(|attention| self.tokens_seen(attention, length)).sum();
        Flop { length, linear: 2.0 * linear as f64, attention: 4.0 * columns * seen }
    }

    /// How many tokens a token of a text sees, itself included, on average.
    fn tokens_seen(&self, attention: &LayerAttention, length: usize) -> f64 {
        if length == 0 {
            return 0.0;
        }
        let window = attention.window.unwrap_or(length).min(length - 1);
        // Token i sees min(i, window) tokens before it: the sum over i < length.
        let before = window * (window + 1) / 2 + (length - 1 - window) * window;
        let sides = if self.attention.causal { 1 } else { 2 };
        (sides * before) as f64 / length as f64 + 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::known_models;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_seen_are_those_of_the_mask(
            length in 1usize..40,
            window in proptest::option::of(0usize..50),
            causal: bool,
        ) {
            let mut architecture = known_models::find("bert-base").unwrap().architecture();
            architecture.attention.causal = causal;
            let visible = |i: usize, j: usize| window.is_none_or(|w| i.abs_diff(j) <= w) && !(causal && j > i);
            let pairs = (0..length).flat_map(|i| (0..length).map(move |j| (i, j)));
            let count = pairs.filter(|(i, j)| visible(*i, *j)).count();
            let got = architecture.tokens_seen(&LayerAttention { window, rotary: None }, length);
            // Both are below 2^53 before one division.
            prop_assert!((got - count as f64 / length as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn a_token_of_mistral_7b_costs_what_method_and_paper_say() {
        let mistral = known_models::find("mistral-7b").unwrap().architecture();
        // The linear layers alone: "2 * parameters" without embeddings and norms gives 13.96 exactly.
        let linear = |architecture: &Architecture| architecture.flop_per_token(512).linear / 1e9;
        assert_eq!(format!("{:.2}", linear(&mistral)), "13.96");
        let mut remaining = mistral.remaining();
        remaining.drop_last(crate::architecture::SubLayer::Mlp, 16).unwrap();
        assert_eq!(format!("{:.2}", linear(&mistral.keep(&remaining))), "8.32");
        remaining.narrow(0.7).unwrap();
        assert_eq!(format!("{:.1}", linear(&mistral.keep(&remaining))), "6.6");

        // 32 layers, 4 * 4,096 operations for each of (512 + 1) / 2 tokens.
        assert_eq!(mistral.flop_per_token(512).attention, 32.0 * 16_384.0 * 256.5);
        assert_eq!(mistral.flop_per_token(0).attention, 0.0);
    }
}
