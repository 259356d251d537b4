//! What says how well a passage answers a query.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use secateur_encoders::{CrossEncoder, Encoder, Fingerprint, LoadOptions, Notice, TextKind, cosine};

use crate::encode::ScorePairs;
use crate::error::Result;

/// A model that scores passages for queries. A cross-encoder gives logits. An encoder gives the cosine of the two
/// vectors, each made with the model's prompt for its kind of text.
pub struct Teacher(Model);

enum Model {
    CrossEncoder(Box<CrossEncoder>),
    Encoder { encoder: Box<Encoder>, vectors: Mutex<Vectors> },
}

impl Teacher {
    /// Loads a model directory: a cross-encoder if its config.json names a class of sequence classification, or else an
    /// encoder.
    ///
    /// # Errors
    ///
    /// As [`CrossEncoder::load`] and [`Encoder::load`].
    pub fn load(directory: impl AsRef<Path>, options: &LoadOptions) -> Result<Teacher> {
        let directory = directory.as_ref();
        Ok(Teacher(if CrossEncoder::is_in(directory, options)? {
            Model::CrossEncoder(Box::new(CrossEncoder::load(directory, options)?))
        } else {
            return Ok(Encoder::load(directory, options)?.into());
        }))
    }

    /// Whether it is a cross-encoder.
    pub fn is_cross_encoder(&self) -> bool {
        matches!(self.0, Model::CrossEncoder(_))
    }

    /// The encoder that it is, if it is one.
    pub fn encoder(&self) -> Option<&Encoder> {
        match &self.0 {
            Model::CrossEncoder(_) => None,
            Model::Encoder { encoder, .. } => Some(encoder),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match &self.0 {
            Model::CrossEncoder(model) => model.name(),
            Model::Encoder { encoder, .. } => encoder.name(),
        }
    }

    /// What makes it the teacher it is.
    pub fn fingerprint(&self) -> &Fingerprint {
        match &self.0 {
            Model::CrossEncoder(model) => model.fingerprint(),
            Model::Encoder { encoder, .. } => encoder.fingerprint(),
        }
    }

    /// What the model's files do not say, and what is assumed in its place.
    pub fn notices(&self) -> &[Notice] {
        match &self.0 {
            Model::CrossEncoder(model) => model.notices(),
            Model::Encoder { encoder, .. } => encoder.notices(),
        }
    }

    /// The score of each (query, passage): (B) -> (B), higher is better. A pair's score does not depend on the other
    /// pairs. Up to 256 MB of an encoder's vectors are kept, because a passage is often mined for many queries.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a score is not finite.
    pub fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        let (encoder, vectors) = match &self.0 {
            Model::CrossEncoder(model) => return Ok(model.score(pairs)?),
            Model::Encoder { encoder, vectors } => (encoder, vectors),
        };
        // What a panic has left is whole: vectors are added one by one.
        let mut vectors = vectors.lock().unwrap_or_else(PoisonError::into_inner);
        let queries = vectors.of(encoder, pairs.iter().map(|pair| pair.0), TextKind::Query)?;
        let passages = vectors.of(encoder, pairs.iter().map(|pair| pair.1), TextKind::Passage)?;
        Ok(pairs.iter().map(|(query, passage)| cosine(&queries[query], &passages[passage]) as f32).collect())
    }
}

impl From<Encoder> for Teacher {
    fn from(encoder: Encoder) -> Teacher {
        Teacher(Model::Encoder { encoder: Box::new(encoder), vectors: Mutex::new(Vectors::new(MAX_NUMBERS)) })
    }
}

impl ScorePairs for Teacher {
    fn score_pairs(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        self.score(pairs)
    }
}

/// How many numbers of vectors a teacher keeps: 256 MB.
const MAX_NUMBERS: usize = 64 << 20;

/// Vectors by a hash of their texts.
struct Vectors {
    known: HashMap<blake3::Hash, Arc<[f32]>>,
    num_numbers: usize,
    max_numbers: usize,
}

impl Vectors {
    fn new(max_numbers: usize) -> Vectors {
        Vectors { known: HashMap::new(), num_numbers: 0, max_numbers }
    }

    /// The vector of each text, of which those that are not known are encoded, once.
    fn of<'t>(
        &mut self,
        encoder: &Encoder,
        texts: impl Iterator<Item = &'t str>,
        kind: TextKind,
    ) -> Result<HashMap<&'t str, Arc<[f32]>>> {
        self.of_texts(texts, kind, |unknown| Ok(encoder.encode(unknown, kind)?))
    }

    fn of_texts<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t str>,
        kind: TextKind,
        encode: impl FnOnce(&[&str]) -> Result<Vec<f32>>,
    ) -> Result<HashMap<&'t str, Arc<[f32]>>> {
        let key = |text: &str| blake3::Hasher::new().update(&[kind as u8]).update(text.as_bytes()).finalize();
        let (mut found, mut unknown) = (HashMap::new(), Vec::new());
        for text in texts {
            found.entry(text).or_insert_with(|| {
                let known = self.known.get(&key(text)).cloned();
                if known.is_none() {
                    unknown.push(text);
                }
                // Replaced by the vector when it is encoded.
                known.unwrap_or_default()
            });
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let rows = encode(&unknown)?;
        for (text, row) in unknown.iter().zip(rows.chunks_exact(rows.len() / unknown.len())) {
            if self.num_numbers + row.len() > self.max_numbers {
                self.known.clear();
                self.num_numbers = 0;
            }
            let row: Arc<[f32]> = row.into();
            self.num_numbers += row.len();
            self.known.insert(key(text), Arc::clone(&row));
            found.insert(text, row);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_encoded_once_while_there_is_room() {
        // Vectors of two numbers: the length of the text and its kind.
        let ask = |vectors: &mut Vectors, texts: &[&'static str], kind: TextKind| {
            let mut encoded = Vec::new();
            let found = vectors.of_texts(texts.iter().copied(), kind, |unknown| {
                encoded = unknown.iter().map(|text| (*text).to_owned()).collect();
                Ok(unknown.iter().flat_map(|text| [text.len() as f32, kind as u8 as f32]).collect())
            });
            for (text, vector) in found.unwrap() {
                assert_eq!(&vector[..], [text.len() as f32, kind as u8 as f32], "{text}");
            }
            encoded
        };
        let mut vectors = Vectors::new(8);
        assert_eq!(ask(&mut vectors, &["a", "bb", "a"], TextKind::Passage), ["a", "bb"]);
        assert_eq!(ask(&mut vectors, &["bb", "a"], TextKind::Passage), [""; 0]);
        assert_eq!(ask(&mut vectors, &["a"], TextKind::Query), ["a"], "a query is another text");
        // Room for four vectors. The fifth empties the store, and every score is right all the same.
        assert_eq!(ask(&mut vectors, &["a", "ccc", "dddd"], TextKind::Passage), ["ccc", "dddd"]);
        assert_eq!(vectors.known.len(), 1);
        assert_eq!(ask(&mut vectors, &["dddd", "a"], TextKind::Passage), ["a"]);
    }
}
