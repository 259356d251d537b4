//! What a student learns the vectors and the ranking of.

use super::teacher_vectors::TeacherVectors;
use crate::contrastive::loss::{Target, dot};
use crate::encoder::Encoder;
use crate::error::Result;
use crate::pooling::normalize;
use crate::text_kind::TextKind;

/// A teacher: a model that reads each batch, or what it has made of the texts before.
pub(super) enum Teaching {
    Encoder(Box<Encoder>),
    Vectors(TeacherVectors),
}

impl Teaching {
    /// What it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Teaching::Encoder(encoder) => encoder.name().to_owned(),
            Teaching::Vectors(vectors) => vectors.name(),
        }
    }

    /// What makes it the teacher it is.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        match self {
            Teaching::Encoder(encoder) => encoder.fingerprint().as_bytes(),
            Teaching::Vectors(vectors) => vectors.teacher(),
        }
    }

    /// D, the length of its vectors.
    pub(super) fn dim(&self) -> usize {
        match self {
            Teaching::Encoder(encoder) => encoder.dim(),
            Teaching::Vectors(vectors) => vectors.dim(),
        }
    }

    fn vectors(&self, texts: &[&str], kind: TextKind) -> Result<Vec<f32>> {
        match self {
            Teaching::Encoder(encoder) => encoder.encode(texts, kind),
            Teaching::Vectors(vectors) => vectors.vectors(texts, kind),
        }
    }

    /// Its vectors of the texts of a batch, of length 1, and its cosines of each query with all passages as the
    /// targets' scores.
    pub(super) fn teach(
        &self,
        all: &[(&str, TextKind)],
        num_queries: usize,
        targets: &mut [Target],
    ) -> Result<Vec<f32>> {
        let texts: Vec<&str> = all.iter().map(|(text, _)| *text).collect();
        let (queries, passages) = texts.split_at(num_queries);
        let dim = self.dim();
        let mut vectors = self.vectors(queries, TextKind::Query)?;
        vectors.extend(self.vectors(passages, TextKind::Passage)?);
        normalize(&mut vectors, dim);
        let wide: Vec<f64> = vectors.iter().map(|x| f64::from(*x)).collect();
        let (queries, passages) = wide.split_at(num_queries * dim);
        for (target, query) in targets.iter_mut().zip(queries.chunks_exact(dim)) {
            let scores = passages.chunks_exact(dim).map(|passage| dot(passage, query));
            target.teacher = scores.enumerate().collect();
        }
        Ok(vectors)
    }
}
