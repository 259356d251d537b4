//! How fast and how exactly a GPU computes models of given shapes. Weights are random: no checkpoint is needed.

mod ceilings;
mod probe;
mod probe_training;
mod random_weights;
mod speed;
mod training;

pub use ceilings::{Ceilings, LARGE, ceilings};
pub use probe::{Probe, VectorsProbe, probe};
pub use probe_training::TrainingProbe;
pub use secateur_gpu::{Gpu, Kernels};
pub use speed::{Speed, Tokenize, measure};
pub use training::{Groups, StepSpeed, train};

use std::path::Path;

use serde_json::{Value, json};

use crate::architecture::{Architecture, SubLayer};
use crate::error::Result;

/// The shapes that have a name here.
pub const SHAPES: [&str; 2] = ["mistral-7b", "minilm"];

/// A shape by its name, without so many MLPs and attentions, those of the last layers, and the other MLPs narrower.
///
/// # Errors
///
/// There are fewer of them, or the share is not one.
///
/// # Panics
///
/// The name is not one of [`SHAPES`].
pub fn shape(name: &str, [drop_mlp, drop_attention]: [usize; 2], width: f64) -> Result<Architecture> {
    let config = match name {
        // Mistral-7B-v0.1, the base of E5-mistral.
        "mistral-7b" => json!({"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096,
            "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "sliding_window": null}),
        // all-MiniLM-L6-v2.
        "minilm" => {
            json!({"model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536,
            "num_hidden_layers": 6, "num_attention_heads": 12, "hidden_act": "gelu", "max_position_embeddings": 512,
            "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0})
        }
        other => panic!("{other} is not a shape that has a name"),
    };
    reduced(read(name, &config)?, [drop_mlp, drop_attention], width)
}

fn read(name: &str, config: &Value) -> Result<Architecture> {
    Architecture::from_config(Path::new(name), config)
}

fn reduced(
    architecture: Architecture,
    [drop_mlp, drop_attention]: [usize; 2],
    width: f64,
) -> Result<Architecture> {
    let mut remaining = architecture.remaining();
    remaining.drop_last(SubLayer::Mlp, drop_mlp)?;
    remaining.drop_last(SubLayer::Attention, drop_attention)?;
    if width < 1.0 {
        remaining.narrow(width)?;
    }
    Ok(architecture.keep(&remaining))
}
