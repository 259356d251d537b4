//! Texts become the rows of a matrix in a file.

use std::path::Path;

use secateur_encoders::{Encoder, TextKind};
use secateur_files::Journal;

use super::journaled::JournaledEncoding;
use super::stream::{self, Destination, Stage, Vectors};
use crate::error::{Error, Result};
use crate::npy::NpyWriter;

/// Encodes texts and writes their vectors as a .npy file.
///
/// ```
/// use secateur::encode::{LoadOptions, NpyEncoder, TextKind, default_encoder};
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("vectors.npy");
/// let encoder = default_encoder(&LoadOptions::default())?;
/// let texts = ["Prune roses in late winter.", "Bread rises overnight."];
/// let texts = texts.map(|text| Ok::<_, secateur::Error>(text.to_owned()));
/// let rows = NpyEncoder { encoder: &encoder, kind: TextKind::Passage }.write(&path, texts, |_| {})?;
/// assert_eq!(rows, 2);
/// assert_eq!(std::fs::metadata(path)?.len(), 128 + 2 * encoder.dim() as u64 * 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct NpyEncoder<'e> {
    /// What makes the vectors.
    pub encoder: &'e Encoder,
    /// What the texts are.
    pub kind: TextKind,
}

impl NpyEncoder<'_> {
    /// Writes the vectors of the texts (N, D), in their order, and returns N. `progress` is called with the number of
    /// texts done. The vectors are kept in a journal beside the file meanwhile. After an error or a kill, the same
    /// call continues after the last finished chunk, and ends with the same bytes.
    ///
    /// # Errors
    ///
    /// The errors of the items, of the encoder and of the disk. The file appears whole or not at all.
    pub fn write<E>(
        &self,
        path: impl AsRef<Path>,
        texts: impl IntoIterator<Item = std::result::Result<String, E>>,
        progress: impl FnMut(usize),
    ) -> Result<usize>
    where
        Error: From<E>,
    {
        let (path, encoder) = (path.as_ref(), self.encoder);
        let journal = JournaledEncoding::open(&Journal::beside(path), encoder, self.kind)?;
        let file = NpyWriter::create(path, encoder.dim())?;
        let mut matrix = Matrix { file, done: 0, progress };
        let journals = stream::encode(texts, vec![Stage::new(encoder, journal)], &mut matrix)?;
        let Matrix { file, done, .. } = matrix;
        file.finish(done)?;
        journals.into_iter().for_each(JournaledEncoding::remove);
        Ok(done)
    }
}

struct Matrix<'a, P> {
    file: NpyWriter<'a>,
    done: usize,
    progress: P,
}

impl<P: FnMut(usize)> Destination for Matrix<'_, P> {
    type Item = String;

    fn bytes(&self, text: &String) -> usize {
        text.len()
    }

    fn name(&self, _: &String, number: usize) -> String {
        format!("text {}", number + 1)
    }

    fn texts(&self, text: &String, _: usize) -> Result<Vec<String>> {
        Ok(vec![text.clone()])
    }

    fn write(&mut self, texts: Vec<String>, vectors: Vec<Vectors>) -> Result<()> {
        vectors.iter().try_for_each(|vectors| self.file.write(&vectors.rows))?;
        self.done += texts.len();
        (self.progress)(self.done);
        Ok(())
    }
}
