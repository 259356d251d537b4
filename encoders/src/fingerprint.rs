//! What makes two encoders the same: a hash over everything that shapes a vector.

use std::fmt;
use std::str::FromStr;

use secateur_files::AtPath;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::after_pooling::Finish;
use crate::compute::precision::Precision;
use crate::error::Result;
use crate::settings::{EncoderSettings, Purpose};
use crate::weights::adapter::Adapter;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::{ModelFiles, TOKENIZER_FILES};
use crate::weights::quantized::Quantization;
use crate::weights::shards::{Shards, StoredTensor};

/// A hash over an encoder's weights, configuration, tokenizer, pooling, prompts and maximum length.
///
/// Two encoders with the same fingerprint give the same vectors on one machine. Vectors of different fingerprints are
/// not comparable. BLAKE3, 32 bytes; shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The fingerprint with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }

    /// That of the same encoder without some sub-layers: [`losses`](crate::architecture::Remaining::losses_of) names
    /// them.
    pub(crate) fn without(&self, losses: &str) -> Fingerprint {
        let mut fields = Fields(blake3::Hasher::new());
        fields.add("encoder", &self.0);
        fields.add("dropped", losses.as_bytes());
        Fingerprint(*fields.0.finalize().as_bytes())
    }

    /// The fingerprint of the encoder with linear layers multiplied in `precision`, where `own` is that of its files.
    pub(crate) fn computed_in(self, precision: Precision, own: Precision) -> Fingerprint {
        // What the files say is what fingerprints have always meant.
        if precision == own {
            return self;
        }
        let mut fields = Fields(blake3::Hasher::new());
        fields.add("encoder", &self.0);
        fields.add("precision", precision.to_string().as_bytes());
        Fingerprint(*fields.0.finalize().as_bytes())
    }

    pub(crate) fn of(parts: &FingerprintInput<'_>) -> Result<Fingerprint> {
        let mut fields = Fields(blake3::Hasher::new());
        fields.add_parts(parts, Fields::add_tensors)?;
        Ok(Fingerprint(*fields.0.finalize().as_bytes()))
    }

    /// A hash that is another if the fingerprint is, found without reading the weights: from what their files are like.
    /// `None` if that does not tell, as for weights in memory or files that were written just now. What is packed
    /// depends on the purpose: a cross-encoder has a head.
    pub(crate) fn key(parts: &FingerprintInput<'_>, purpose: Purpose) -> Result<Option<Fingerprint>> {
        let shards = [Some(parts.stored), parts.adapter.map(Adapter::shards)];
        let finish = parts.finish.checkpoints().iter().map(Checkpoint::shards);
        if shards.into_iter().flatten().chain(finish).any(|shards| shards.stamps().is_none()) {
            return Ok(None);
        }
        let mut fields = Fields(blake3::Hasher::new());
        fields.add("key", b"1");
        if purpose == Purpose::Score {
            fields.add("purpose", b"score");
        }
        fields.add_parts(parts, |fields, shards| {
            for stamp in shards.stamps().into_iter().flatten() {
                fields.add("stamp", &stamp.to_bytes());
            }
        })?;
        Ok(Some(Fingerprint(*fields.0.finalize().as_bytes())))
    }
}

/// What makes an encoder what it is.
pub(crate) struct FingerprintInput<'a> {
    pub(crate) files: &'a ModelFiles,
    pub(crate) settings: &'a EncoderSettings,
    pub(crate) stored: &'a Shards,
    pub(crate) adapter: Option<&'a Adapter>,
    /// What comes after the pooling.
    pub(crate) finish: &'a Finish,
    pub(crate) quantization: Option<Quantization>,
}

/// Named byte strings, each with its length, so that no two lists of them hash alike.
struct Fields(blake3::Hasher);

