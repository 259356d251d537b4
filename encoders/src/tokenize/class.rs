//! Which class of transformers a tokenizer has, and what that class does beyond tokenizer.json.
//!
//! Since transformers 5 most classes take only the vocabulary from tokenizer.json, and the rest from their own code and
//! tokenizer_config.json (`tokenization_utils_tokenizers.py`, `convert_to_native_format`). So where the two state one
//! thing, tokenizer_config.json counts.

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer as HuggingFace};

use super::config::Config;

/// A class that loads here. `Backend` is any that takes tokenizer.json as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Bert,
    XlmRoberta,
    Roberta,
    Gpt2,
    Llama,
    Gemma,
    Qwen2,
    Backend,
}

impl Class {
    fn of_name(name: &str) -> Class {
        match name {
            "BertTokenizer" => Class::Bert,
            "XLMRobertaTokenizer" => Class::XlmRoberta,
            "RobertaTokenizer" => Class::Roberta,
            "GPT2Tokenizer" => Class::Gpt2,
            "LlamaTokenizer" => Class::Llama,
            "GemmaTokenizer" => Class::Gemma,
            "Qwen2Tokenizer" => Class::Qwen2,
            _ => Class::Backend,
        }
    }

    /// As `AutoTokenizer` chooses: what the files name, or what belongs to the family of the model.
    pub(super) fn of(config: &Config, model: &Value) -> Class {
        if config.has_code {
            return Class::Backend;
        }
        let named = config.class.clone().or_else(|| model["tokenizer_class"].as_str().map(str::to_owned));
        let named = named.map(|name| Class::of_name(name.trim_end_matches("Fast")));
        let family = match model["model_type"].as_str().unwrap_or_default() {
            "bert" => Some(Class::Bert),
            "xlm-roberta" => Some(Class::XlmRoberta),
            "qwen2" | "qwen3" => Some(Class::Qwen2),
            "gemma2" => Some(Class::Gemma),
            "modernbert" | "mistral" => Some(Class::Backend),
            _ => None,
        };
        match (named, family) {
            (Some(_), Some(Class::Backend)) => Class::Backend,
            // Public files of this family name other classes than they mean.
            (Some(_), Some(family)) if model["model_type"] == "qwen2" => family,
            (Some(named), _) => named,
            (None, Some(family)) => family,
            (None, None) => Class::Backend,
        }
    }

