//! Training examples to a file.

use std::io;
use std::path::Path;

use super::example::TrainingExample;
use super::flag_embedding;
use crate::error::Error;
use crate::writer::{WriteFailure, write_records, write_records_alone};

/// Writes examples in FlagEmbedding's format, one JSON object a line, as they come; a name in `.gz` or `.zst`
/// compresses. The file appears whole or not at all. Returns the number of examples.
///
/// ```
/// use secateur_datasets::triples::{Examples, TrainingExample, write_examples};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("train.jsonl.gz");
/// let example = TrainingExample {
///     query: "pruning roses".to_owned(),
///     positives: vec!["Prune roses in late winter.".to_owned()],
///     query_id: Some("q1".to_owned()),
///     ..TrainingExample::default()
/// };
/// let written = write_examples(&path, [Ok::<_, secateur_datasets::Error>(example.clone())])?;
/// assert_eq!(written, 1);
/// assert_eq!(Examples::open(&path, None)?.next().unwrap()?, example);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The first error of the examples; [`Error::Unwritable`] for one that [`TrainingExample::check`] refuses,
/// [`Error::Io`] if the disk refuses.
pub fn write_examples<E: From<Error>>(
    path: &Path,
    examples: impl IntoIterator<Item = Result<TrainingExample, E>>,
) -> Result<u64, E> {
    write(examples, |lines| write_records(path, lines))
}

/// [`write_examples`] for the only writer of `path`, such as the holder of a lock. The file grows under the fixed
/// name PATH.tmp; if this call is killed, the next call overwrites that file.
///
/// # Errors
/// As [`write_examples`].
pub fn write_examples_alone<E: From<Error>>(
    path: &Path,
    examples: impl IntoIterator<Item = Result<TrainingExample, E>>,
) -> Result<u64, E> {
    write(examples, |lines| write_records_alone(path, lines))
}

/// What writes the lines to a file.
type Lines<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> Result<(), WriteFailure>;

fn write<E: From<Error>>(
    examples: impl IntoIterator<Item = Result<TrainingExample, E>>,
    to_file: impl FnOnce(Lines<'_>) -> Result<(), Error>,
) -> Result<u64, E> {
    let mut examples = examples.into_iter();
    let mut stopped = None;
    let mut count = 0;
    let written = to_file(&mut |file| {
        for example in examples.by_ref() {
            match example {
                Ok(example) => writeln!(file, "{}", flag_embedding::line(&example)?)?,
                Err(error) => {
                    stopped = Some(error);
                    // Removes the file; the reason is reported below.
                    return Err(WriteFailure::Io(io::ErrorKind::Interrupted.into()));
                }
            }
            count += 1;
        }
        Ok(())
    });
    match stopped {
        Some(error) => Err(error),
        None => Ok(written.map(|()| count)?),
    }
}
