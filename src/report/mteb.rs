//! A model's metadata as MTEB asks for it.

use std::path::Path;

use secateur_encoders::architecture::Parameters;
use secateur_encoders::inspect::{InspectOptions, Inspection};
use secateur_encoders::{Encoder, EncoderSettings, Similarity};
use serde_json::{Value, json};

use crate::encode::{DEFAULT_ENCODER, default_encoder_bytes};
use crate::error::Result;

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
    meta(&Facts {
        name: &inspection.name,
        fingerprint: inspection.fingerprint.as_deref(),
        parameters: inspection.parameters,
        bytes: bytes(inspection),
        hidden_size: inspection.hidden_size,
        settings: inspection.settings.as_ref(),
    })
}

/// The same of an encoder that is loaded: its name, its fingerprint and its settings are those that it was loaded with.
///
/// ```
/// use secateur::encode::default_encoder;
/// use secateur::report::mteb_encoder_meta;
/// use secateur::LoadOptions;
///
/// let encoder = default_encoder(&LoadOptions { truncate_dim: Some(128), ..LoadOptions::default() })?;
/// let meta = mteb_encoder_meta(&encoder)?;
/// assert_eq!((meta["name"].as_str(), meta["embed_dim"].as_u64()), (Some("secateur/default"), Some(128)));
/// # Ok::<(), secateur::Error>(())
/// ```
///
/// # Errors
///
/// The files of the model cannot be read any more.
pub fn mteb_encoder_meta(encoder: &Encoder) -> Result<Value> {
    let loaded = encoder.options();
    let options = InspectOptions {
        base: loaded.base.clone(),
        ignore_settings: loaded.ignore_settings.clone(),
        ..InspectOptions::default()
    };
    let directory = encoder.directory();
    let bytes = match directory == Path::new(DEFAULT_ENCODER) && !directory.exists() {
        // The one in the box has no files.
        true => Some(default_encoder_bytes()),
        false => bytes(&Inspection::of_path(directory, &options)?),
    };
    let architecture = encoder.architecture();
    Ok(meta(&Facts {
        name: encoder.name(),
        fingerprint: Some(&encoder.fingerprint().to_string()),
        parameters: architecture.parameters(),
        bytes,
        hidden_size: architecture.hidden_size,
        settings: Some(encoder.settings()),
    }))
}

/// What is told of a model.
struct Facts<'a> {
    name: &'a str,
    fingerprint: Option<&'a str>,
    parameters: Parameters,
    /// Those of the files of weights.
    bytes: Option<usize>,
    hidden_size: usize,
    settings: Option<&'a EncoderSettings>,
}

fn bytes(inspection: &Inspection) -> Option<usize> {
    inspection.weights.as_ref().map(|weights| weights.files.iter().map(|(_, bytes)| bytes).sum())
}

fn meta(facts: &Facts<'_>) -> Value {
    let Facts { name, fingerprint, ref parameters, bytes, hidden_size, settings } = *facts;
    let mebibytes = bytes.map(|bytes: usize| (bytes as f64 / f64::from(1 << 20) * 10.0).round() / 10.0);
    // MTEB compares by cosine, dot product or distance; it has no sum of differences.
    let similarity = settings.map(|settings| settings.similarity.unwrap_or(Similarity::Cosine));
    let similarity = similarity.filter(|similarity| *similarity != Similarity::Manhattan);
    json!({
        "name": format!("secateur/{}", name.rsplit('/').next().unwrap_or_default()),
        "revision": fingerprint.and_then(|fingerprint| fingerprint.get(..16)),
        "release_date": null,
        "languages": null,
        "n_parameters": parameters.total(),
        "n_embedding_parameters": parameters.embeddings,
        "memory_usage_mb": mebibytes,
        "max_tokens": settings.map(|settings| settings.max_length),
        "embed_dim": settings.map(|settings| settings.dim(hidden_size)),
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
