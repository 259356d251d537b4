//! Vectors that are kept as they are made, so that encoding can stop at any moment and go on where it stopped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use secateur_encoders::{Encoder, TextKind};
use secateur_index::storage::EmbeddingJournal;

use crate::error::{Error, Result};

/// The most texts of an entry of the journal. It is the same for every encoder, so that each finds what another run
/// left.
pub(crate) const CHUNK_TEXTS: usize = 128;

/// Items that are read together have at most about so many bytes, so that long texts do not fill the memory.
pub(crate) const CHUNK_BYTES: usize = 4 << 20;

/// The hash of the texts of a chunk.
pub(crate) type Hash = [u8; 32];

/// The journal of what an encoder makes of a corpus, so that the same chunks need not be encoded again.
///
/// A chunk that was changed, say because a line of the corpus was mended, is encoded anew, and the others are still
/// found. If the first two chunks are not in the journal, it is of other texts, and may be the work of hours. That is
/// an error, and nothing is written.
pub(crate) struct JournaledEncoding {
    path: PathBuf,
    journal: EmbeddingJournal,
    kind: TextKind,
    /// The number of the next chunk.
    next: usize,
    /// The entries by their texts, once a chunk is not in its place.
    by_texts: Option<HashMap<Hash, usize>>,
    /// Whether the journal is known to be of these texts.
    is_ours: bool,
    /// Whether a chunk was missed before that was known.
    is_one_missing: bool,
    /// The vectors of that chunk, until another one shows that the journal is of these texts.
    held: Option<(Hash, Vec<f32>)>,
}

impl JournaledEncoding {
    pub(crate) fn open(path: &Path, encoder: &Encoder, kind: TextKind) -> Result<JournaledEncoding> {
        let mut key = blake3::Hasher::new();
        key.update(encoder.fingerprint().as_bytes()).update(format!("{kind:?}").as_bytes());
        let journal = EmbeddingJournal::open(path, key.finalize().into(), encoder.dim())?;
        // A single chunk is the work of seconds. If it is not of these texts, they were most likely mended.
        let (path, is_ours) = (path.to_owned(), journal.len() <= 1);
        Ok(JournaledEncoding {
            path,
            journal,
            kind,
            next: 0,
            by_texts: None,
            is_ours,
            is_one_missing: false,
            held: None,
        })
    }

    /// What the texts are.
    pub(crate) fn kind(&self) -> TextKind {
        self.kind
    }

