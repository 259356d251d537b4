//! Plain text files: one document each.

use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use super::Reader;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::read_text;

/// What the names of text files end in.
pub(super) const ENDINGS: [&str; 7] = ["txt", "text", "md", "markdown", "rst", "org", "adoc"];

/// Whether a file is one of plain text, by its name.
pub(super) fn is_text(path: &Path) -> bool {
    path.extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
}

/// The text files in a folder and the folders in it, sorted. Names that begin with a dot are left out.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // The type of the entry itself: a link to a folder could lead in a circle.
        if entry.file_type().at("read", &path)?.is_dir() {
            found.extend(files_in(&path)?);
        } else if is_text(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Text files as documents. The id is the path below the folder.
pub(super) struct TextFiles {
    folder: PathBuf,
    files: std::vec::IntoIter<PathBuf>,
    current: PathBuf,
}

impl TextFiles {
    pub fn new(folder: PathBuf, files: Vec<PathBuf>) -> TextFiles {
        TextFiles { current: folder.clone(), folder, files: files.into_iter() }
    }

    fn read(&self) -> Result<Entry> {
        let text = read_text(&self.current)?;
        let below = self.current.strip_prefix(&self.folder).unwrap_or(&self.current);
        let id =
            below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        Ok(Entry { id: Some(super::one_word(&id)), text, ..Entry::default() })
    }
}

impl Reader for TextFiles {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        self.current = self.files.next()?;
        Some(self.read())
    }

    fn error(&self, fault: Fault) -> Error {
        Error::File { path: self.current.clone(), fault }
    }

    fn line(&self) -> u64 {
        1
    }
}
