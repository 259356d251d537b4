//! A teacher's vectors of training texts, made once and kept in a file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use secateur_datasets::triples::{Examples, TrainingExample};
use secateur_encoders::train::{TeacherVectors, TextKey};
use secateur_encoders::{Encoder, TextKind};
use secateur_files::Journal;

use crate::error::Result;
use crate::training_error::TrainingError;

/// Texts whose vectors are kept together. So many are encoded at a time that texts of one length find each other. An
/// interruption loses some minutes of a large teacher's work.
const CHUNK: usize = 1024;

/// Writes the file `output` with the teacher's vectors of all texts of some files of examples: queries, positives and
/// negatives, each text once. Prompts are the teacher's own, and texts are cut where it cuts them. `progress` is called
/// with the number of texts done. Returns their number.
///
/// [`TrainOptions`](super::TrainOptions) learns from such files by `loss.teacher_vectors`. Vectors are kept in the file
/// OUTPUT.journal, and the same call continues from there. The output is the same, byte for byte, as without an
/// interruption. Memory: about 64 bytes a text.
///
/// # Errors
///
/// An input has a bad line, or is the output. The errors of the teacher and of the disk. The journal is one of other
/// work. The output appears whole or not at all.
pub fn teach_vectors(
    inputs: &[PathBuf],
    output: &Path,
    teacher: &Encoder,
    mut progress: impl FnMut(u64),
) -> Result<u64> {
    if let Ok(output) = output.canonicalize()
        && inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == output))
    {
        return Err(TrainingError::SameFile { path: output }.into());
    }
    let key = blake3::hash(format!("teach --vectors 1 {}", teacher.fingerprint()).as_bytes());
    let mut work = Work {
        teacher,
        journal: Journal::open(&Journal::beside(output), key.into(), 0)?,
        keys: Vec::new(),
        num_chunks: 0,
        chunk: Vec::new(),
    };
    each_text(inputs, |key, kind, text| {
        work.chunk.push((key, kind, text));
        if work.chunk.len() == CHUNK {
            work.finish_chunk()?;
            progress(work.keys.len() as u64);
        }
        Ok(())
    })?;
    work.finish_chunk()?;
    progress(work.keys.len() as u64);
    // What is left of a longer list is not of these texts.
    work.journal.truncate(work.num_chunks)?;
    let rows = (0..work.num_chunks).map(|number| -> Result<Vec<u8>> {
        let record = work.journal.get(number)?;
        Ok(record.expect("every chunk that was counted is in the journal").bytes)
    });
    TeacherVectors::write(output, teacher, &work.keys, rows)?;
    work.journal.remove();
    Ok(work.keys.len() as u64)
}

/// How many different texts the files of examples have.
///
/// # Errors
///
/// A file cannot be read, or has a bad line.
pub fn count_texts(inputs: &[PathBuf]) -> Result<u64> {
    let mut count = 0;
    each_text(inputs, |_, _, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Calls `on` with each text of the examples, once.
fn each_text(inputs: &[PathBuf], mut on: impl FnMut(TextKey, TextKind, String) -> Result<()>) -> Result<()> {
    let mut seen = HashSet::new();
    for input in inputs {
        for example in Examples::open(input, None)? {
            for (kind, text) in texts(example?, true) {
                let key = TextKey::of(&text, kind);
                if seen.insert(key) {
                    on(key, kind, text)?;
                }
            }
        }
    }
    Ok(())
}

/// The texts of an example.
pub(super) fn texts(
    example: TrainingExample,
    with_negatives: bool,
) -> impl Iterator<Item = (TextKind, String)> {
    let negatives = example.negatives.into_iter().filter(move |_| with_negatives);
    let passages = example.positives.into_iter().chain(negatives);
    let passages = passages.map(|passage| (TextKind::Passage, passage));
    std::iter::once((TextKind::Query, example.query)).chain(passages)
}

struct Work<'t> {
    teacher: &'t Encoder,
    /// The rows of each chunk, with the hash of its keys.
    journal: Journal,
    /// Those of all texts so far.
    keys: Vec<TextKey>,
    num_chunks: usize,
    chunk: Vec<(TextKey, TextKind, String)>,
}

impl Work<'_> {
    /// Takes the vectors of the chunk from the journal, or makes and keeps them.
    fn finish_chunk(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut hasher = blake3::Hasher::new();
        self.chunk.iter().for_each(|(key, _, _)| {
            hasher.update(key.as_bytes());
        });
        let hash: [u8; 32] = hasher.finalize().into();
        let number = self.num_chunks;
        if self.journal.get(number)?.is_none_or(|stored| stored.hash != hash) {
            // The texts have changed from here on.
            self.journal.truncate(number)?;
            let rows = self.rows()?;
            self.journal.append(hash, &rows)?;
        }
        self.num_chunks += 1;
        self.keys.extend(self.chunk.drain(..).map(|(key, _, _)| key));
        Ok(())
    }

    /// The vectors of the chunk, in its order.
    fn rows(&self) -> Result<Vec<u8>> {
        let mut places: Vec<(usize, Vec<u8>)> = Vec::with_capacity(self.chunk.len());
        for kind in [TextKind::Query, TextKind::Passage] {
            let texts = self.chunk.iter().enumerate().filter(|(_, (_, of, _))| *of == kind);
            let (numbers, texts): (Vec<usize>, Vec<&str>) =
                texts.map(|(number, (_, _, text))| (number, text.as_str())).unzip();
            if !texts.is_empty() {
                let rows = TeacherVectors::rows(self.teacher, &texts, kind)?;
                let rows = rows.chunks_exact(rows.len() / texts.len()).map(<[u8]>::to_vec);
                places.extend(numbers.into_iter().zip(rows));
            }
        }
        places.sort_unstable_by_key(|(number, _)| *number);
        Ok(places.into_iter().flat_map(|(_, row)| row).collect())
    }
}
