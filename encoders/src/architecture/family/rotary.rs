//! How config.json spells rotary positions: `rope_theta` and `rope_scaling` in public checkpoints, `rope_parameters`
//! since transformers 5.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{invalid, parse};
use crate::architecture::{Rotary, RotaryScaling};
use crate::error::{Error, Result};
use crate::keys::{Keys, check};

/// `rope_scaling`, or `rope_parameters` with its own theta.
#[derive(Default, Deserialize)]
struct Parameters {
    rope_type: Option<String>,
    /// The older name.
    r#type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
    partial_rotary_factor: Option<f64>,
}

/// The keys of `rope_parameters` and `rope_scaling`.
pub(crate) const KEYS: Keys = Keys {
    read: &[
        "rope_type",
        "type",
        "rope_theta",
        "factor",
        "low_freq_factor",
        "high_freq_factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
        "short_factor",
        "long_factor",
        "partial_rotary_factor",
    ],
    harmless: &[("it says how the model was trained", &["finetuned"])],
    only: &[("mrope_section", "[]", "positions have several axes")],
};

/// What is said of a part of the heads. In the families that load here transformers 5 rotates whole heads all the same,
/// if the angles are not scaled.
pub(crate) fn unheeded_part(config: &Value) -> Option<&Value> {
    let inner = ["rope_scaling", "rope_parameters"].iter().filter_map(|key| config.get(*key));
    inner
        .chain([config])
        .filter_map(|object| object.get("partial_rotary_factor"))
        .find(|part| part.as_f64().is_some_and(|part| part != 1.0))
}

/// What the angles depend on beside their own keys.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) path: &'a Path,
    pub(super) config: &'a Value,
    /// Columns of a head.
    pub(super) head_dim: usize,
}

/// The angles of the layers of one type. `theta_key` is where public checkpoints write their base.
pub(super) fn read(
    Around { path, config, head_dim }: Around<'_>,
    layer_type: &str,
    theta_key: &str,
    default_theta: f64,
) -> Result<Rotary> {
    let given = |key: &str| config.get(key).filter(|value| !value.is_null());
    let number_at = |key: &str| given(key).and_then(Value::as_f64);
    // transformers takes the older key where both are there, unless it says nothing.
    let scaling =
        given("rope_scaling").filter(|value| value.as_object().is_none_or(|object| !object.is_empty()));
    let (field, parameters) = match (scaling, given("rope_parameters")) {
        (Some(value), _) => ("rope_scaling", value),
        // One set for all layers, or one for each type of layer.
        (None, Some(value)) => ("rope_parameters", value.get(layer_type).unwrap_or(value)),
        (None, None) => ("rope_scaling", &Value::Null),
    };
    if let Some(object) = parameters.as_object() {
        check(path, field, object, &[&KEYS])?;
    }
    let parameters: Parameters =
        if parameters.is_null() { Parameters::default() } else { parse(path, parameters)? };
    let theta = parameters.rope_theta.or_else(|| number_at(theta_key)).unwrap_or(default_theta);
    if !(theta.is_finite() && theta > 0.0) {
        return Err(invalid(path, theta_key, theta, "a positive number"));
    }
    let rope_type = parameters.rope_type.as_deref().or(parameters.r#type.as_deref());
    let part = parameters.partial_rotary_factor.or_else(|| number_at("partial_rotary_factor"));
    if let Some(part) = part.filter(|part| *part != 1.0 && !matches!(rope_type, None | Some("default"))) {
        return Err(invalid(path, "partial_rotary_factor", part, "1: whole heads are rotated"));
    }
    let invalid_number = |key: &str, found: String, expected: &str| Error::InvalidField {
        path: path.to_owned(),
        field: format!("{field}.{key}"),
        found,
        expected: expected.to_owned(),
    };
    let positive = |key: &str, value: Option<f64>| -> Result<f64> {
        value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| {
            let found = value.map_or_else(|| "absent".to_owned(), |value| value.to_string());
            invalid_number(key, found, "a positive number")
        })
    };
    let longest = || positive("max_position_embeddings", number_at("max_position_embeddings"));
    let original = || -> Result<f64> {
        // Phi 3 and those like it write it beside the parameters, and there it counts first.
        let stated =
            number_at("original_max_position_embeddings").or(parameters.original_max_position_embeddings);
        match stated {
            Some(_) => positive("original_max_position_embeddings", stated),
            None => longest(),
        }
    };
    let scaling = match rope_type {
        None | Some("default") => RotaryScaling::None,
        Some("linear") => RotaryScaling::Linear { factor: positive("factor", parameters.factor)? },
        Some("dynamic") => RotaryScaling::Dynamic {
            factor: positive("factor", parameters.factor)?,
            max_position_embeddings: longest()?,
        },
        Some("llama3") => {
            let low_freq_factor = positive("low_freq_factor", parameters.low_freq_factor)?;
            let high_freq_factor = positive("high_freq_factor", parameters.high_freq_factor)?;
            if high_freq_factor <= low_freq_factor {
                let expected = format!("more than low_freq_factor, {low_freq_factor}");
                return Err(invalid(path, "high_freq_factor", high_freq_factor, expected));
            }
            RotaryScaling::Llama3 {
                factor: positive("factor", parameters.factor)?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original()?,
            }
        }
        Some("yarn") => {
            let original_max_position_embeddings = original()?;
            let factor = match parameters.factor {
                Some(_) => positive("factor", parameters.factor)?,
                None => longest()? / original_max_position_embeddings,
            };
            // How much longer queries and keys are made: equation 22 of the paper.
            let longer = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
            let of_scales = match (parameters.mscale, parameters.mscale_all_dim) {
                (Some(m), Some(all)) if m != 0.0 && all != 0.0 => longer(m) / longer(all),
                _ => longer(1.0),
            };
            let or = |value: Option<f64>, usual: f64| value.filter(|value| *value != 0.0).unwrap_or(usual);
            RotaryScaling::Yarn {
                factor,
                beta_fast: or(parameters.beta_fast, 32.0),
                beta_slow: or(parameters.beta_slow, 1.0),
                truncate: parameters.truncate.unwrap_or(true),
                original_max_position_embeddings,
                attention_factor: parameters.attention_factor.unwrap_or(of_scales),
            }
        }
        Some("longrope" | "su") => {
            let original_max_position_embeddings = original()?;
            let factor = match parameters.factor {
                Some(_) => positive("factor", parameters.factor)?,
                None => longest()? / original_max_position_embeddings,
            };
            let usual = match factor {
                factor if factor <= 1.0 => 1.0,
                factor => (1.0 + factor.ln() / original_max_position_embeddings.ln()).sqrt(),
            };
            let factors = |key: &str, list: Option<Vec<f64>>| {
                let list = list.unwrap_or_default();
                let is_whole = list.len() == head_dim / 2 && list.iter().all(|x| x.is_finite() && *x > 0.0);
                let expected = format!("{} positive numbers, one for each pair of columns", head_dim / 2);
                if is_whole {
                    Ok(list.into())
                } else {
                    Err(invalid_number(key, format!("{list:?}"), &expected))
                }
            };
            RotaryScaling::LongRope {
                short_factor: factors("short_factor", parameters.short_factor)?,
                long_factor: factors("long_factor", parameters.long_factor)?,
                original_max_position_embeddings,
                attention_factor: parameters.attention_factor.unwrap_or(usual),
            }
        }
        Some(other) => {
            let expected = "default, linear, dynamic, llama3, yarn or longrope";
            return Err(invalid_number("rope_type", format!("{other:?}"), expected));
        }
    };
    Ok(Rotary { theta, scaling })
}
