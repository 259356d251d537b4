//! A file of examples is read, chunk by chunk, and written with something added.

use std::path::Path;

use secateur_datasets::triples::{Examples, TrainingExample, write_examples_alone};
use secateur_files::Journal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::journal::ChunkJournal;
use crate::error::Result;
use crate::training_error::TrainingError;

/// Examples whose results are kept together: seconds of a cross-encoder's work, so that little is lost.
const CHUNK: usize = 32;

/// Adds a result to each example of a file. `work` gets a chunk and the number of its first example, and returns one
/// result an example. A journal keeps the results; `key` describes the work. When all results are known, `apply`
/// changes the examples and they are written. Returns the number of examples.
pub(super) fn rewrite<R: Serialize + DeserializeOwned>(
    input: &Path,
    output: &Path,
    key: &str,
    mut work: impl FnMut(u64, &[TrainingExample]) -> Result<Vec<R>>,
    mut apply: impl FnMut(&mut TrainingExample, R) -> Result<()>,
    mut progress: impl FnMut(u64),
) -> Result<u64> {
    if let (Ok(input), Ok(output)) = (input.canonicalize(), output.canonicalize())
        && input == output
    {
        return Err(TrainingError::SameFile { path: output }.into());
    }
    let mut journal = ChunkJournal::open(&Journal::beside(output), key)?;
    for chunk in chunks(input)? {
        let (first, chunk) = chunk?;
        journal.result(&format!("{chunk:?}"), || work(first, &chunk))?;
        progress(first + chunk.len() as u64);
    }
    // Written only now, so that an interrupted run leaves no half of an output.
    journal.rewind();
    let examples = chunks(input)?.flat_map(|chunk| {
        let changed = chunk.and_then(|(first, mut chunk)| {
            let results = journal.result(&format!("{chunk:?}"), || work(first, &chunk))?;
            chunk.iter_mut().zip(results).try_for_each(|(example, result)| apply(example, result))?;
            Ok(chunk)
        });
        let (examples, error) = match changed {
            Ok(examples) => (examples, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        examples.into_iter().map(Ok).chain(error)
    });
    // Nobody else writes there, for the journal is locked.
    let count = write_examples_alone(output, examples)?;
    journal.remove();
    Ok(count)
}

/// The examples of a file in chunks, each with the number of its first example. The first error replaces its chunk.
fn chunks(input: &Path) -> Result<impl Iterator<Item = Result<(u64, Vec<TrainingExample>)>>> {
    let mut examples = Examples::open(input, None)?;
    let mut next = 0;
    Ok(std::iter::from_fn(move || {
        let chunk: std::result::Result<Vec<_>, _> = examples.by_ref().take(CHUNK).collect();
        match chunk {
            Ok(chunk) if chunk.is_empty() => None,
            Ok(chunk) => {
                let first = next;
                next += chunk.len() as u64;
                Some(Ok((first, chunk)))
            }
            Err(error) => Some(Err(error.into())),
        }
    }))
}
