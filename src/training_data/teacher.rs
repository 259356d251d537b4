//! What says how well a passage answers a query.

use std::collections::HashMap;
use std::path::Path;

use secateur_encoders::{CrossEncoder, Encoder, Fingerprint, LoadOptions, TextKind};

use crate::error::Result;

/// A model that scores passages for queries: a cross-encoder, or an encoder.
pub enum Teacher {
    /// Its logits.
    CrossEncoder(CrossEncoder),
    /// The cosine of the two vectors, each with the prompt that the model puts before texts of its kind.
    Encoder(Encoder),
}

impl Teacher {
    /// Loads a model directory: a cross-encoder if its config.json names a class of sequence classification, or else an
    /// encoder.
    ///
    /// # Errors
    ///
    /// As [`CrossEncoder::load`] and [`Encoder::load`].
    pub fn load(directory: &Path, options: &LoadOptions) -> Result<Teacher> {
        Ok(if CrossEncoder::is_in(directory, options)? {
            Teacher::CrossEncoder(CrossEncoder::load(directory, options)?)
        } else {
            Teacher::Encoder(Encoder::load(directory, options)?)
        })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Teacher::CrossEncoder(model) => model.name(),
            Teacher::Encoder(model) => model.name(),
        }
    }

    /// What makes it the teacher it is.
    pub fn fingerprint(&self) -> &Fingerprint {
        match self {
            Teacher::CrossEncoder(model) => model.fingerprint(),
            Teacher::Encoder(model) => model.fingerprint(),
        }
    }

    /// The score of each (query, passage): (B) -> (B), higher is better. A pair's score does not depend on the other
    /// pairs.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a score is not finite.
    pub fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        match self {
            Teacher::CrossEncoder(model) => Ok(model.score(pairs)?),
            Teacher::Encoder(model) => {
                let queries = Vectors::encode(model, pairs.iter().map(|pair| pair.0), TextKind::Query)?;
                let passages = Vectors::encode(model, pairs.iter().map(|pair| pair.1), TextKind::Passage)?;
                let cosines =
                    pairs.iter().map(|(query, passage)| cosine(queries.of(query), passages.of(passage)));
                Ok(cosines.collect())
            }
        }
    }
}

/// The vectors of texts, each text encoded once.
struct Vectors<'t> {
    rows: Vec<f32>,
    dim: usize,
    places: HashMap<&'t str, usize>,
}

impl<'t> Vectors<'t> {
    fn encode(
        encoder: &Encoder,
        texts: impl Iterator<Item = &'t str>,
        kind: TextKind,
    ) -> Result<Vectors<'t>> {
        let (mut places, mut unique) = (HashMap::new(), Vec::new());
        for text in texts {
            places.entry(text).or_insert_with(|| {
                unique.push(text);
                unique.len() - 1
            });
        }
        Ok(Vectors { rows: encoder.encode(&unique, kind)?, dim: encoder.dim(), places })
    }

    fn of(&self, text: &str) -> &[f32] {
        let place = self.places[text];
        &self.rows[place * self.dim..(place + 1) * self.dim]
    }
}

/// The cosine of two vectors, 0 if one of them is 0.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 { 0.0 } else { (dot(a, b) / norms) as f32 }
}

#[cfg(test)]
mod tests {
    use super::cosine;

    #[test]
    fn cosines_by_hand() {
        for (a, b, want) in [
            ([3.0, 4.0], [4.0, 3.0], 0.96),
            ([1.0, 0.0], [0.0, 7.0], 0.0),
            ([2.0, 2.0], [-1.0, -1.0], -1.0),
            ([0.0, 0.0], [1.0, 1.0], 0.0),
        ] {
            // Computed in f64 from values that are exact: one rounding to f32.
            assert!((cosine(&a, &b) - want).abs() <= f32::EPSILON, "{a:?} {b:?}");
        }
    }
}
