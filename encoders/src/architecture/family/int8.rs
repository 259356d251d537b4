//! What config.json says of a model whose linear layers are stored in 8 bits.
//!
//! The words are those of compressed-tensors, which transformers reads.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::architecture::size::INT8_GROUP;
use crate::error::{Error, Result};
use crate::keys::{self, Keys};

/// The value of `quant_method`.
const METHOD: &str = "compressed-tensors";

/// `quantization_config`, of such a model.
const KEYS: Keys = Keys {
    read: &["quant_method", "config_groups"],
    harmless: &[("the tensors say which are stored so", &["ignore", "quantization_status"])],
    only: &[("format", "\"int-quantized\"", "weights are stored in a way that is not read")],
};

/// Whether a config.json says so.
pub(crate) fn is_in(config: &Value) -> bool {
    config["quantization_config"]["quant_method"] == METHOD
}

/// `quantization_config` for a model of which the modules `ignored` are no linear layers of the transformer.
pub(crate) fn settings(ignored: &[&str]) -> Value {
    json!({
        "quant_method": METHOD,
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": groups(),
        "ignore": ignored,
    })
}

/// How weights are stored and activations are quantized: the same for all linear layers.
fn groups() -> Value {
    let scheme = |dynamic: bool| {
        json!({
            "num_bits": 8, "type": "int", "symmetric": true, "strategy": "group", "group_size": INT8_GROUP,
            "dynamic": dynamic,
        })
    };
    json!({"group_0": {"targets": ["Linear"], "weights": scheme(false), "input_activations": scheme(true)}})
}

/// Refuses a `quantization_config` of such a model that asks for something else.
pub(super) fn check(path: &Path, object: &Map<String, Value>) -> Result<()> {
    keys::check(path, "quantization_config", object, &[&KEYS])?;
    let (found, expected) = (object.get("config_groups").unwrap_or(&Value::Null), groups());
    if *found == expected {
        return Ok(());
    }
    Err(Error::InvalidField {
        path: path.to_owned(),
        field: "quantization_config.config_groups".to_owned(),
        found: found.to_string(),
        expected: format!("{expected}, which `secateur model quantize` writes"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut Value)) -> String {
        let mut settings = settings(&["pooler.dense"]);
        change(&mut settings);
        let outcome = check("config.json".as_ref(), settings.as_object().unwrap());
        outcome.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        assert_eq!(refused(|_| ()), "");
        assert!(is_in(&json!({"quantization_config": settings(&[])})) && !is_in(&json!({})));
        type Change<'c> = &'c dyn Fn(&mut Value);
        let cases: [(Change<'_>, &str); 5] = [
            (&|all| all["format"] = "pack-quantized".into(), "int-quantized"),
            (&|all| all["config_groups"]["group_0"]["weights"]["num_bits"] = 4.into(), "\"num_bits\":4"),
            (
                &|all| all["config_groups"]["group_0"]["weights"]["group_size"] = 32.into(),
                "\"group_size\":128",
            ),
            (&|all| all["config_groups"] = Value::Null, "config_groups is null"),
            (&|all| all["sparsity_config"] = json!({"format": "dense"}), "sparsity_config"),
        ];
        for (change, want) in cases {
            let message = refused(change);
            assert!(message.contains("quantization_config") && message.contains(want), "{want}: {message}");
        }
    }
}
