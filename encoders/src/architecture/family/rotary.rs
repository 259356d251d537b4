//! How config.json spells rotary positions: `rope_theta` and `rope_scaling` in public checkpoints, `rope_parameters`
//! since transformers 5.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{invalid, parse};
use crate::architecture::{Rotary, RotaryScaling};
use crate::error::{Error, Result};

/// `rope_scaling`, or `rope_parameters` with its own theta.
#[derive(Default, Deserialize)]
struct Parameters {
    /// `type` is its older name.
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

/// The angles of the layers of one type. `theta_key` is where public checkpoints write their base.
pub(super) fn read(
    path: &Path,
    config: &Value,
    layer_type: &str,
    theta_key: &str,
    default_theta: f64,
) -> Result<Rotary> {
    let given = |key: &str| config.get(key).filter(|value| !value.is_null());
    let (field, parameters) = match (given("rope_parameters"), given("rope_scaling")) {
        // One set for all layers, or one for each type of layer.
        (Some(value), _) => ("rope_parameters", value.get(layer_type).unwrap_or(value)),
        (None, Some(value)) => ("rope_scaling", value),
        (None, None) => ("rope_scaling", &Value::Null),
    };
    let parameters: Parameters =
        if parameters.is_null() { Parameters::default() } else { parse(path, parameters)? };
    let theta = match parameters.rope_theta {
        Some(theta) => theta,
        None => given(theta_key).and_then(Value::as_f64).unwrap_or(default_theta),
    };
    if !(theta.is_finite() && theta > 0.0) {
        return Err(invalid(path, theta_key, theta, "a positive number"));
    }
    if let Some(part) = parameters.partial_rotary_factor.filter(|part| *part != 1.0) {
        return Err(invalid(path, "partial_rotary_factor", part, "1: whole heads are rotated"));
    }
    let number = |key: &str, value: Option<f64>| -> Result<f64> {
        value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| Error::InvalidField {
            path: path.to_owned(),
            field: format!("{field}.{key}"),
            found: value.map_or_else(|| "absent".to_owned(), |value| value.to_string()),
            expected: "a positive number".to_owned(),
        })
    };
    let scaling = match parameters.rope_type.as_deref() {
        None | Some("default") => RotaryScaling::None,
        Some("linear") => RotaryScaling::Linear { factor: number("factor", parameters.factor)? },
        Some("llama3") => {
            let low_freq_factor = number("low_freq_factor", parameters.low_freq_factor)?;
            let high_freq_factor = number("high_freq_factor", parameters.high_freq_factor)?;
            if high_freq_factor <= low_freq_factor {
                let expected = format!("more than low_freq_factor, {low_freq_factor}");
                return Err(invalid(path, "high_freq_factor", high_freq_factor, expected));
            }
            RotaryScaling::Llama3 {
                factor: number("factor", parameters.factor)?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: number(
                    "original_max_position_embeddings",
                    parameters.original_max_position_embeddings,
                )?,
            }
        }
        Some(other) => {
            return Err(Error::InvalidField {
                path: path.to_owned(),
                field: format!("{field}.rope_type"),
                found: format!("{other:?}"),
                expected: "default, linear or llama3".to_owned(),
            });
        }
    };
    Ok(Rotary { theta, scaling })
}
