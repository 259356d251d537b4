//! Qwen 1.5, 2 and 2.5 (Qwen Team 2024): Llama with biases on queries, keys and values; upper layers may have a window.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::decoder::{self, Window};
use super::{Family, parse};
use crate::architecture::{Architecture, Biases};
use crate::error::Result;

pub(crate) const FAMILY: Family = Family { model_type: "qwen2", read, names: decoder::NAMES };

#[derive(Deserialize)]
pub(super) struct WindowConfig {
    sliding_window: Option<usize>,
    /// Public files name a window and turn it off here.
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    max_window_layers: usize,
}

impl WindowConfig {
    /// The window of layers `max_window_layers` and up.
    pub(super) fn window(self) -> Window<impl Fn(usize) -> bool> {
        Window {
            tokens: self.sliding_window.filter(|_| self.use_sliding_window),
            in_layer: move |layer| layer >= self.max_window_layers,
        }
    }
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let window = parse::<WindowConfig>(path, config)?.window();
    let architecture = decoder::read(FAMILY.model_type, path, config, &window)?;
    let biases = Biases { query_key_value: true, attention_output: false, mlp: false };
    Ok(Architecture { biases, ..architecture })
}
