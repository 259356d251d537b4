//! Every setting in force, and the file that it comes from.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::architecture::config_settings;
use crate::error::Result;
use crate::keys::DEFAULT_OF_TRANSFORMERS as DEFAULT;
use crate::settings::EncoderSettings;
use crate::tokenize::Tokenizer;
use crate::weights::adapter::{config::FILE, keys::KEYS};
use crate::weights::model_files::ModelFiles;

/// A setting, its value and where that comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InForce {
    /// Its name, as the file spells it.
    pub setting: String,
    /// Its value.
    pub value: Value,
    /// The file, `default of transformers` for what is absent there, or `assumed`.
    pub from: String,
}

/// Those of a model directory.
pub(crate) fn all(
    files: &ModelFiles,
    config: &Value,
    settings: &EncoderSettings,
    sources: &BTreeMap<&'static str, String>,
    tokenizer: Option<&Tokenizer>,
) -> Result<Vec<InForce>> {
    let mut list = Vec::new();
    let mut add = |setting: &str, value: Value, from: &str| {
        list.push(InForce { setting: setting.to_owned(), value, from: from.to_owned() });
    };
    let of_texts = serde_json::to_value(settings).expect("settings are JSON");
    for (setting, value) in of_texts.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let from = sources.get(setting.as_str()).map_or("default of sentence-transformers", String::as_str);
        add(setting, value.clone(), from);
    }
    for (setting, value, is_given) in config_settings(config) {
        add(&setting, value, if is_given { "config.json" } else { DEFAULT });
    }
    for (setting, value, from) in tokenizer.into_iter().flat_map(Tokenizer::settings) {
        add(setting, value, from);
    }
    if files.adapter().is_some() {
        let adapter: Map<String, Value> = files.json(FILE)?.unwrap_or_default();
        for (setting, value) in
            adapter.iter().filter(|(key, value)| KEYS.read.contains(&key.as_str()) && !value.is_null())
        {
            add(setting, value.clone(), FILE);
        }
    }
    Ok(list)
}
