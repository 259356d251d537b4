//! Which class of transformers a tokenizer has, and what that class does beyond tokenizer.json.
//!
//! Since transformers 5 these classes take three things from tokenizer.json: the vocabulary, the merges and the special
//! tokens around a text. The rest is from their own code and tokenizer_config.json (`tokenization_utils_tokenizers.py`,
//! `convert_to_native_format`). So where the two state one thing, tokenizer_config.json counts.
//!
//! In one thing transformers 4 is followed. Version 5 passes `add_bos_token` and `add_eos_token` over where there is a
//! tokenizer.json. Models were trained with what version 4 made of them: an EOS that is left out ruins their vectors.

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::{NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use super::config::Config;
use super::read::{Model, TokenizerFile};

/// Classes that took the special tokens around a text from tokenizer.json in transformers 4 already.
const OF_TOKENIZER_JSON: [&str; 2] = ["PreTrainedTokenizer", "TokenizersBackend"];

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
            "BertTokenizer" | "DistilBertTokenizer" => Class::Bert,
            "XLMRobertaTokenizer" => Class::XlmRoberta,
            "RobertaTokenizer" => Class::Roberta,
            "GPT2Tokenizer" => Class::Gpt2,
            "LlamaTokenizer" => Class::Llama,
            "GemmaTokenizer" => Class::Gemma,
            "Qwen2Tokenizer" => Class::Qwen2,
            _ => Class::Backend,
        }
    }

    /// As `AutoTokenizer` chooses: what the files name, or what belongs to the family of the model. `json` is the
    /// tokenizer.json, if there is one.
    pub(super) fn of(config: &Config, model: &Value, json: Option<&[u8]>) -> Class {
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
        // Files of Llama 3 name the class of Llama 2, whose words these are not.
        let is_bytes = || json.is_some_and(|json| String::from_utf8_lossy(json).contains("\"ByteLevel\""));
        match (named, family) {
            (Some(_), Some(Class::Backend)) => Class::Backend,
            (Some(Class::Llama), _) if model["model_type"] != "qwen2" && is_bytes() => Class::Backend,
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
        match config.named.get(name) {
            Some(given) => given.as_ref().map(|token| token.content.as_str()),
            None => self.special_tokens().iter().find(|(other, _)| *other == name).map(|(_, token)| *token),
        }
    }

    /// Whether Python gives the model the types of tokens.
    pub(super) fn gives_types(self, config: &Config) -> bool {
        let usual = self == Class::Bert && config.class.as_deref() != Some("DistilBertTokenizer");
        config.gives_types.unwrap_or(usual)
    }

    /// Whether `add_bos_token` and `add_eos_token` count. `is_json` tells whether there is a tokenizer.json.
    pub(super) fn heeds_ends(self, config: &Config, is_json: bool) -> bool {
        match self {
            Class::Bert | Class::XlmRoberta | Class::Roberta => false,
            Class::Gpt2 | Class::Qwen2 => !is_json,
            Class::Llama | Class::Gemma => true,
            Class::Backend => {
                let named = config.class.as_deref();
                config.has_code || !is_json || !named.is_some_and(|class| OF_TOKENIZER_JSON.contains(&class))
            }
        }
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

    /// Changes what tokenizer.json says to what the class makes of it. Says whether the class makes anything: it does
    /// not where the file holds a model of another kind.
    pub(super) fn overrule(self, parts: &mut TokenizerFile, config: &Config) -> bool {
        let unknown = self.token(config, "unk_token").map(str::to_owned);
        match (self, &mut parts.model) {
            (Class::Bert, Model::Whole(ModelWrapper::WordPiece(model))) => {
                "##".clone_into(&mut model.continuing_subword_prefix);
                model.max_input_chars_per_word = 100;
                model.unk_token = unknown.unwrap_or_else(|| model.unk_token.clone());
            }
            (Class::XlmRoberta, Model::Unigram(model)) => {
                (model.unk_id, model.byte_fallback) = (Some(3), false);
            }
            (
                Class::Roberta | Class::Gpt2 | Class::Llama | Class::Gemma | Class::Qwen2,
                Model::Whole(ModelWrapper::BPE(model)),
            ) => {
                let is_of_pieces = matches!(self, Class::Llama | Class::Gemma);
                (model.fuse_unk, model.byte_fallback) = (is_of_pieces, is_of_pieces);
                (model.dropout, model.ignore_merges) = (None, false);
                (model.continuing_subword_prefix, model.end_of_word_suffix) = (None, None);
                model.unk_token = unknown.filter(|_| self == Class::Gemma);
            }
            _ => return false,
        }
        let map = match self {
            Class::XlmRoberta => charsmap(&serde_json::to_value(&parts.normalizer).unwrap_or_default()),
            _ => None,
        };
        parts.normalizer = self.normalizer(config, map.as_deref()).map(part::<NormalizerWrapper>);
        parts.pre_tokenizer = self.pre_tokenizer(config).map(part::<PreTokenizerWrapper>);
        true
    }

    /// The special tokens around a text, where the class decides.
    pub(super) fn around(
        self,
        config: &Config,
        id: impl Fn(&str) -> Option<u32>,
    ) -> Option<PostProcessorWrapper> {
        self.post_processor(config, id).map(part)
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
