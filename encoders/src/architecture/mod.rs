//! What a transformer looks like, apart from its weights.

mod averaging;
mod config;
mod count;
pub(crate) mod family;
pub mod known_models;
mod language_model_head;
pub(crate) mod modules;
mod neuron_mask;
mod remaining;
mod rotary;
mod shape;
mod size;
mod tensors;

pub use count::{Flop, Parameters};
pub(crate) use family::int8;
pub(crate) use family::keys::{RISING, config_settings};
pub(crate) use family::rotary::unheeded_part;
pub use language_model_head::LanguageModelHead;
pub(crate) use language_model_head::class;
pub(crate) use neuron_mask::MASK_FILE;
pub use neuron_mask::{MaskedMlp, NeuronMask};
pub use remaining::{Layout, Remaining};
pub use rotary::{Rotary, RotaryScaling};
pub use shape::{
    Activation, Architecture, AttentionShape, Biases, LayerAttention, LayerShape, LinearInput, NormKind,
    Positions, SubLayer,
};
pub use size::{INT8_GROUP, Storage, int8_bytes, nf4_bytes};
pub(crate) use tensors::NeuronAxis;
pub use tensors::{TensorGroup, TensorShape};
