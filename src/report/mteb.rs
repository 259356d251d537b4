//! A model's metadata as MTEB asks for it.

use secateur_encoders::Similarity;
use secateur_encoders::inspect::Inspection;
use serde_json::{Value, json};

/// The fields of MTEB's `ModelMeta` that a model's files decide; those that they do not say are null. An object of
/// this kind becomes one by `ModelMeta(loader=None, **fields)`.
///
/// ```
/// use secateur::encoders::inspect::{InspectOptions, Inspection};
/// use secateur::report::mteb_model_meta;
///
/// let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/encoders/default");
/// let meta = mteb_model_meta(&Inspection::of_path(directory.as_ref(), &InspectOptions::default())?);
/// assert_eq!((meta["name"].as_str(), meta["embed_dim"].as_u64()), (Some("secateur/default"), Some(384)));
/// # Ok::<(), secateur::Error>(())
/// ```
pub fn mteb_model_meta(inspection: &Inspection) -> Value {
    let settings = inspection.settings.as_ref();
    let bytes = inspection.weights.as_ref().map(|weights| weights.files.iter().map(|(_, bytes)| bytes).sum());
    let mebibytes = bytes.map(|bytes: usize| (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0);
    // MTEB compares by cosine, dot product or distance; it has no sum of differences.
    let similarity = settings.map(|settings| settings.similarity.unwrap_or(Similarity::Cosine));
    let similarity = similarity.filter(|similarity| *similarity != Similarity::Manhattan);
    json!({
        "name": format!("secateur/{}", inspection.name.rsplit('/').next().unwrap_or_default()),
        "revision": inspection.fingerprint.as_ref().and_then(|fingerprint| fingerprint.get(..16)),
        "release_date": null,
        "languages": null,
        "n_parameters": inspection.total_parameters,
        "n_embedding_parameters": inspection.parameters.embeddings,
        "memory_usage_mb": mebibytes,
        "max_tokens": settings.map(|settings| settings.max_length),
        "embed_dim": settings.map(|settings| settings.dim(inspection.hidden_size)),
        "license": null,
        "open_weights": true,
        "public_training_code": null,
        "public_training_data": null,
        "framework": ["safetensors"],
        "similarity_fn_name": similarity.map(|similarity| similarity.to_string()),
        "use_instructions": settings
            .map(|settings| !settings.query_prompt.is_empty() || !settings.passage_prompt.is_empty()),
        "training_datasets": null,
    })
}
