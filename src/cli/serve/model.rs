//! Encoders and cross-encoders, as the server asks for them.

use std::sync::Arc;

use secateur::encode::CrossEncoder;
use secateur::encoders::{Result, TextKind};
use secateur::{Encoder, Error};
use secateur_serve::{Embedder, EmbedderFacts, Fault, Kind, Scorer};

use super::fault;

/// An encoder that is served.
pub struct ServedEncoder {
    encoder: Arc<Encoder>,
    facts: EmbedderFacts,
}

impl ServedEncoder {
    pub fn new(encoder: Arc<Encoder>) -> ServedEncoder {
        let settings = encoder.settings();
        let facts = EmbedderFacts {
            name: encoder.name().to_owned(),
            fingerprint: encoder.fingerprint().to_string(),
            dim: encoder.dim(),
            max_tokens: encoder.max_length(),
            vocabulary: encoder.architecture().vocab_size,
            normalizes: settings.normalize,
            pooling: settings.pooling.to_string(),
            precision: encoder.options().precision.unwrap_or_default().to_string(),
        };
        ServedEncoder { encoder, facts }
    }
}

fn kind_of(kind: Kind) -> TextKind {
    match kind {
        Kind::Query => TextKind::Query,
        Kind::Passage => TextKind::Passage,
    }
}

fn answered<T>(result: Result<T>) -> std::result::Result<T, Fault> {
    result.map_err(|error| fault::of(&Error::from(error)))
}

impl Embedder for ServedEncoder {
    fn facts(&self) -> &EmbedderFacts {
        &self.facts
    }

    fn tokenize(&self, texts: &[&str], kind: Kind) -> std::result::Result<Vec<Vec<u32>>, Fault> {
        answered(self.encoder.tokenize(texts, kind_of(kind)))
    }

    fn is_cut(&self, text: &str, kind: Kind, tokens: &[u32]) -> std::result::Result<bool, Fault> {
        let settings = self.encoder.settings();
        let (length, prompt) = match kind {
            Kind::Query => (settings.query_length, &settings.query_prompt),
            Kind::Passage => (settings.passage_length, &settings.passage_prompt),
        };
        // One that is shorter than may be is whole.
        if tokens.len() < length.unwrap_or(settings.max_length).min(settings.max_length) {
            return Ok(false);
        }
        let whole = answered(self.encoder.token_ranges(&format!("{prompt}{text}")))?.len();
        let special = answered(self.encoder.tokenize(&[""], kind_of(kind)))?.first().map_or(0, Vec::len);
        let prompt = answered(self.encoder.token_ranges(prompt))?.len();
        Ok(whole + special.saturating_sub(prompt) > tokens.len())
    }

    fn embed(&self, tokens: &[Vec<u32>], kind: Kind) -> std::result::Result<Vec<f32>, Fault> {
        answered(self.encoder.encode_tokens(tokens, kind_of(kind)))
    }
}

/// A cross-encoder that is served.
pub struct ServedScorer(pub CrossEncoder);

impl Scorer for ServedScorer {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn max_tokens(&self) -> usize {
        self.0.max_length()
    }

    fn score(&self, pairs: &[(&str, &str)]) -> std::result::Result<Vec<f32>, Fault> {
        answered(self.0.score(pairs))
    }
}
