//! The name of the folder in which a database is made, until it has its place.

use std::path::{Path, PathBuf};

use secateur_files::with_suffix;

const SUFFIX: &str = ".partial";

/// The folder in which the database `path` is made.
pub fn partial_folder(path: &Path) -> PathBuf {
    with_suffix(path, SUFFIX)
}

/// The database that is made in `folder`, if `folder` is named as a [`partial_folder`].
pub fn place_of_partial(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    Some(folder.with_file_name(name))
}
