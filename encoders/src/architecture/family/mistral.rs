//! Mistral (Jiang et al. 2023): Llama with a window in every layer, where `sliding_window` is a number.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decoder::{self, Window};
use super::{Family, parse};
use crate::architecture::Architecture;
use crate::error::Result;

pub(crate) const FAMILY: Family = Family { model_type: "mistral", read, names: decoder::NAMES };

#[derive(Deserialize)]
struct Config {
    sliding_window: Option<usize>,
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let Config { sliding_window } = parse(path, config)?;
    decoder::read(FAMILY.model_type, path, config, &Window { tokens: sliding_window, in_layer: |_| true })
}
