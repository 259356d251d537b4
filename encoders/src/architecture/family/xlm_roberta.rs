//! XLM-RoBERTa (Conneau et al. 2020): BERT whose positions begin after that of the padding.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Family, Head, Names, bert, parse};
use crate::architecture::Architecture;
use crate::error::Result;

pub(crate) const FAMILY: Family = Family {
    model_type: "xlm-roberta",
    read,
    names: Names {
        prefixes: &["", "roberta."],
        head: Some(|_, _| Ok(Head::of_first_token("classifier.dense", "classifier.out_proj"))),
        ..bert::NAMES
    },
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
