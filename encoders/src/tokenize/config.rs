//! tokenizer_config.json: what a tokenizer does beyond tokenizer.json, which is all that the Rust library reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::keys::KEYS;
use crate::error::{Error, Result};
use crate::json::of_value;
use crate::keys::check;
use crate::weights::model_files::ModelFiles;

/// What tokenizer_config.json says of the tokens of a text.
pub(super) struct Config {
    path: PathBuf,
    /// `tokenizer_class`, without a "Fast" at its end.
    pub(super) class: Option<String>,
    /// Whether the model has Python code of its own for its tokenizer.
    pub(super) has_code: bool,
    /// Whether texts begin with `bos`; `None` leaves it to tokenizer.json.
    pub(super) add_bos: Option<bool>,
    /// Whether texts end with `eos`.
    pub(super) add_eos: Option<bool>,
    /// The special tokens by their names, such as `bos_token`; `None` where there is to be none.
    pub(super) named: BTreeMap<&'static str, Option<AddedToken>>,
    /// Other special tokens.
    pub(super) extra: Vec<AddedToken>,
    /// Whether the beginning of a long text is cut off instead of its end; `None` leaves it to tokenizer.json.
    pub(super) truncate_left: Option<bool>,
    /// Where Python puts padding: "left" or "right".
    pub(super) padding_side: Option<String>,
    /// All added tokens by id, where the file lists them.
    pub(super) added_tokens: Option<BTreeMap<u32, AddedToken>>,
    /// Those of added_tokens.json, where it does not.
    pub(super) old_added_tokens: BTreeMap<u32, AddedToken>,
    pub(super) lower_case: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) split_chinese: Option<bool>,
    pub(super) prefix_space: Option<bool>,
    pub(super) legacy: Option<bool>,
    /// Whether special tokens that a text spells out are taken for text.
    pub(super) split_special: bool,
    /// Whether Python gives the model the types of tokens.
    pub(super) gives_types: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Raw {
    tokenizer_class: Option<String>,
    /// Python code of the model's own, which may do what the class does not.
    auto_map: Option<Value>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    truncation_side: Option<String>,
    padding_side: Option<String>,
    added_tokens_decoder: Option<BTreeMap<String, Value>>,
    additional_special_tokens: Option<Value>,
    extra_special_tokens: Option<Value>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    add_prefix_space: Option<bool>,
    legacy: Option<bool>,
    split_special_tokens: Option<bool>,
    model_input_names: Option<Vec<String>>,
}

/// The special tokens that have names.
pub(super) const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token is spelled by its text, or by an object that has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Full(Added),
}

