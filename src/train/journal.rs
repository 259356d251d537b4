//! What was done to chunks of examples, kept so that it need not be done again.

use std::marker::PhantomData;
use std::path::Path;

use secateur_index::storage::EmbeddingJournal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

/// The results of chunks, in their order, each with the hash of what it was made from.
pub(super) struct ChunkJournal<R> {
    /// One more use of the file that keeps vectors: durable when `append` returns, cut off where it is torn, locked, begun
    /// anew with another key. A result is JSON, four bytes to a number of a "vector", whose value is never looked at.
    journal: EmbeddingJournal,
    /// The number of the next chunk.
    next: usize,
    result: PhantomData<R>,
}

impl<R: Serialize + DeserializeOwned> ChunkJournal<R> {
    /// Opens the journal of the work that `key` describes.
    pub(super) fn open(path: &Path, key: &str) -> Result<ChunkJournal<R>> {
        let key = blake3::hash(key.as_bytes());
        Ok(ChunkJournal {
            journal: EmbeddingJournal::open(path, key.into(), 1)?,
            next: 0,
            result: PhantomData,
        })
    }

    /// Makes the first chunk the next one.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// The result of the next chunk: the one that is kept, if it was made from the same; otherwise what `work` gives, which
    /// is then kept.
    pub(super) fn result(&mut self, from: &str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let hash = blake3::hash(from.as_bytes()).into();
        let number = self.next;
        self.next += 1;
        if let Some((stored, words)) = self.journal.get(number)? {
            if let Some(result) = (stored == hash).then(|| decode(&words)).flatten() {
                return Ok(result);
            }
            // The examples have changed from here on.
            self.journal.truncate(number)?;
        }
        let result = work()?;
        self.journal.append(hash, &encode(&result))?;
        Ok(result)
    }
}

/// The length in bytes, the bytes, and zeros up to a whole number.
fn encode<R: Serialize>(result: &R) -> Vec<f32> {
    let json = serde_json::to_vec(result).expect("results are lists of numbers and strings");
    let mut bytes = (json.len() as u32).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.as_chunks().0.iter().map(|word| f32::from_bits(u32::from_le_bytes(*word))).collect()
}

fn decode<R: DeserializeOwned>(words: &[f32]) -> Option<R> {
    let (len, words) = words.split_first()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_bits().to_le_bytes()).collect();
    serde_json::from_slice(bytes.get(..len.to_bits() as usize)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Journal = ChunkJournal<Vec<String>>;

    fn take(journal: &mut Journal, from: &str, worked: &mut Vec<String>) -> Vec<String> {
        let work = || {
            worked.push(from.to_owned());
            Ok(vec![format!("result of {from}"), "é\u{0}".repeat(from.len())])
        };
        journal.result(from, work).unwrap()
    }

    #[test]
    fn results_of_the_same_chunks_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let run = |key: &str, chunks: &[&str]| {
            let mut worked = Vec::new();
            let mut journal = Journal::open(&path, key).unwrap();
            let results: Vec<_> = chunks.iter().map(|from| take(&mut journal, from, &mut worked)).collect();
            journal.rewind();
            let none = &mut Vec::new();
            let again: Vec<_> = chunks.iter().map(|from| take(&mut journal, from, none)).collect();
            assert_eq!((&again, none.len()), (&results, 0));
            for (from, result) in chunks.iter().zip(&results) {
                assert_eq!(result[0], format!("result of {from}"));
            }
            worked
        };
        assert_eq!(run("k", &["a", "bb", "ccc"]), ["a", "bb", "ccc"]);
        assert_eq!(run("k", &["a", "bb", "ccc", "dddd"]), ["dddd"]);
        assert_eq!(run("k", &["a", "xx", "ccc"]), ["xx", "ccc"], "from where they differ");
        assert_eq!(run("other", &["a"]), ["a"]);
    }
}
