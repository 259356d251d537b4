//! Golden files: texts with the vectors that a model gave them once, or that its reference gives them.
//!
//! One JSON object a line, which a line of Python writes
//! (`json.dumps({"text": text, "kind": "query", "vector": vector.tolist()})`):
//!
//! ```json
//! {"text": "When are roses pruned?", "kind": "query", "vector": [0.0251, -0.0417]}
//! ```
//!
//! `kind` is `query` or `passage`, and `passage` where it is absent; the model's prompt for it is no part of `text`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use secateur_files::{AtPath, Durable};
use serde::{Deserialize, Serialize};

use crate::cosine::cosine;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::text_kind::TextKind;

/// A text and its vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GoldenText {
    /// The text, without a prompt.
    pub text: String,
    /// Whether it is encoded as a query or as a passage.
    #[serde(default = "passage")]
    pub kind: TextKind,
    /// (D)
    pub vector: Vec<f32>,
}

fn passage() -> TextKind {
    TextKind::Passage
}

/// The lines of a golden file: line 1 is the first.
#[derive(Clone, Debug)]
pub struct Golden {
    path: PathBuf,
    texts: Vec<GoldenText>,
}

/// How far a model's vectors are from stored ones. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// How many texts were compared.
    pub texts: usize,
    /// The least cosine of a text's two vectors; 1 if they point the same way.
    pub least_cosine: f64,
    /// Where that is.
    pub least_cosine_line: usize,
    /// The largest difference of two numbers.
    pub largest_difference: f64,
    /// Where that is.
    pub largest_difference_line: usize,
}

impl Golden {
    /// Reads a golden file.
    ///
    /// # Errors
    ///
    /// It cannot be read, a line is not of the form above, or there is none.
    pub fn read(path: impl AsRef<Path>) -> Result<Golden> {
        let path = path.as_ref();
        let file = BufReader::new(File::open(path).at("read", path)?);
        let mut texts = Vec::new();
        let invalid = |line, source| Error::GoldenLine { path: path.to_owned(), line, source };
        for (number, line) in file.lines().enumerate() {
            let text: GoldenText = serde_json::from_str(&line.at("read", path)?)
                .map_err(|source| invalid(number + 1, source.into()))?;
            if !text.vector.iter().all(|x| x.is_finite()) {
                return Err(invalid(number + 1, "a number of the vector is too large for f32".into()));
            }
            texts.push(text);
        }
        if texts.is_empty() {
            return Err(invalid(1, "there is none".into()));
        }
        Ok(Golden { path: path.to_owned(), texts })
    }

    /// Encodes texts and writes them with their vectors to `path`, under a temporary name until the file is whole.
    ///
    /// # Errors
    ///
    /// A text cannot be encoded, or the file cannot be written.
    pub fn record(encoder: &Encoder, texts: &[(&str, TextKind)], path: impl AsRef<Path>) -> Result<Golden> {
        let path = path.as_ref();
        let golden = texts.iter().map(|(text, kind)| {
            let vector = encoder.encode(&[text], *kind)?;
            Ok(GoldenText { text: (*text).to_owned(), kind: *kind, vector })
        });
        let golden = Golden { path: path.to_owned(), texts: golden.collect::<Result<_>>()? };
        Durable::write(path, |file| {
            golden.texts.iter().try_for_each(|text| {
                serde_json::to_writer(&mut *file, text)?;
                file.write_all(b"\n")
            })
        })?;
        Ok(golden)
    }

    /// Its texts, in the order of the lines.
    pub fn texts(&self) -> &[GoldenText] {
        &self.texts
    }

    /// Encodes every text and compares the vectors with the stored ones.
    ///
    /// # Errors
    ///
    /// A text cannot be encoded, or its stored vector has another length than the encoder's.
    pub fn compare(&self, encoder: &Encoder) -> Result<Comparison> {
        let dim = encoder.dim();
        if let Some(line) = self.texts.iter().position(|text| text.vector.len() != dim) {
            return Err(Error::GoldenDimension {
                path: self.path.clone(),
                line: line + 1,
                expected: dim,
                found: self.texts[line].vector.len(),
            });
        }
        let mut comparison = Comparison {
            texts: self.texts.len(),
            least_cosine: f64::INFINITY,
            least_cosine_line: 0,
            largest_difference: f64::NEG_INFINITY,
            largest_difference_line: 0,
        };
        for kind in [TextKind::Query, TextKind::Passage] {
            let (lines, texts): (Vec<usize>, Vec<&GoldenText>) =
                self.texts.iter().enumerate().filter(|(_, text)| text.kind == kind).unzip();
            let strings: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
            let vectors = encoder.encode(&strings, kind)?;
            for ((line, text), vector) in lines.into_iter().zip(texts).zip(vectors.chunks_exact(dim)) {
                comparison.add(line + 1, vector, &text.vector);
            }
        }
        Ok(comparison)
    }
}

impl Comparison {
    fn add(&mut self, line: usize, got: &[f32], want: &[f32]) {
        let is_zero = |vector: &[f32]| vector.iter().all(|x| *x == 0.0);
        // Two vectors of zeros are the same answer.
        let cosine = if is_zero(got) && is_zero(want) { 1.0 } else { cosine(got, want) };
        if cosine < self.least_cosine {
            (self.least_cosine, self.least_cosine_line) = (cosine, line);
        }
        let differences = got.iter().zip(want).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        let difference = differences.fold(0.0, f64::max);
        if difference > self.largest_difference {
            (self.largest_difference, self.largest_difference_line) = (difference, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_line_is_named() {
        let mut comparison = Comparison {
            texts: 3,
            least_cosine: f64::INFINITY,
            least_cosine_line: 0,
            largest_difference: f64::NEG_INFINITY,
            largest_difference_line: 0,
        };
        comparison.add(1, &[1.0, 0.0], &[1.0, 0.0]);
        comparison.add(2, &[3.0, 4.0], &[4.0, 3.0]);
        comparison.add(3, &[8.0, 0.0], &[2.0, 0.0]);
        assert_eq!((comparison.least_cosine, comparison.least_cosine_line), (0.96, 2));
        assert_eq!((comparison.largest_difference, comparison.largest_difference_line), (6.0, 3));
        comparison.add(4, &[0.0], &[0.0]);
        assert_eq!(comparison.least_cosine_line, 2, "zeros are equal");
        comparison.add(5, &[0.0], &[1.0]);
        assert_eq!((comparison.least_cosine, comparison.least_cosine_line), (0.0, 5));
    }

    #[test]
    fn faulty_lines_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("golden.jsonl");
        let good = r#"{"text": "a", "vector": [1]}"#;
        for (text, want) in [
            (format!("{good}\n{{\n"), "line 2"),
            (format!("{good}\n\n{good}\n"), "line 2"),
            (r#"{"text": "a"}"#.to_owned(), "missing field `vector`"),
            (r#"{"text": "a", "kind": "document", "vector": [1]}"#.to_owned(), "unknown variant `document`"),
            (r#"{"text": "a", "vector": [1e39]}"#.to_owned(), "too large for f32"),
            (String::new(), "line 1 is not a text with its vector: there is none"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Golden::read(&path).unwrap_err().to_string();
            assert!(message.contains("golden.jsonl") && message.contains(want), "{message}");
        }
        std::fs::write(&path, good).unwrap();
        let golden = Golden::read(&path).unwrap();
        assert_eq!(golden.texts()[0].kind, TextKind::Passage);
    }
}
