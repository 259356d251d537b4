//! What a config.json says about layers that were pruned: our own key, and those of LLM-Drop.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::LayerShape;
use crate::error::{Error, Result};

/// The key of config.json under which a model of ours says what its layers keep.
///
/// ```json
/// "secateur": {"attention": [true, false], "intermediate_sizes": [1075, null]}
/// ```
#[derive(Deserialize, Serialize)]
struct PrunedLayers {
    attention: Vec<bool>,
    intermediate_sizes: Vec<Option<usize>>,
}

/// Makes a config say, in our own layout, what the layers of a model keep.
pub(crate) fn describe(config: &mut Value, layers: &[LayerShape]) {
    clear(config);
    let pruned = PrunedLayers {
        attention: layers.iter().map(|layer| layer.attention.is_some()).collect(),
        intermediate_sizes: layers.iter().map(|layer| layer.intermediate_size).collect(),
    };
    config["secateur"] = json!(pruned);
}

/// The same in LLM-Drop's layout, which has no place for widths.
pub(crate) fn describe_for_llm_drop(config: &mut Value, layers: &[LayerShape]) {
    clear(config);
    let dropped = |gone: fn(&LayerShape) -> bool| -> Vec<usize> {
        layers.iter().enumerate().filter(|(_, layer)| gone(layer)).map(|(number, _)| number).collect()
    };
    config["drop_mlp_list"] = json!(dropped(|layer| layer.intermediate_size.is_none()));
    config["drop_attn_list"] = json!(dropped(|layer| layer.attention.is_none()));
}

/// Removes what a config says of pruned layers, and the programs that LLM-Drop names, which are not in the new directory.
fn clear(config: &mut Value) {
    if let Some(config) = config.as_object_mut() {
        for key in ["secateur", "drop_mlp_list", "drop_attn_list", "auto_map"] {
            config.shift_remove(key);
        }
    }
}

/// Takes from `layers` what the config says was pruned.
pub(super) fn apply(path: &Path, config: &Value, layers: &mut [LayerShape]) -> Result<()> {
    for layer in dropped(path, config, "drop_attn_list", layers.len())? {
        layers[layer].attention = None;
    }
    for layer in dropped(path, config, "drop_mlp_list", layers.len())? {
        layers[layer].intermediate_size = None;
    }
    let Some(pruned) = config.get("secateur") else { return Ok(()) };
    let pruned = PrunedLayers::deserialize(pruned)
        .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
    for (field, found) in
        [("attention", pruned.attention.len()), ("intermediate_sizes", pruned.intermediate_sizes.len())]
    {
        if found != layers.len() {
            return Err(Error::InvalidField {
                path: path.to_owned(),
                field: format!("secateur.{field}"),
                found: format!("a list of {found}"),
                expected: format!("one entry for each of the {} layers", layers.len()),
            });
        }
    }
    for (layer, (attention, intermediate_size)) in
        layers.iter_mut().zip(pruned.attention.into_iter().zip(pruned.intermediate_sizes))
    {
        layer.attention = layer.attention.filter(|_| attention);
        layer.intermediate_size = layer.intermediate_size.and(intermediate_size);
    }
    Ok(())
}

/// The layers that a list of LLM-Drop names: null, indices in any order, or one boolean a layer. The two do not mix:
/// `true` is not the index 1.
fn dropped(path: &Path, config: &Value, field: &str, num_layers: usize) -> Result<Vec<usize>> {
    let invalid = |found: String, expected: String| Error::InvalidField {
        path: path.to_owned(),
        field: field.to_owned(),
        found,
        expected,
    };
    let list = match config.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(other) => {
            return Err(invalid(
                other.to_string(),
                "null, a list of indices or a list of booleans".to_owned(),
            ));
        }
    };
    if list.iter().any(Value::is_boolean) {
        let flags: Option<Vec<bool>> = list.iter().map(Value::as_bool).collect();
        return match flags {
            Some(flags) if flags.len() == num_layers => {
                Ok((0..num_layers).filter(|layer| flags[*layer]).collect())
            }
            Some(flags) => Err(invalid(
                format!("{} booleans", flags.len()),
                format!("one boolean for each of the {num_layers} layers"),
            )),
            None => Err(invalid(
                Value::from(list.clone()).to_string(),
                "indices or booleans, not both".to_owned(),
            )),
        };
    }
    list.iter()
        .map(|index| {
            let layer = index.as_u64().and_then(|index| usize::try_from(index).ok());
            layer.filter(|layer| *layer < num_layers).ok_or_else(|| {
                invalid(index.to_string(), format!("indices of layers, 0 to {}", num_layers - 1))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::LayerAttention;

    fn layers_of(config: &Value) -> Result<Vec<(bool, Option<usize>)>> {
        let attention = Some(LayerAttention { window: None, rotary: None });
        let mut layers = vec![LayerShape { attention, intermediate_size: Some(8) }; 3];
        apply("config.json".as_ref(), config, &mut layers)?;
        Ok(layers.iter().map(|layer| (layer.attention.is_some(), layer.intermediate_size)).collect())
    }

    #[test]
    fn llm_drop_lists_are_indices_or_booleans() {
        let whole = (true, Some(8));
        let cases = [
            (json!({}), [whole; 3]),
            (json!({"drop_mlp_list": null, "drop_attn_list": []}), [whole; 3]),
            (json!({"drop_mlp_list": [2, 0]}), [(true, None), whole, (true, None)]),
            (json!({"drop_mlp_list": [1]}), [whole, (true, None), whole]),
            (json!({"drop_mlp_list": [true, false, false]}), [(true, None), whole, whole]),
            (
                json!({"drop_attn_list": [false, false, true], "drop_mlp_list": [0]}),
                [(true, None), whole, (false, Some(8))],
            ),
            (
                json!({"secateur": {"attention": [true, false, true], "intermediate_sizes": [5, 8, null]}}),
                [(true, Some(5)), (false, Some(8)), (true, None)],
            ),
        ];
        for (config, want) in cases {
            assert_eq!(layers_of(&config).unwrap(), want, "{config}");
        }
    }

    #[test]
    fn wrong_lists_are_refused_by_name() {
        let cases = [
            (json!({"drop_mlp_list": [3]}), "drop_mlp_list is 3; expected indices of layers, 0 to 2"),
            (json!({"drop_mlp_list": [true]}), "1 booleans; expected one boolean for each of the 3 layers"),
            (json!({"drop_attn_list": [true, 1, 2]}), "indices or booleans, not both"),
            (json!({"drop_attn_list": "all"}), "drop_attn_list is \"all\""),
            (json!({"drop_attn_list": [-1]}), "drop_attn_list is -1"),
            (
                json!({"secateur": {"attention": [true], "intermediate_sizes": [1, 2, 3]}}),
                "secateur.attention is a list of 1; expected one entry for each of the 3 layers",
            ),
        ];
        for (config, want) in cases {
            let message = layers_of(&config).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
