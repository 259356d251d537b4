//! Records to a file that appears whole or not at all.

use std::io::{self, Write};
use std::path::Path;

use secateur_files::{Durable, PathError};

use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::Compression;

/// Why a record did not reach its file.
pub(crate) enum WriteFailure {
    Io(io::Error),
    Fault(Fault),
}

impl From<io::Error> for WriteFailure {
    fn from(error: io::Error) -> Self {
        WriteFailure::Io(error)
    }
}

impl From<Fault> for WriteFailure {
    fn from(fault: Fault) -> Self {
        WriteFailure::Fault(fault)
    }
}

type Written<T> = std::result::Result<T, WriteFailure>;

/// Writes a file of records as a [`Durable`]. A name that ends in `.gz` or `.zst` compresses what is written.
///
/// # Errors
/// [`Error::Io`], and [`Error::Unwritable`] for a record that the format cannot hold. A file that was at `path` is
/// then unchanged.
pub(crate) fn write_records(path: &Path, write: impl FnOnce(&mut dyn Write) -> Written<()>) -> Result<()> {
    write_through(path, Durable::create(path)?, write)
}

/// [`write_records`] of items that may fail to come, each written by `write`. Returns their number.
///
/// # Errors
/// Those of [`write_records`], and the first error among the items.
pub(crate) fn write_each<T, E: From<Error>>(
    path: &Path,
    items: impl IntoIterator<Item = std::result::Result<T, E>>,
    mut write: impl FnMut(&mut dyn Write, T) -> Written<()>,
) -> std::result::Result<usize, E> {
    let (mut count, mut failed) = (0, None);
    let written = write_records(path, |file| {
        for item in items {
            match item {
                Ok(item) => write(file, item)?,
                Err(error) => {
                    failed = Some(error);
                    // Ends the writing, which leaves nothing behind.
                    return Err(Fault::Empty.into());
                }
            }
            count += 1;
        }
        Ok(())
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(written.map(|()| count)?),
    }
}

/// [`write_records`] for the only writer of `path`, see [`Durable::create_alone`].
pub(crate) fn write_records_alone(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Written<()>,
) -> Result<()> {
    write_through(path, Durable::create_alone(path)?, write)
}

fn write_through(
    path: &Path,
    file: Durable,
    write: impl FnOnce(&mut dyn Write) -> Written<()>,
) -> Result<()> {
    match compress_into(file, Compression::of(path), write) {
        Ok(file) => Ok(file.finish()?),
        Err(WriteFailure::Io(source)) => Err(PathError::new("write", path, source).into()),
        Err(WriteFailure::Fault(fault)) => Err(Error::Unwritable { path: path.to_owned(), fault }),
    }
}

fn compress_into(
    mut file: Durable,
    compression: Compression,
    write: impl FnOnce(&mut dyn Write) -> Written<()>,
) -> Written<Durable> {
    match compression {
        Compression::None => {
            write(&mut file)?;
            Ok(file)
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            write(&mut encoder)?;
            Ok(encoder.finish()?)
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            write(&mut encoder)?;
            Ok(encoder.finish()?)
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use secateur_files::faults::at_every_operation;

    use super::*;

    fn read(path: &Path) -> String {
        io::read_to_string(crate::open(path).unwrap()).unwrap()
    }

    /// Whatever fails, and at whatever moment the power is cut, the file holds the old records or the new ones.
    #[test]
    fn every_failure_leaves_the_old_records_or_the_new_ones() {
        for name in ["run.txt", "run.txt.gz", "run.txt.zst"] {
            let scratch = tempfile::tempdir().unwrap();
            let prepare = |folder: &Path| {
                std::fs::create_dir(folder).unwrap();
                write_records(&folder.join(name), |file| Ok(file.write_all(b"old")?)).unwrap();
            };
            for is_alone in [false, true] {
                let operate = |folder: &Path| {
                    let (path, new) = (folder.join(name), |file: &mut dyn Write| Ok(file.write_all(b"new")?));
                    if is_alone { write_records_alone(&path, new) } else { write_records(&path, new) }
                };
                at_every_operation(scratch.path(), prepare, operate, |folder, result, what| {
                    let found = read(&folder.join(name));
                    assert!(found == "new" || (found == "old" && result.is_err()), "{name}, {what}: {found}");
                });
            }
        }
    }

    #[test]
    fn a_record_that_cannot_be_written_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.txt.gz");
        write_records(&path, |file| Ok(file.write_all(b"old")?)).unwrap();
        let fault = || Fault::BadRelevance { got: "x".to_owned() };
        let error = write_records(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(fault().into())
        });
        assert!(matches!(error, Err(Error::Unwritable { .. })), "{error:?}");
        assert_eq!(read(&path), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
