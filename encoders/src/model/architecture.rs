//! What a transformer looks like, apart from its weights.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::family;
use crate::error::{Error, Result};
use crate::json;
use crate::ops::{Activation, AttentionShape};

/// A transformer's shape: sizes, and what each layer keeps. Every family is a value of this type.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// `model_type` of the config.json.
    pub family: &'static str,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// D
    pub hidden_size: usize,
    /// How tokens learn where they are.
    pub positions: Positions,
    /// The attention of every layer that has one.
    pub attention: AttentionShape,
    /// The non-linearity of the MLPs.
    pub activation: Activation,
    /// eps of the normalizations.
    pub norm_eps: f32,
    /// What each layer keeps, in the checkpoint's numbering.
    pub layers: Vec<LayerShape>,
}

/// How tokens learn where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positions {
    /// A learned vector for each position, added to the token's embedding.
    Learned {
        /// Rows of the table.
        table_rows: usize,
        /// The row of the first token.
        first: usize,
    },
}

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Whether it has its attention sub-layer.
    pub attention: bool,
    /// The width of its MLP, or none if the MLP is dropped.
    pub intermediate_size: Option<usize>,
}

/// The key of config.json under which a pruned model says what its layers keep.
///
/// ```json
/// "secateur": {"attention": [true, false], "intermediate_sizes": [1075, null]}
/// ```
#[derive(Deserialize)]
struct PrunedLayers {
    attention: Vec<bool>,
    intermediate_sizes: Vec<Option<usize>>,
}

impl Architecture {
    /// Reads a config.json.
    ///
    /// # Errors
    ///
    /// The file is missing or is not JSON, names a family that is not known, or a field is absent or out of range.
    pub fn read(path: &Path) -> Result<Architecture> {
        let config: Value = json::read(path)?;
        let family = family::by_config(path, &config)?;
        let mut architecture = (family.read)(path, &config)?;
        architecture.apply_pruning(path, &config)?;
        Ok(architecture)
    }

    fn apply_pruning(&mut self, path: &Path, config: &Value) -> Result<()> {
        let Some(pruned) = config.get("secateur") else { return Ok(()) };
        let pruned = PrunedLayers::deserialize(pruned)
            .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
        let num_layers = self.layers.len();
        for (field, found) in
            [("attention", pruned.attention.len()), ("intermediate_sizes", pruned.intermediate_sizes.len())]
        {
            if found != num_layers {
                return Err(Error::InvalidField {
                    path: path.to_owned(),
                    field: format!("secateur.{field}"),
                    found: format!("a list of {found}"),
                    expected: format!("one entry for each of the {num_layers} layers"),
                });
            }
        }
        for (layer, (attention, intermediate_size)) in
            self.layers.iter_mut().zip(pruned.attention.into_iter().zip(pruned.intermediate_sizes))
        {
            *layer = LayerShape { attention, intermediate_size };
        }
        Ok(())
    }

    /// The most tokens a text may have, where the model sets a limit.
    pub fn max_tokens(&self) -> Option<usize> {
        match self.positions {
            Positions::Learned { table_rows, first } => Some(table_rows - first),
        }
    }
}
