//! Nemotron-NAS (Bercovich et al. 2024, Puzzle): Llama whose layers say for themselves what they have.
//!
//! `block_configs` has an entry a layer. An attention or an MLP is there unless it is `no_op`. `ffn_mult` tells the
//! width of an MLP as DeciLM does: [`width_of`].

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::decoder::{self, Window};
use super::keys::FamilyKeys;
use super::{Family, invalid, parse};
use crate::architecture::{Architecture, Biases};
use crate::error::Result;
use crate::keys::{Keys, check};

const KEYS: Keys = Keys {
    read: &["hidden_act", "block_configs", "qkv_bias", "sliding_window"],
    harmless: &[("what its code does is done here", &["auto_map"])],
    only: &[],
};

/// `attention` of a block.
const ATTENTION: Keys = Keys {
    read: &["no_op", "n_heads_in_group"],
    harmless: &[("there is no sink to attend to", &["use_prefill_window_in_sink_attention"])],
    only: &[
        ("replace_with_linear", "false", "a linear layer is in the place of the attention"),
        ("window_length", "", "the layer has a window of its own"),
        ("num_sink_tokens", "", "the first tokens are always seen"),
        ("unshifted_sink", "false", "the first tokens are always seen"),
        ("sparsify", "", "weights are zero by a pattern"),
    ],
};

/// `ffn` of a block.
const FFN: Keys = Keys {
    read: &["no_op", "ffn_mult", "intermediate_size"],
    harmless: &[],
    only: &[
        ("replace_with_linear", "false", "a linear layer is in the place of the MLP"),
        ("hidden_act", "\"silu\"", "the layer has an activation of its own"),
        ("sparsify", "", "weights are zero by a pattern"),
    ],
};

const DEFAULTS: &str = r#"{"vocab_size": 32000, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "attention_bias": false, "mlp_bias": false}"#;

pub(crate) const FAMILY: Family = Family {
    model_type: "nemotron-nas",
    keys: FamilyKeys { tables: &[&KEYS, &decoder::KEYS], defaults: DEFAULTS },
    read,
    names: decoder::NAMES,
};

/// The widths of MLPs are multiples of this.
pub(crate) const WIDTH_STEP: usize = 256;

/// The width that readers make of `ffn_mult`: two thirds of so many hidden sizes, rounded up.
fn width_of(ffn_mult: f64, hidden_size: usize) -> usize {
    // 0 is refused by who reads it.
    ((2.0 * ffn_mult * hidden_size as f64 / 3.0) as usize).checked_next_multiple_of(WIDTH_STEP).unwrap_or(0)
}

/// What readers make this width of. `width` is a multiple of [`WIDTH_STEP`]: rounding cannot lead to another one.
fn mult_of(width: usize, hidden_size: usize) -> f64 {
    1.5 * width as f64 / hidden_size as f64
}

/// `block_configs` of a model that [`read`] then reads.
pub(crate) fn block_configs(architecture: &Architecture) -> Value {
    let shape = architecture.attention;
    let group = shape.num_heads / shape.num_key_value_heads;
    let blocks = architecture.layers.iter().map(|layer| {
        let mult = layer.intermediate_size.map(|width| mult_of(width, architecture.hidden_size));
        json!({
            "attention": {
                "no_op": layer.attention.is_none(),
                "n_heads_in_group": layer.attention.as_ref().map(|_| group),
                "replace_with_linear": false,
            },
            "ffn": {"no_op": mult.is_none(), "ffn_mult": mult, "replace_with_linear": false},
        })
    });
    blocks.collect()
}

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    block_configs: Vec<Block>,
    /// Of queries, keys and values; `attention_bias` where it is absent.
    qkv_bias: Option<bool>,
    #[serde(default)]
    attention_bias: bool,
    sliding_window: Option<usize>,
}

#[derive(Deserialize)]
struct Block {
    attention: Value,
    ffn: Value,
}

#[derive(Deserialize)]
struct Attention {
    #[serde(default)]
    no_op: bool,
    n_heads_in_group: Option<usize>,
}

#[derive(Deserialize)]
struct Ffn {
    #[serde(default)]
    no_op: bool,
    ffn_mult: Option<f64>,
    intermediate_size: Option<usize>,
}

/// A part of a block, checked for settings that would be passed over.
fn part<T: serde::de::DeserializeOwned>(path: &Path, place: &str, value: &Value, keys: &Keys) -> Result<T> {
    if let Some(object) = value.as_object() {
        check(path, place, object, &[keys])?;
    }
    parse(path, value)
}

