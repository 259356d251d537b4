//! tokenizer_config.json: what a tokenizer does beyond tokenizer.json, which is all that the Rust library reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use crate::error::{Error, Result};
use crate::weights::model_files::ModelFiles;

/// What tokenizer_config.json says of the tokens of a text.
pub(super) struct Config {
    path: PathBuf,
    /// Whether texts begin with `bos`; `None` leaves it to tokenizer.json.
    pub(super) add_bos: Option<bool>,
    /// Whether texts end with `eos`.
    pub(super) add_eos: Option<bool>,
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    /// Whether the beginning of a long text is cut off instead of its end.
    pub(super) truncate_left: bool,
    /// Where Python puts padding: "left" or "right".
    pub(super) padding_side: Option<String>,
    /// Tokens that tokenizer.json may lack, by id.
    pub(super) added_tokens: BTreeMap<u32, AddedToken>,
}

#[derive(Default, Deserialize)]
struct Raw {
    tokenizer_class: Option<String>,
    /// Python code of the model's own, which may do what the class does not.
    auto_map: Option<Value>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    truncation_side: Option<String>,
    padding_side: Option<String>,
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, Value>,
}

/// Classes of transformers that take the special tokens around a text from tokenizer.json and ignore `add_bos_token`
/// and `add_eos_token`. Models were trained so.
const UNHEEDING_CLASSES: [&str; 3] = ["PreTrainedTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast"];

/// A token is spelled by its text, or by an object that has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Full { content: String },
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        match token {
            Token::Plain(content) | Token::Full { content } => content,
        }
    }
}

/// special_tokens_map.json
#[derive(Default, Deserialize)]
struct SpecialTokens {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
}

/// An entry of `added_tokens_decoder`.
#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl From<Added> for AddedToken {
    fn from(added: Added) -> AddedToken {
        AddedToken {
            content: added.content,
            single_word: added.single_word,
            lstrip: added.lstrip,
            rstrip: added.rstrip,
            normalized: added.normalized.unwrap_or(!added.special),
            special: added.special,
        }
    }
}

impl Config {
    pub(super) fn read(files: &ModelFiles) -> Result<Config> {
        let path = files.path("tokenizer_config.json");
        let raw: Raw = files.json("tokenizer_config.json")?.unwrap_or_default();
        let special: SpecialTokens = files.json("special_tokens_map.json")?.unwrap_or_default();
        let added = raw.added_tokens_decoder.into_iter().map(|(id, token)| {
            let failed =
                |source: Box<dyn std::error::Error + Send + Sync>| Error::Json { path: path.clone(), source };
            let id = id.parse().map_err(|source: std::num::ParseIntError| failed(source.into()))?;
            let token = Added::deserialize(token).map_err(|source| failed(source.into()))?;
            Ok((id, token.into()))
        });
        let class = raw.tokenizer_class.as_deref().unwrap_or_default();
        let is_ignored = raw.auto_map.is_none() && UNHEEDING_CLASSES.contains(&class);
        Ok(Config {
            add_bos: raw.add_bos_token.filter(|_| !is_ignored),
            add_eos: raw.add_eos_token.filter(|_| !is_ignored),
            bos: raw.bos_token.or(special.bos_token).map(String::from),
            eos: raw.eos_token.or(special.eos_token).map(String::from),
            truncate_left: raw.truncation_side.as_deref() == Some("left"),
            padding_side: raw.padding_side,
            added_tokens: added.collect::<Result<_>>()?,
            path,
        })
    }

    /// The error for a field with this value.
    pub(super) fn invalid(&self, field: &str, found: String, expected: &str) -> Error {
        Error::InvalidField {
            path: self.path.clone(),
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        }
    }
}
