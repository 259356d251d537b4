//! The head that predicts tokens, which an encoder does not use.

use serde::Serialize;
use serde_json::Value;

use super::Architecture;

/// The head that predicts tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageModelHead {
    /// The model has no head.
    None,
    /// The head is the embedding table.
    Tied,
    /// The head is a matrix of its own, with this many parameters.
    Own(usize),
}

impl LanguageModelHead {
    /// The head that a config.json speaks of. Masked-language-model heads of bidirectional models do not count.
    pub(crate) fn read(config: &Value, architecture: &Architecture) -> LanguageModelHead {
        let is_language_model = class(config).is_none_or(|class| class.ends_with("ForCausalLM"));
        if !(architecture.attention.causal && is_language_model) {
            return LanguageModelHead::None;
        }
        // If the key is absent, transformers ties the head of Gemma, and of no other of these families.
        let tied = config["tie_word_embeddings"].as_bool().unwrap_or(architecture.family == "gemma2");
        if tied {
            LanguageModelHead::Tied
        } else {
            LanguageModelHead::Own(architecture.vocab_size * architecture.hidden_size)
        }
    }

    /// Its parameters beside the transformer's.
    pub fn parameters(&self) -> usize {
        match self {
            LanguageModelHead::None | LanguageModelHead::Tied => 0,
            LanguageModelHead::Own(parameters) => *parameters,
        }
    }
}

/// The class that a config.json names, such as `MistralForCausalLM`.
pub(crate) fn class(config: &Value) -> Option<&str> {
    config["architectures"][0].as_str()
}
