//! The backbones that the EffiR paper (arXiv 2512.20612) prunes and compares, and a few encoders. They are known by
//! name, so that they can be inspected without their files.
//!
//! Of each model only facts of its public config.json are kept: sizes, positions, activation.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::architecture::Architecture;

/// A model that is known by name.
#[derive(Deserialize)]
pub struct Backbone {
    name: String,
    repository: String,
    config: Value,
}

static BACKBONES: LazyLock<Vec<Backbone>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("known_models.json")).expect("the bundled file is a list of backbones")
});

/// All of them.
pub fn all() -> &'static [Backbone] {
    &BACKBONES
}

/// The backbone of this name, or of this repository on the Hugging Face hub. Case does not matter.
///
/// ```
/// use secateur_encoders::known_models;
/// assert_eq!(known_models::find("mistral-7b").unwrap().repository(), "mistralai/Mistral-7B-v0.1");
/// assert_eq!(known_models::find("mistralai/Mistral-7B-v0.1").unwrap().name(), "mistral-7b");
/// assert!(known_models::find("mistral").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static Backbone> {
    all().iter().find(|backbone| {
        backbone.name.eq_ignore_ascii_case(name) || backbone.repository.eq_ignore_ascii_case(name)
    })
}

impl Backbone {
    /// Its name here.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are, on the Hugging Face hub.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What it looks like.
    pub fn architecture(&self) -> Architecture {
        Architecture::from_config(Path::new(&self.name), &self.config)
            .expect("the bundled configurations load")
    }

    pub(crate) fn config(&self) -> &Value {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::LanguageModelHead;

    /// Parameters of the published safetensors files, as the hub's pages count them, and how many of them belong to
    /// heads and poolers. Heads and poolers are no part of the transformer here. They are the language-model head, or
    /// BERT's pooler (D^2 + D with hidden size D) and the classifier on it (D + 1).
    #[test]
    fn parameters_are_those_of_the_published_files() {
        let pooler = |d: usize| d * d + d;
        let cases = [
            ("mistral-7b", 7_241_732_096, 32_000 * 4096),
            ("e5-mistral-7b", 7_110_660_096, 0),
            ("llama2-7b", 6_738_415_616, 32_000 * 4096),
            ("llama3-8b", 8_030_261_248, 128_256 * 4096),
            ("llama-3.2-1b", 1_235_814_400, 0),
            ("gemma-2-2b", 2_614_341_888, 0),
            ("qwen1.5-4b", 3_950_369_280, 151_936 * 2560),
            ("qwen2.5-1.5b", 1_543_714_304, 0),
            ("qwen2.5-3b", 3_085_938_688, 0),
            ("qwen2.5-7b", 7_615_616_512, 152_064 * 3584),
            ("qwen3-embedding-0.6b", 595_776_512, 0),
            ("qwen3-embedding-4b", 4_021_774_336, 0),
            ("qwen3-embedding-8b", 7_567_295_488, 0),
            // Its masked-language-model head: a dense layer, a norm, and biases on the tied embeddings.
            ("modernbert-base", 149_655_232, 768 * 768 + 768 + 50_368),
            ("bert-base", 109_482_240, pooler(768)),
            ("all-minilm-l6-v2", 22_713_216, pooler(384)),
            ("xlm-roberta-base", 278_043_648, pooler(768)),
            ("xlm-roberta-large", 559_890_432, pooler(1024)),
            ("bge-reranker-base", 278_044_417, pooler(768) + 769),
            ("bge-reranker-large", 559_891_457, pooler(1024) + 1025),
            ("bge-reranker-v2-m3", 567_755_777, pooler(1024) + 1025),
        ];
        for (name, published, heads) in cases {
            let count = find(name).unwrap().architecture().parameters().total();
            assert_eq!(count, published - heads, "{name}");
        }
        // RepLLaMA is an adapter of LLaMA2-7B.
        assert_eq!(cases.len() + 1, all().len());
        assert_eq!(find("repllama-7b").unwrap().architecture(), find("llama2-7b").unwrap().architecture());
    }

    #[test]
    fn heads_are_tied_or_not_as_published() {
        for (name, want) in [
            ("mistral-7b", LanguageModelHead::Own(131_072_000)),
            ("e5-mistral-7b", LanguageModelHead::None),
            ("llama-3.2-1b", LanguageModelHead::Tied),
            ("gemma-2-2b", LanguageModelHead::Tied),
            ("bert-base", LanguageModelHead::None),
            ("bge-reranker-v2-m3", LanguageModelHead::None),
        ] {
            let backbone = find(name).unwrap();
            let head = LanguageModelHead::read(backbone.config(), &backbone.architecture());
            assert_eq!(head, want, "{name}");
        }
    }
}
