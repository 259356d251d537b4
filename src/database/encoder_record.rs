//! What a database remembers of the encoder of its vectors: enough to load it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_encoders::{Encoder, Fingerprint, LoadOptions};
use secateur_index::storage::EncoderIdentity;

use crate::encode::{DEFAULT_ENCODER, default_encoder};
use crate::error::{Error, Result};

/// The encoder of a database's vectors, as the database remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderRecord {
    /// What it is called.
    pub name: String,
    /// What it must be for its vectors to compare with those of the database.
    pub fingerprint: Fingerprint,
    /// Where it was and how it was loaded; `None` in a database that was made without saying so.
    pub source: Option<EncoderSource>,
}

impl EncoderRecord {
    /// Loads the encoder from where it was, with the same options. Programs whose encoders stay in their places give
    /// this function to [`Database::open_with`](crate::Database::open_with).
    ///
    /// # Errors
    ///
    /// [`Error::NoEncoderSource`] if the database does not know where it was; those of [`EncoderSource::load`].
    pub fn load(&self) -> Result<Arc<Encoder>> {
        match &self.source {
            Some(source) => Ok(Arc::new(source.load()?)),
            None => Err(Error::NoEncoderSource { name: self.name.clone() }),
        }
    }
}

/// Where an encoder is, and what differs from what its directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderSource {
    /// A model directory, or `default` for the encoder in the box. Or it is a name that the program turns into a
    /// directory, such as OWNER/NAME of the Hugging Face hub.
    pub model: String,
    /// How the encoder is loaded. `base` may be a name, as `model` may. A database does not keep options that change
    /// no vector: the name, the device and the size of batches.
    pub options: LoadOptions,
}

/// The properties of a generation that say where its encoder is. A property is left out if the model's directory
/// decides.
mod key {
    pub const MODEL: &str = "encoder";
    pub const MAX_LENGTH: &str = "max_length";
    pub const POOLING: &str = "pooling";
    pub const QUERY_PROMPT: &str = "query_prompt";
    pub const PASSAGE_PROMPT: &str = "passage_prompt";
    pub const TRUNCATE_DIM: &str = "truncate_dim";
    pub const PRECISION: &str = "precision";
    pub const BASE: &str = "base";
    pub const QUANTIZE: &str = "quantize";
    pub const IGNORED: &str = "ignore_settings";

    pub const ALL: [&str; 10] = [
        MODEL,
        MAX_LENGTH,
        POOLING,
        QUERY_PROMPT,
        PASSAGE_PROMPT,
        TRUNCATE_DIM,
        PRECISION,
        BASE,
        QUANTIZE,
        IGNORED,
    ];
}

impl EncoderSource {
    /// Where an encoder that is loaded came from.
    pub fn of(encoder: &Encoder) -> EncoderSource {
        // What the caller calls it is nowhere; that of a program's own files is their name.
        EncoderSource { model: encoder.directory().display().to_string(), options: encoder.options().clone() }
    }

    /// The same with the precision that the encoder computes in, where that was left open.
    pub(super) fn settled(&self, encoder: &Encoder) -> EncoderSource {
        let options = LoadOptions { precision: encoder.options().precision, ..self.options.clone() };
        EncoderSource { model: self.model.clone(), options }
    }

    /// Loads the encoder in the box, or that of the directory `model`.
    ///
    /// # Errors
    ///
    /// As [`Encoder::load`].
    pub fn load(&self) -> Result<Encoder> {
        if self.model == DEFAULT_ENCODER {
            return default_encoder(&self.options);
        }
        Ok(Encoder::load(Path::new(&self.model), &self.options)?)
    }