    /// The special tokens that have names, where no file names them.
    pub(super) fn special_tokens(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Class::Bert => &[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ],
            Class::XlmRoberta | Class::Roberta => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("sep_token", "</s>"),
                ("cls_token", "<s>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Gpt2 => &[
                ("unk_token", "<|endoftext|>"),
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
            ],
            Class::Qwen2 => &[
                ("unk_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
            Class::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Class::Gemma => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Backend => &[],
        }
    }

    /// A special token of this name.
    pub(super) fn token<'c>(self, config: &'c Config, name: &str) -> Option<&'c str> {
        let usual = self.special_tokens().iter().find(|(other, _)| *other == name).map(|(_, token)| *token);
        config.named(name).or(usual)
    }

    /// Whether Python gives the model the types of tokens, unless tokenizer_config.json says so.
    pub(super) fn gives_types(self) -> bool {
        self == Class::Bert
    }

    /// What a text becomes before it is cut into words; `charsmap` is that of a sentencepiece model, in Base64.
    pub(super) fn normalizer(self, config: &Config, charsmap: Option<&str>) -> Option<Value> {
        match self {
            Class::Bert => Some(json!({
                "type": "BertNormalizer",
                "clean_text": true,
                "handle_chinese_chars": config.split_chinese.unwrap_or(true),
                "strip_accents": config.strip_accents,
                "lowercase": config.lower_case.unwrap_or(true),
            })),
            Class::XlmRoberta => {
                charsmap.map(|map| json!({"type": "Precompiled", "precompiled_charsmap": map}))
            }
            Class::Qwen2 => Some(json!({"type": "NFC"})),
            Class::Gemma => Some(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})),
            Class::Roberta | Class::Gpt2 | Class::Llama | Class::Backend => None,
        }
    }

    /// How it is cut into words.
    pub(super) fn pre_tokenizer(self, config: &Config) -> Option<Value> {
        let bytes = |space: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": regex});
        let space = config.prefix_space;
        match self {
            Class::Bert => Some(json!({"type": "BertPreTokenizer"})),
            Class::XlmRoberta => {
                let scheme = if space.unwrap_or(true) { "always" } else { "never" };
                Some(json!({"type": "Sequence", "pretokenizers": [
                    {"type": "WhitespaceSplit"},
                    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true},
                ]}))
            }
            Class::Llama => {
                let scheme = match (space.unwrap_or(true), config.legacy.unwrap_or(false)) {
                    (false, _) => "never",
                    (true, true) => "always",
                    (true, false) => "first",
                };
                Some(
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false}),
                )
            }
            Class::Gemma => Some(
                json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}),
            ),
            Class::Qwen2 => Some(json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": QWEN2_WORDS}, "behavior": "Isolated", "invert": false},
                bytes(space.unwrap_or(false), false),
            ]})),
            Class::Roberta | Class::Gpt2 => Some(bytes(space.unwrap_or(false), true)),
            Class::Backend => None,
        }
    }

    /// The special tokens around a text, where the class and not tokenizer.json decides.
    pub(super) fn post_processor(self, config: &Config, id: impl Fn(&str) -> Option<u32>) -> Option<Value> {
        let known = |name: &str| {
            let token = self.token(config, name)?;
            Some((token.to_owned(), id(token)?))
        };
        let special = |token: &str, kind: u32| json!({"SpecialToken": {"id": token, "type_id": kind}});
        let text = |letter: &str, kind: u32| json!({"Sequence": {"id": letter, "type_id": kind}});
        let template = |single: Vec<Value>, pair: Vec<Value>, tokens: &[&(String, u32)]| {
            let tokens: serde_json::Map<String, Value> = tokens
                .iter()
                .map(|(token, id)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})))
                .collect();
            json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
        };
        match self {
            Class::Bert => {
                let (cls, sep) = (known("cls_token")?, known("sep_token")?);
                let single = vec![special(&cls.0, 0), text("A", 0), special(&sep.0, 0)];
                let pair = [single.clone(), vec![text("B", 1), special(&sep.0, 1)]].concat();
                Some(template(single, pair, &[&cls, &sep]))
            }
            Class::XlmRoberta => {
                let (bos, eos) = (known("bos_token")?, known("eos_token")?);
                let single = vec![special(&bos.0, 0), text("A", 0), special(&eos.0, 0)];
                let pair =
                    [single.clone(), vec![special(&eos.0, 0), text("B", 0), special(&eos.0, 0)]].concat();
                Some(template(single, pair, &[&bos, &eos]))
            }
            Class::Roberta => {
                let (cls, sep) = (known("cls_token")?, known("sep_token")?);
                Some(json!({"type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": true,
                    "add_prefix_space": config.prefix_space.unwrap_or(false)}))
            }
            Class::Gpt2 | Class::Llama | Class::Gemma | Class::Qwen2 | Class::Backend => None,
        }
    }

    /// Changes what tokenizer.json says where tokenizer_config.json, or the class, says otherwise.
    pub(super) fn overrule(self, inner: &mut HuggingFace, config: &Config) -> tokenizers::Result<()> {
        let is_its_model = matches!(
            (self, inner.get_model()),
            (Class::Bert, ModelWrapper::WordPiece(_))
                | (Class::XlmRoberta, ModelWrapper::Unigram(_))
                | (Class::Roberta | Class::Gpt2 | Class::Llama | Class::Qwen2, ModelWrapper::BPE(_))
        );
        // Files of Llama 3 name the class of Llama 2, whose words these are not.
        let is_bytes =
            serde_json::to_string(&inner.get_pre_tokenizer()).is_ok_and(|text| text.contains("ByteLevel"));
        if !is_its_model || self == Class::Llama && is_bytes {
            return Ok(());
        }
        // Of these tokenizer.json holds unless something is said of the space before a text.
        let holds = matches!(self, Class::Llama | Class::Qwen2) && config.prefix_space.is_none();
        if holds {
            return Ok(());
        }
        let map = match self {
            Class::XlmRoberta => charsmap(&serde_json::to_value(inner.get_normalizer()).unwrap_or_default()),
            _ => None,
        };
        let normalizer = self.normalizer(config, map.as_deref());
        inner.with_normalizer(normalizer.map(part::<NormalizerWrapper>))?;
        if let Some(words) = self.pre_tokenizer(config) {
            inner.with_pre_tokenizer(Some(part::<PreTokenizerWrapper>(words)));
        }
        if let Some(around) = self.post_processor(config, |token| inner.token_to_id(token)) {
            inner.with_post_processor(Some(part::<PostProcessorWrapper>(around)));
        }
        Ok(())
    }
}

fn part<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a part of a tokenizer is spelled as the library spells it")
}

/// The map of characters of a normalizer, in Base64.
fn charsmap(normalizer: &Value) -> Option<String> {
    if let Some(list) = normalizer["normalizers"].as_array() {
        return list.iter().find_map(charsmap);
    }
    normalizer["precompiled_charsmap"].as_str().map(str::to_owned)
}

/// PRETOKENIZE_REGEX of `tokenization_qwen2.py`.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
