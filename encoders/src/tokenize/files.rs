//! A tokenizer as files that say all of it, whatever class of transformers reads them.

use serde_json::{Map, Value, json};

use super::Tokenizer;
use super::config::NAMES;
use crate::error::Result;

/// Takes tokenizer.json as it is.
const CLASS: &str = "PreTrainedTokenizerFast";

/// Keys of tokenizer_config.json that are in tokenizer.json then.
const IN_FORCE: [&str; 9] = [
    "auto_map",
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "legacy",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "sp_model_kwargs",
];

impl Tokenizer {
    /// tokenizer.json and tokenizer_config.json of a tokenizer that gives the same ids without a class of its own. The
    /// first is a text. `config` is the tokenizer_config.json that it was loaded with.
    pub(crate) fn files(&self, mut config: Map<String, Value>) -> Result<[(&'static str, Value); 2]> {
        let text = self.inner.to_string(false).map_err(|source| self.failed(source))?;
        let mut file: Value = serde_json::from_str(&text).expect("the library writes JSON");
        file["truncation"] = Value::Null;
        file["padding"] = Value::Null;
        file["post_processor"] = self.template();
        for key in IN_FORCE {
            config.shift_remove(key);
        }
        for name in NAMES {
            let token = self.class.token(&self.config, name);
            if let Some(token) = token.filter(|token| self.inner.token_to_id(token).is_some()) {
                config.entry(name).or_insert(token.into());
            }
        }
        config.insert("tokenizer_class".to_owned(), CLASS.into());
        Ok([("tokenizer.json", file.to_string().into()), ("tokenizer_config.json", config.into())])
    }

    /// What puts the special tokens around a text.
    fn template(&self) -> Value {
        let ids = [&self.affixes.before, &self.affixes.after];
        if ids.iter().all(|ids| ids.is_empty()) {
            return Value::Null;
        }
        let [before, after] = self.around();
        let special = |tokens: &[String]| -> Vec<Value> {
            tokens.iter().map(|token| json!({"SpecialToken": {"id": token, "type_id": 0}})).collect()
        };
        let text = |letter: &str| vec![json!({"Sequence": {"id": letter, "type_id": 0}})];
        let single = [special(&before), text("A"), special(&after)].concat();
        let pair = [single.clone(), text("B"), special(&after)].concat();
        let tokens: Map<String, Value> = before
            .iter()
            .chain(&after)
            .zip(ids.into_iter().flatten())
            .map(|(token, id)| (token.clone(), json!({"id": token, "ids": [id], "tokens": [token]})))
            .collect();
        json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
    }
}