impl Fields {
    /// Adds everything that shapes a vector; `add_weights` adds those of the model and of the adapter.
    fn add_parts(
        &mut self,
        parts: &FingerprintInput<'_>,
        add_weights: impl Fn(&mut Fields, &Shards),
    ) -> Result<()> {
        let FingerprintInput { files, settings, stored, adapter, finish, quantization } = *parts;
        let fields = self;
        // tokenizer_config.json and special_tokens_map.json decide about special tokens, so they count; how the files
        // are sharded does not.
        fields.add("config.json", &files.config_bytes()?);
        let tokenizer = files.tokenizer();
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
            fields.add(file, &tokenizer.read(file)?.unwrap_or_default());
        }
        // What a tokenizer is made of where there is no tokenizer.json.
        if !tokenizer.contains("tokenizer.json") {
            for file in TOKENIZER_FILES.iter().chain(&["merges.txt", "added_tokens.json"]) {
                if let Some(bytes) = tokenizer.read(file)? {
                    fields.add(file, &bytes);
                }
            }
        }
        let EncoderSettings {
            pooling,
            truncate_dim,
            normalize,
            max_length,
            query_length,
            passage_length,
            modules,
            query_prompt,
            passage_prompt,
            pool_prompt,
            lower_case,
            similarity: _,
            dense_weight: _,
        } = settings;
        fields.add("pooling", pooling.to_string().as_bytes());
        fields.add("truncate_dim", &(truncate_dim.unwrap_or(0) as u64).to_le_bytes());
        fields.add("normalize", &[u8::from(*normalize)]);
        fields.add("max_length", &(*max_length as u64).to_le_bytes());
        fields.add("query_prompt", query_prompt.as_bytes());
        fields.add("passage_prompt", passage_prompt.as_bytes());
        fields.add("pool_prompt", &[u8::from(*pool_prompt)]);
        fields.add("lower_case", &[u8::from(*lower_case)]);
        // What most models do not have is absent where it is not there, so that fingerprints of old remain.
        for (name, length) in [("query_length", query_length), ("passage_length", passage_length)] {
            if let Some(length) = length {
                fields.add(name, &(*length as u64).to_le_bytes());
            }
        }
        for module in modules {
            fields.add("module", &serde_json::to_vec(module).expect("a module is JSON"));
        }
        for key in files.ignored() {
            fields.add("ignored", key.as_bytes());
        }
        if let Some(quantization) = quantization {
            fields.add("quantization", quantization.to_string().as_bytes());
        }
        add_weights(fields, stored);
        for checkpoint in finish.checkpoints() {
            add_weights(fields, checkpoint.shards());
        }
        if let Some(adapter) = adapter {
            let path = adapter.directory().join("adapter_config.json");
            let bytes = std::fs::read(&path).at("read", &path)?;
            fields.add("adapter_config.json", &bytes);
            add_weights(fields, adapter.shards());
        }
        Ok(())
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update_rayon(part);
        }
    }

    fn add_tensors(&mut self, shards: &Shards) {
        let begin = |fields: &mut Fields, tensor: &StoredTensor<'_>| {
            fields.add("tensor", tensor.name.as_bytes());
            fields.add("dtype", tensor.dtype().as_bytes());
            let shape: Vec<u8> = tensor.shape.iter().flat_map(|n| (*n as u64).to_le_bytes()).collect();
            fields.add("shape", &shape);
            fields.add_length("elements", tensor.bytes.len());
        };
        shards.read_all(self, begin, |fields, chunk| {
            fields.0.update_rayon(chunk);
        });
    }

    /// The beginning of what `add` hashes: the bytes follow.
    fn add_length(&mut self, name: &str, length: usize) {
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(length as u64).to_le_bytes());
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(digits: &str) -> std::result::Result<Fingerprint, InvalidFingerprint> {
        let invalid = || InvalidFingerprint { found: digits.to_owned() };
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(invalid());
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// A string is not a fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("{found:?} is not a fingerprint: expected 64 hexadecimal digits")]
pub struct InvalidFingerprint {
    found: String,
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Fingerprint, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
