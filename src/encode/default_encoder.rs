//! The encoder in the box: our own, small, part of the library. `encoders/default/README.md` says what it is worth.

use std::io::Write;
use std::path::Path;

use secateur_encoders::{Encoder, LoadOptions, ModelFile};
use secateur_files::{AtPath, DurableFolder};

use crate::error::Result;

/// What it is called.
pub const DEFAULT_ENCODER: &str = "default";

/// The files of `encoders/default/` that make it.
pub(super) static FILES: [ModelFile; 8] = [
    ("config.json", include_bytes!("../../encoders/default/config.json")),
    ("model.safetensors", include_bytes!("../../encoders/default/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../encoders/default/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../encoders/default/tokenizer_config.json")),
    ("modules.json", include_bytes!("../../encoders/default/modules.json")),
    ("1_Pooling/config.json", include_bytes!("../../encoders/default/1_Pooling/config.json")),
    ("sentence_bert_config.json", include_bytes!("../../encoders/default/sentence_bert_config.json")),
    (
        "config_sentence_transformers.json",
        include_bytes!("../../encoders/default/config_sentence_transformers.json"),
    ),
];

/// Loads the encoder in the box. It needs no file and no network.
///
/// ```
/// use secateur::encode::{TextKind, default_encoder};
/// use secateur::LoadOptions;
/// let encoder = default_encoder(&LoadOptions::default())?;
/// let [roses, canes, rye] = ["pruning roses", "when to cut rose bushes", "the stock exchange fell"].map(|text| {
///     encoder.encode(&[text], TextKind::Query).unwrap()
/// });
/// let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
/// assert!(cosine(&roses, &canes) > cosine(&roses, &rye));
/// # Ok::<(), secateur::Error>(())
/// ```
///
/// # Errors
/// An option that the model does not have.
pub fn default_encoder(options: &LoadOptions) -> Result<Encoder> {
    Ok(Encoder::from_parts(DEFAULT_ENCODER, &FILES, options)?)
}

/// Writes the encoder in the box as a model directory, which appears whole or not at all. If `out` exists, nothing is
/// done.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if the disk refuses.
pub fn write_default_encoder(out: impl AsRef<Path>) -> Result<()> {
    let out = out.as_ref();
    if out.exists() {
        return Ok(());
    }
    let write = || {
        let folder = DurableFolder::create(out)?;
        for (name, bytes) in FILES {
            folder.file(name)?.write_all(bytes).at("write", out.join(name))?;
        }
        folder.finish()
    };
    match write() {
        // Another process was as quick.
        Err(_) if out.exists() => Ok(()),
        written => Ok(written?),
    }
}

/// The bytes of its weights.
pub(crate) fn default_encoder_bytes() -> usize {
    FILES.iter().filter(|(name, _)| name.ends_with(".safetensors")).map(|(_, bytes)| bytes.len()).sum()
}

/// What tells one version of the encoder from another: twelve hexadecimal digits.
pub fn default_encoder_version() -> String {
    let mut hash = blake3::Hasher::new();
    for (name, bytes) in FILES {
        hash.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hash.finalize().to_hex()[..12].to_owned()
}