impl From<Token> for AddedToken {
    fn from(token: Token) -> AddedToken {
        match token {
            Token::Plain(content) => AddedToken::from(content, true),
            Token::Full(added) => AddedToken { special: true, ..added.into() },
        }
    }
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

const FILE: &str = "tokenizer_config.json";
const MAP_FILE: &str = "special_tokens_map.json";

impl Config {
    pub(super) fn read(files: &ModelFiles) -> Result<Config> {
        let path = files.path(FILE);
        let object: Map<String, Value> = files.json(FILE)?.unwrap_or_default();
        // Tokens that have names of the model's own are special ones.
        let is_own = |key: &str, value: &Value| {
            key.ends_with("_token")
                && KEYS.find(key).is_none()
                && (value.is_string() || value["content"].is_string())
        };
        let known: Map<String, Value> = object
            .iter()
            .filter(|(key, value)| !is_own(key, value))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        check(&path, "", &known, &[&KEYS])?;
        // special_tokens_map.json and added_tokens.json are of old: they count where the added tokens are not listed.
        let is_listed = object.get("added_tokens_decoder").is_some_and(|list| !list.is_null());
        let map_path = files.path(MAP_FILE);
        let map: Map<String, Value> = match is_listed {
            true => Map::new(),
            false => files.json(MAP_FILE)?.unwrap_or_default(),
        };
        let mut named = BTreeMap::new();
        for name in NAMES {
            let given = [(&map_path, &map), (&path, &object)];
            let found = given.into_iter().find_map(|(path, object)| Some((path, object.get(name)?)));
            if let Some((path, value)) = found {
                let given = (!value.is_null()).then(|| token(path, name, value)).transpose()?;
                named.insert(name, given);
            }
        }
        let own = object.iter().filter(|(key, value)| is_own(key, value));
        let mut extra = own.map(|(key, value)| token(&path, key, value)).collect::<Result<Vec<_>>>()?;
        let raw: Raw = of_value(&path, Value::Object(object.clone()))?;
        // The new name of the list comes before the old one. The map adds to the new one; its old one counts if nothing
        // else does.
        let (new, old) = ("extra_special_tokens", "additional_special_tokens");
        let own = (&path, new, values(raw.extra_special_tokens.as_ref()));
        let own = match own.2.is_empty() {
            true => (&path, old, values(raw.additional_special_tokens.as_ref())),
            false => own,
        };
        let mut lists = vec![own, (&map_path, new, values(map.get(new)))];
        if lists.iter().all(|(.., values)| values.is_empty()) {
            lists.push((&map_path, old, values(map.get(old))));
        }
        for (path, name, values) in lists {
            for value in values {
                extra.push(token(path, name, value)?);
            }
        }
        let mut old_added_tokens = BTreeMap::new();
        if !is_listed {
            let by_token: BTreeMap<String, u32> = files.json("added_tokens.json")?.unwrap_or_default();
            for (content, id) in by_token {
                let mut special = named.values().flatten().chain(&extra);
                let is_special = special.any(|token| token.content == content);
                old_added_tokens.insert(id, AddedToken::from(content, is_special));
            }
        }
        let added = raw.added_tokens_decoder.map(|list| {
            list.into_iter().map(|(id, token)| {
                let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Json {
                    path: path.clone(),
                    source,
                };
                let id = id.parse().map_err(|source: std::num::ParseIntError| failed(source.into()))?;
                let token: Added = of_value(&path, token)?;
                Ok((id, token.into()))
            })
        });
        let class = raw.tokenizer_class.map(|class| class.trim_end_matches("Fast").to_owned());
        // Code for other classes, such as those of images, is no code for this one.
        let has_code = raw.auto_map.is_some_and(|map| !map.is_object() || !map["AutoTokenizer"].is_null());
        Ok(Config {
            add_bos: raw.add_bos_token,
            add_eos: raw.add_eos_token,
            class,
            has_code,
            named,
            extra,
            truncate_left: raw.truncation_side.map(|side| side == "left"),
            padding_side: raw.padding_side,
            added_tokens: added.map(Iterator::collect::<Result<_>>).transpose()?,
            old_added_tokens,
            lower_case: raw.do_lower_case,
            strip_accents: raw.strip_accents,
            split_chinese: raw.tokenize_chinese_chars,
            prefix_space: raw.add_prefix_space,
            legacy: raw.legacy,
            split_special: raw.split_special_tokens.unwrap_or(false),
            gives_types: raw.model_input_names.map(|names| names.iter().any(|name| name == "token_type_ids")),
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

/// The tokens of a list, or of an object that names them.
fn values(list: Option<&Value>) -> Vec<&Value> {
    match list {
        Some(Value::Array(values)) => values.iter().collect(),
        Some(Value::Object(by_name)) => by_name.values().collect(),
        _ => Vec::new(),
    }
}

fn token(path: &std::path::Path, name: &str, value: &Value) -> Result<AddedToken> {
    let token: Token = serde_json::from_value(value.clone()).map_err(|_| Error::InvalidField {
        path: path.to_owned(),
        field: name.to_owned(),
        found: value.to_string(),
        expected: "a token, or an object with its content".to_owned(),
    })?;
    Ok(token.into())
}