    /// As properties of a generation; directories by their absolute paths, so that any folder will do to open the
    /// database.
    pub(super) fn to_properties(source: Option<&EncoderSource>) -> BTreeMap<String, String> {
        let absolute = |reference: &str| match Path::new(reference).canonicalize() {
            Ok(path) if reference != DEFAULT_ENCODER => path.display().to_string(),
            _ => reference.to_owned(),
        };
        let default = LoadOptions::default();
        let options = source.map_or(&default, |source| &source.options);
        let base = options.base.as_ref().map(|base| absolute(&base.to_string_lossy()));
        [
            (key::MODEL, source.map(|source| absolute(&source.model))),
            (key::MAX_LENGTH, options.max_length.map(|length| length.to_string())),
            (key::POOLING, options.pooling.map(|pooling| pooling.to_string())),
            (key::QUERY_PROMPT, options.query_prompt.clone()),
            (key::PASSAGE_PROMPT, options.passage_prompt.clone()),
            (key::TRUNCATE_DIM, options.truncate_dim.map(|dim| dim.to_string())),
            // Always there, as in the databases of old.
            (key::PRECISION, Some(options.precision.unwrap_or_default().to_string())),
            (key::BASE, base),
            (key::QUANTIZE, options.quantize.map(|quantization| quantization.to_string())),
            (key::IGNORED, (!options.ignore_settings.is_empty()).then(|| options.ignore_settings.join(","))),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// Puts this source in the place of the one that properties have.
    pub(super) fn replace(properties: &mut BTreeMap<String, String>, source: &EncoderSource) {
        key::ALL.iter().for_each(|key| drop(properties.remove(*key)));
        properties.extend(EncoderSource::to_properties(Some(source)));
    }

    fn from_properties(properties: &BTreeMap<String, String>) -> Option<EncoderSource> {
        let text = |key| properties.get(key).cloned();
        let options = LoadOptions {
            max_length: text(key::MAX_LENGTH).and_then(|length| length.parse().ok()),
            pooling: text(key::POOLING).and_then(|name| name.parse().ok()),
            query_prompt: text(key::QUERY_PROMPT),
            passage_prompt: text(key::PASSAGE_PROMPT),
            truncate_dim: text(key::TRUNCATE_DIM).and_then(|dim| dim.parse().ok()),
            precision: Some(text(key::PRECISION).and_then(|name| name.parse().ok()).unwrap_or_default()),
            base: text(key::BASE).map(PathBuf::from),
            quantize: text(key::QUANTIZE).and_then(|name| name.parse().ok()),
            ignore_settings: text(key::IGNORED)
                .map_or_else(Vec::new, |keys| keys.split(',').map(str::to_owned).collect()),
            ..LoadOptions::default()
        };
        Some(EncoderSource { model: text(key::MODEL)?, options })
    }
}

impl EncoderRecord {
    pub(super) fn read(identity: &EncoderIdentity, properties: &BTreeMap<String, String>) -> EncoderRecord {
        EncoderRecord {
            name: identity.name.clone(),
            fingerprint: Fingerprint::from_bytes(identity.fingerprint),
            source: EncoderSource::from_properties(properties),
        }
    }
}

#[cfg(test)]
mod tests {
    use secateur_encoders::{Pooling, Precision, Quantization};

    use super::*;

    /// What is kept comes back; what changes no vector is not kept.
    #[test]
    fn sources_are_properties() {
        let options = LoadOptions {
            pooling: Some(Pooling::LastToken),
            max_length: Some(256),
            query_prompt: Some("17".to_owned()),
            passage_prompt: Some(String::new()),
            truncate_dim: Some(64),
            base: Some(PathBuf::from("owner/base")),
            quantize: Some(Quantization::Nf4),
            precision: Some(Precision::Bf16),
            ..LoadOptions::default()
        };
        let source = EncoderSource { model: "owner/model".to_owned(), options };
        let properties = EncoderSource::to_properties(Some(&source));
        let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "base",
                "encoder",
                "max_length",
                "passage_prompt",
                "pooling",
                "precision",
                "quantize",
                "query_prompt",
                "truncate_dim"
            ]
        );
        assert_eq!(EncoderSource::from_properties(&properties).as_ref(), Some(&source));

        let passing = LoadOptions { name: Some("n".to_owned()), batch_tokens: Some(9), ..source.options };
        let named = EncoderSource { model: "owner/model".to_owned(), options: passing };
        assert_eq!(EncoderSource::to_properties(Some(&named)), properties);

        // Another source leaves nothing of the one before, and what is none of a source stays.
        let other = EncoderSource { model: "owner/other".to_owned(), options: LoadOptions::default() };
        let mut replaced = properties.clone();
        replaced.insert("passages".to_owned(), "9,1".to_owned());
        EncoderSource::replace(&mut replaced, &other);
        assert_eq!(replaced.remove("passages").as_deref(), Some("9,1"));
        assert_eq!(replaced, EncoderSource::to_properties(Some(&other)));

        let none = EncoderSource::to_properties(None);
        assert_eq!(none, BTreeMap::from([("precision".to_owned(), "f32".to_owned())]));
        assert_eq!(EncoderSource::from_properties(&none), None);
    }
}
