//! What an encoder is, in numbers.

use std::path::Path;

use secateur_encoders::architecture::Storage;
use secateur_encoders::prune::{Scores, SubLayer};
use secateur_encoders::{Encoder, Precision};

use super::options::BenchEncoder;
use super::result::{DropOrder, EncoderFacts, LayerFacts};

/// The longest text whose cost is told, as `model inspect` does.
const LENGTH: usize = 512;

/// The file of scores that `prune score` and `effir` write.
const SCORES: &str = "scores.json";

pub(super) fn facts(given: &BenchEncoder, encoder: &Encoder) -> EncoderFacts {
    let architecture = encoder.architecture();
    let parameters = architecture.parameters();
    let precision = encoder.options().precision.unwrap_or_default();
    // What is in 4 bits is computed with so in f32 alone.
    let storage = match (encoder.options().quantize, precision) {
        (Some(_), Precision::F32) => Storage::Nf4,
        (None, Precision::F32) => Storage::F32,
        (_, Precision::Int8) => Storage::Int8,
        (_, Precision::Bf16) => Storage::Half,
    };
    let gflop_length = encoder.max_length().min(LENGTH);
    let layers: Vec<LayerFacts> = architecture
        .layers
        .iter()
        .map(|layer| LayerFacts { attention: layer.attention.is_some(), mlp_width: layer.intermediate_size })
        .collect();
    EncoderFacts {
        name: given.name.clone(),
        model: given.source.model.clone(),
        fingerprint: encoder.fingerprint().to_string(),
        family: architecture.family.to_owned(),
        computes_on: encoder.computes_on().to_owned(),
        precision: precision.to_string(),
        dim: encoder.dim(),
        max_length: encoder.max_length(),
        parameters: parameters.total(),
        embedding_parameters: parameters.embeddings,
        model_bytes: architecture.stored_bytes(storage) as u64,
        gflop_per_token: architecture.flop_per_token(gflop_length).total() / 1e9,
        gflop_length,
        full_width: layers.iter().filter_map(|layer| layer.mlp_width).max(),
        layers,
        drop_order: drop_order(encoder.directory()),
    }
}

/// The scores that lie in a model's directory, or in that above it, as `effir` leaves them.
fn drop_order(directory: &Path) -> Option<DropOrder> {
    let places =
        [Some(directory), directory.parent()].into_iter().flatten().map(|folder| folder.join(SCORES));
    // A file of that name that is something else says nothing of this model.
    let scores = places.filter(|place| place.is_file()).find_map(|place| Scores::read(place).ok())?;
    let order = |kind| scores.importance.drop_order(kind);
    Some(DropOrder {
        num_layers: scores.importance.attention.len(),
        attention: order(SubLayer::Attention),
        mlp: order(SubLayer::Mlp),
        block: order(SubLayer::Block),
        model: scores.model,
    })
}