    /// The vectors (B, D) of the next texts, from the journal where it holds them. `encode` makes the others, and they
    /// are kept.
    pub(crate) fn rows_by(
        &mut self,
        texts: &[String],
        mut encode: impl FnMut(&[&str]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let mut rows = Vec::new();
        for texts in texts.chunks(CHUNK_TEXTS) {
            let hash = hash(texts);
            rows.extend(match self.look_up(hash)? {
                Some(kept) => kept,
                None => {
                    let made = encode(&borrowed(texts))?;
                    self.keep(hash, &made)?;
                    made
                }
            });
        }
        Ok(rows)
    }

    /// The vectors (B, D) of the next chunk, of at most [`CHUNK_TEXTS`] texts with this hash, if the journal has them.
    /// If it has none and seems to be of other texts, that is an error.
    pub(crate) fn look_up(&mut self, hash: Hash) -> Result<Option<Vec<f32>>> {
        let number = self.next;
        self.next += 1;
        if let Some(rows) = self.kept(number, hash)? {
            self.is_ours = true;
            if let Some((hash, rows)) = self.held.take() {
                self.journal.append(hash, &rows)?;
            }
            return Ok(Some(rows));
        }
        if !self.is_ours && std::mem::replace(&mut self.is_one_missing, true) {
            return Err(self.other_texts());
        }
        Ok(None)
    }

    /// Keeps the vectors of a chunk that was not found.
    pub(crate) fn keep(&mut self, hash: Hash, rows: &[f32]) -> Result<()> {
        match self.is_ours {
            true => self.journal.append(hash, rows)?,
            false => self.held = Some((hash, rows.to_vec())),
        }
        Ok(())
    }

    /// Checks that the journal may be removed once all texts have their vectors.
    pub(crate) fn check_complete(&self) -> Result<()> {
        if self.is_ours { Ok(()) } else { Err(self.other_texts()) }
    }

    /// Removes the journal: the vectors are where they belong.
    pub(crate) fn remove(self) {
        self.journal.remove();
    }

    fn other_texts(&self) -> Error {
        Error::OtherTexts { path: self.path.clone(), num_vectors: secateur_files::kept_items(&self.path) }
    }

    /// The rows of a chunk: in its place as a rule, elsewhere if the corpus has changed.
    fn kept(&mut self, number: usize, hash: Hash) -> Result<Option<Vec<f32>>> {
        match self.journal.get(number)? {
            None if self.by_texts.is_none() => return Ok(None),
            Some((stored, rows)) if stored == hash => return Ok(Some(rows)),
            _ => {}
        }
        let by_texts = match &self.by_texts {
            Some(by_texts) => by_texts,
            None => {
                let mut by_texts = HashMap::new();
                for number in 0..self.journal.len() {
                    if let Some((stored, _)) = self.journal.get(number)? {
                        by_texts.insert(stored, number);
                    }
                }
                self.by_texts.insert(by_texts)
            }
        };
        let Some(number) = by_texts.get(&hash) else { return Ok(None) };
        Ok(self.journal.get(*number)?.map(|(_, rows)| rows))
    }
}

pub(crate) fn hash(texts: &[String]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// The next items of a corpus, whose texts begin an entry of the journal: the same in every run, whatever encodes them.
/// None are left if there are none.
pub(crate) fn next_chunk<T, E>(
    items: &mut impl Iterator<Item = std::result::Result<T, E>>,
    bytes: impl Fn(&T) -> usize,
) -> std::result::Result<Vec<T>, E> {
    let (mut chunk, mut size) = (Vec::new(), 0);
    while chunk.len() < CHUNK_TEXTS && size < CHUNK_BYTES {
        let Some(item) = items.next().transpose()? else { break };
        size += bytes(&item);
        chunk.push(item);
    }
    Ok(chunk)
}

pub(crate) fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use secateur_encoders::LoadOptions;

    use super::*;
    use crate::encode::default_encoder;

    fn chunk(number: usize) -> Vec<String> {
        (0..CHUNK_TEXTS).map(|text| format!("text {text} of chunk {number}")).collect()
    }

    /// The chunks with these numbers through a journal; and how many chunks it then keeps.
    fn encode(path: &Path, encoder: &Encoder, numbers: &[usize]) -> Result<(Vec<f32>, usize)> {
        let mut journal = JournaledEncoding::open(path, encoder, TextKind::Passage)?;
        let mut rows = Vec::new();
        for number in numbers {
            let kind = journal.kind();
            rows.extend(journal.rows_by(&chunk(*number), |texts| Ok(encoder.encode(texts, kind)?))?);
        }
        journal.check_complete()?;
        Ok((rows, journal.journal.len()))
    }

    /// Of a corpus that was changed in some places only these are encoded anew; another corpus is refused.
    #[test]
    fn mended_texts_go_on_and_other_texts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let encoder = default_encoder(&LoadOptions::default()).unwrap();
        assert_eq!(encode(&path, &encoder, &[0, 1, 2, 3]).unwrap().1, 4);
        for (numbers, kept) in [
            (&[0, 1, 2, 3][..], 4),
            // The first chunk, one in the middle, and the last.
            (&[10, 1, 11, 12], 7),
            (&[10, 1, 11, 12], 7),
            // One is gone, and two follow.
            (&[1, 2, 3, 13, 14], 9),
        ] {
            let (rows, len) = encode(&path, &encoder, numbers).unwrap();
            assert_eq!(len, kept, "{numbers:?}");
            let texts: Vec<String> = numbers.iter().flat_map(|number| chunk(*number)).collect();
            assert_eq!(rows, encoder.encode(&borrowed(&texts), TextKind::Passage).unwrap(), "{numbers:?}");
        }
        let before = std::fs::read(&path).unwrap();
        for other in [&[20, 21, 0][..], &[20]] {
            let error = encode(&path, &encoder, other).unwrap_err().to_string();
            assert!(error.contains("other texts") && error.contains("remove the file"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before, "nothing is written");
        }
        // A single chunk is the work of seconds: other texts are taken, and none of its vectors.
        let path = folder.path().join("short");
        encode(&path, &encoder, &[0]).unwrap();
        let (rows, len) = encode(&path, &encoder, &[20, 21]).unwrap();
        let texts: Vec<String> = [20, 21].into_iter().flat_map(chunk).collect();
        assert_eq!((rows, len), (encoder.encode(&borrowed(&texts), TextKind::Passage).unwrap(), 3));
    }
}
