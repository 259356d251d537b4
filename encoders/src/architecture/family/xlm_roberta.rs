//! XLM-RoBERTa (Conneau et al. 2020): BERT whose positions begin after that of the padding.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::keys::FamilyKeys;
use super::{Family, Head, Names, bert, parse};
use crate::architecture::Architecture;
use crate::error::Result;
use crate::keys::Keys;

pub(crate) const FAMILY: Family = Family {
    model_type: "xlm-roberta",
    keys: FamilyKeys { tables: &[&KEYS], defaults: bert::DEFAULTS },
    read,
    names: Names {
        prefixes: &["", "roberta."],
        head: Some(|_, _| Ok(Head::of_first_token("classifier.dense", "classifier.out_proj"))),
        ..bert::NAMES
    },
};

const KEYS: Keys = Keys {
    read: &[
        "hidden_act",
        "layer_norm_eps",
        "position_embedding_type",
        "type_vocab_size",
        "is_decoder",
        "pad_token_id",
    ],
    ..bert::KEYS
};

#[derive(Deserialize)]
struct Config {
    #[serde(default = "usual_padding")]
    pad_token_id: usize,
}

fn usual_padding() -> usize {
    1
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let Config { pad_token_id } = parse(path, config)?;
    bert::read(FAMILY.model_type, path, config, pad_token_id + 1)
}
