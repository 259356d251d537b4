//! A journal of the results for chunks of examples, so that an interrupted run does not repeat them.

use std::marker::PhantomData;
use std::path::Path;

use secateur_files::Journal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

/// The results of chunks, in their order. Each is a record of JSON, with the hash of what it was made from.
pub(super) struct ChunkJournal<R> {
    journal: Journal,
    /// The number of the next chunk.
    next: usize,
    result: PhantomData<R>,
}

impl<R: Serialize + DeserializeOwned> ChunkJournal<R> {
    /// Opens the journal of the work that `key` describes. The journal of other work starts afresh.
    pub(super) fn open(path: &Path, key: &str) -> Result<ChunkJournal<R>> {
        let key = blake3::hash(key.as_bytes());
        Ok(ChunkJournal { journal: Journal::open(path, key.into(), 0)?, next: 0, result: PhantomData })
    }

    /// Removes the file: the results are where they belong.
    pub(super) fn remove(self) {
        self.journal.remove();
    }

    /// Makes the first chunk the next one.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
    }

    /// The result of the next chunk: the stored one, if it was made from the same; otherwise what `work` gives, which
    /// is then stored.
    pub(super) fn result(&mut self, from: &str, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let hash = blake3::hash(from.as_bytes()).into();
        let number = self.next;
        self.next += 1;
        if let Some(stored) = self.journal.get(number)? {
            if stored.hash == hash
                && let Ok(result) = serde_json::from_slice(&stored.bytes)
            {
                return Ok(result);
            }
            // The examples have changed from here on.
            self.journal.truncate(number)?;
        }
        let result = work()?;
        let json = serde_json::to_vec(&result).expect("results are lists of numbers and strings");
        self.journal.append(hash, &json)?;
        Ok(result)
    }
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
        let error = Journal::open(&path, "other").err().expect("what is kept is not thrown away");
        assert!(error.to_string().contains("other options"), "{error}");
    }
}
