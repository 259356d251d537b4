//! What a transformer looks like, apart from its weights.

pub mod catalog;
mod count;
mod cut;
pub(crate) mod family;
pub(crate) mod pruned;
mod rotary;
mod shape;
mod size;
mod tensors;

use std::path::Path;

use serde_json::Value;

use crate::error::Result;
use crate::json;
pub use count::{Flop, Parameters};
pub use cut::Cut;
pub use rotary::{Rotary, RotaryScaling};
pub use shape::{Activation, AttentionShape, LinearInput};
pub use size::{Storage, nf4_bytes};
pub(crate) use tensors::NeuronAxis;
pub use tensors::{Part, TensorShape};

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
    /// Multiplies the token embeddings.
    pub embedding_scale: f32,
    /// The attention of every layer that has one.
    pub attention: AttentionShape,
    /// The non-linearity of the MLPs.
    pub activation: Activation,
    /// The kind of the normalizations.
    pub norm: NormKind,
    /// eps of the normalizations.
    pub norm_eps: f32,
    /// Which linear layers add a bias.
    pub biases: Biases,
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
        /// Rows of the table of token types: of a pair of texts the second is of type 1 where there are two.
        token_types: usize,
    },
    /// Queries and keys are turned in each attention: [`LayerAttention::rotary`].
    Rotary {
        /// The longest text that the model is made for, in tokens.
        max_tokens: usize,
    },
}

/// The kind of a model's normalizations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormKind {
    /// Mean and variance (Ba, Kiros & Hinton 2016).
    Layer {
        /// Whether a bias is added.
        bias: bool,
    },
    /// Mean square (Zhang & Sennrich 2019).
    Rms {
        /// Added to the stored weight: Gemma stores its difference from one.
        offset: f32,
    },
}

/// Which linear layers add a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    /// The query, key and value projections.
    pub query_key_value: bool,
    /// The projection of the context.
    pub attention_output: bool,
    /// The layers of the MLP.
    pub mlp: bool,
}

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerShape {
    /// Its attention sub-layer, or none if that is dropped.
    pub attention: Option<LayerAttention>,
    /// The width of its MLP, or none if the MLP is dropped.
    pub intermediate_size: Option<usize>,
}

/// What may differ between the attentions of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerAttention {
    /// w, if token i sees token j only where |i - j| <= w.
    pub window: Option<usize>,
    /// How queries and keys are turned.
    pub rotary: Option<Rotary>,
}

impl Architecture {
    /// Reads a config.json.
    ///
    /// # Errors
    ///
    /// The file is missing or is not JSON, names a family that is not known, or a field is absent or out of range.
    pub fn read(path: &Path) -> Result<Architecture> {
        Architecture::from_config(path, &json::read(path)?)
    }

    /// Reads the JSON object of a config.json; `path` is what errors call it.
    pub(crate) fn from_config(path: &Path, config: &Value) -> Result<Architecture> {
        let family = family::by_config(path, config)?;
        let mut architecture = (family.read)(path, config)?;
        pruned::apply(path, config, &mut architecture.layers)?;
        Ok(architecture)
    }

    /// How many types of tokens it tells apart.
    pub fn token_types(&self) -> usize {
        match self.positions {
            Positions::Learned { token_types, .. } => token_types,
            Positions::Rotary { .. } => 1,
        }
    }

    /// The most tokens a text may have, where the model sets a limit.
    pub fn max_tokens(&self) -> Option<usize> {
        match self.positions {
            Positions::Learned { table_rows, first, .. } => Some(table_rows - first),
            Positions::Rotary { max_tokens } => Some(max_tokens),
        }
    }
}