fn read(path: &Path, config: &Value) -> Result<Architecture> {
    let own: Config = parse(path, config)?;
    if own.block_configs.len() != own.num_hidden_layers {
        let expected = format!("one entry for each of the {} layers", own.num_hidden_layers);
        return Err(invalid(
            path,
            "block_configs",
            format!("a list of {}", own.block_configs.len()),
            expected,
        ));
    }
    let (mut group, mut left) = (None, Vec::new());
    for (layer, block) in own.block_configs.iter().enumerate() {
        let place = |part: &str| format!("block_configs.{layer}.{part}");
        let attention: Attention = part(path, &place("attention"), &block.attention, &ATTENTION)?;
        let ffn: Ffn = part(path, &place("ffn"), &block.ffn, &FFN)?;
        if !attention.no_op {
            let divides = |heads: &usize| *heads > 0 && own.num_attention_heads.is_multiple_of(*heads);
            let found = attention.n_heads_in_group.filter(divides);
            if found.is_none() || group.is_some_and(|group| Some(group) != found) {
                let found = attention.n_heads_in_group.map_or_else(|| "null".to_owned(), |n| n.to_string());
                let expected = format!(
                    "a divisor of num_attention_heads, {}, and the same in all layers with an attention",
                    own.num_attention_heads
                );
                return Err(invalid(path, &place("attention.n_heads_in_group"), found, expected));
            }
            group = found;
        }
        let width = match (ffn.ffn_mult, ffn.intermediate_size) {
            _ if ffn.no_op => None,
            (Some(mult), _) => Some(width_of(mult, own.hidden_size)),
            (None, width) => width,
        };
        if !ffn.no_op && width.is_none_or(|width| width == 0) {
            let expected = "ffn_mult or intermediate_size, above 0, or no_op";
            return Err(invalid(path, &place("ffn"), &block.ffn, expected));
        }
        left.push((!attention.no_op, width));
    }
    let mut config = config.clone();
    config["num_key_value_heads"] = (own.num_attention_heads / group.unwrap_or(1)).into();
    config["intermediate_size"] = left.iter().filter_map(|(_, width)| *width).max().unwrap_or(1).into();
    // vLLM gives the window to all layers where layer_types does not say which have it.
    let window = Window { tokens: own.sliding_window, in_layer: |_| true };
    let mut architecture = decoder::read(FAMILY.model_type, path, &config, &window)?;
    architecture.biases =
        Biases { query_key_value: own.qkv_bias.unwrap_or(own.attention_bias), ..architecture.biases };
    for (layer, (attention, width)) in architecture.layers.iter_mut().zip(left) {
        layer.attention = layer.attention.take().filter(|_| attention);
        layer.intermediate_size = width;
    }
    Ok(architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl Fn(&mut Value)) -> Value {
        let block = |attention: Value, ffn: Value| json!({"attention": attention, "ffn": ffn});
        let mut config = json!({
            "model_type": "nemotron-nas", "vocab_size": 100, "hidden_size": 48, "num_hidden_layers": 3,
            "num_attention_heads": 4, "auto_map": {"AutoConfig": "configuration_decilm.DeciLMConfig"},
            "block_configs": [
                block(json!({"n_heads_in_group": 2}), json!({"ffn_mult": 8.0})),
                block(json!({"no_op": true, "n_heads_in_group": null}), json!({"intermediate_size": 100})),
                block(json!({"n_heads_in_group": 2, "sparsify": null}), json!({"no_op": true, "ffn_mult": null})),
            ],
        });
        change(&mut config);
        config
    }

    fn refused(change: impl Fn(&mut Value)) -> String {
        let outcome = Architecture::from_config("config.json".as_ref(), &config(change));
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn blocks_say_what_layers_have() {
        let read = Architecture::from_config("config.json".as_ref(), &config(|_| ())).unwrap();
        let left: Vec<_> =
            read.layers.iter().map(|layer| (layer.attention.is_some(), layer.intermediate_size)).collect();
        assert_eq!(left, [(true, Some(256)), (false, Some(100)), (true, None)]);
        assert_eq!(read.attention.num_key_value_heads, 2);
        assert_eq!(refused(|_| ()), "");
    }

    #[test]
    fn what_is_not_llama_is_refused_by_name() {
        type Change<'c> = &'c dyn Fn(&mut Value);
        let cases: [(Change<'_>, &str); 6] = [
            (&|c| c["num_hidden_layers"] = 4.into(), "one entry for each of the 4 layers"),
            (
                &|c| c["block_configs"][0]["attention"]["n_heads_in_group"] = 4.into(),
                "block_configs.2.attention.n_heads_in_group is 2; expected a divisor of num_attention_heads, 4, and the same",
            ),
            (&|c| c["block_configs"][1]["attention"]["no_op"] = false.into(), "n_heads_in_group is null"),
            (
                &|c| c["block_configs"][1]["attention"]["replace_with_linear"] = true.into(),
                "block_configs.1.attention.replace_with_linear",
            ),
            (&|c| c["block_configs"][2]["ffn"]["no_op"] = false.into(), "block_configs.2.ffn is"),
            (&|c| c["block_configs"][0]["ffn"]["moe"] = json!({"experts": 4}), "block_configs.0.ffn.moe"),
        ];
        for (change, want) in cases {
            let message = refused(change);
            assert!(message.contains(want), "{want}: {message}");
        }
    }

    /// Whatever the hidden size: what is written as a multiple is read as that width.
    #[test]
    fn widths_survive_their_multiples() {
        for hidden_size in [48, 64, 384, 1000, 2048, 3072, 4096, 5120, 8192] {
            for width in (1..120).map(|steps| steps * WIDTH_STEP) {
                assert_eq!(width_of(mult_of(width, hidden_size), hidden_size), width, "{hidden_size}");
            }
        }
        // Those of Llama-3_1-Nemotron-51B.
        assert_eq!([5.25, 2.625, 1.3125].map(|mult| width_of(mult, 8192)), [28672, 14336, 7168]);
    }
}
