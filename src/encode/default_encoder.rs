//! The encoder in the box: our own, small, part of the library. `encoders/default/README.md` says what it is worth.

use std::path::Path;

use secateur_encoders::{Encoder, LoadOptions, ModelFile};

use crate::error::{Error, Result};

/// What it is called.
pub const DEFAULT_ENCODER: &str = "default";

/// The files of `encoders/default/` that make it.
static FILES: [ModelFile; 8] = [
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

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn write_files(model: &Path, write: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    FILES.iter().try_for_each(|(name, bytes)| {
        let path = model.join(name);
        let folder = path.parent().unwrap_or(model);
        std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        write(&path, bytes)
    })
}

/// Writes the encoder in the box as a model directory, which appears whole or not at all. If `out` exists nothing is done.
///
/// # Errors
/// [`Error::Io`] if the disk refuses.
pub fn write_default_encoder(out: &Path) -> Result<()> {
    if out.exists() {
        return Ok(());
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io("create", parent))?;
    let partial = tempfile::tempdir_in(parent).map_err(io("create", parent))?;
    write_files(partial.path(), |path, bytes| {
        Ok(secateur_datasets::atomic_write(path, |file| file.write_all(bytes))?)
    })?;
    match std::fs::rename(partial.path(), out) {
        Ok(()) => {
            // Nothing is left of it to remove.
            let _ = partial.keep();
            Ok(())
        }
        // Another process was as quick.
        Err(_) if out.exists() => Ok(()),
        Err(source) => Err(io("rename", out)(source)),
    }
}

/// What tells one version of the encoder from another: twelve hexadecimal digits.
pub fn default_encoder_version() -> String {
    let mut hash = blake3::Hasher::new();
    for (name, bytes) in FILES {
        hash.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hash.finalize().to_hex()[..12].to_owned()
}
