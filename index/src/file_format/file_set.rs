//! The files of an index, mapped.

use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::files::{Written, check_crc, corrupt, map};
use crate::error::{Damage, Result};

/// The files of one index in a folder.
pub(crate) struct FileSet {
    folder: PathBuf,
    files: Vec<MappedFile>,
}

/// One of them.
struct MappedFile {
    name: &'static str,
    written: Written,
    map: Mmap,
}

impl FileSet {
    /// Maps the files of these names, in their order. `written` tells what the manifest has of a name; without any of
    /// them there is no index, without some the index is damaged.
    pub fn open(
        folder: PathBuf,
        names: &[&'static str],
        written: impl Fn(&str) -> Option<Written>,
    ) -> Result<Option<FileSet>> {
        if names.iter().all(|name| written(name).is_none()) {
            return Ok(None);
        }
        let file = |name: &&'static str| {
            let path = folder.join(name);
            let written = written(name).ok_or_else(|| corrupt(&path, Damage::Missing))?;
            Ok(MappedFile { name, written, map: map(&path, written.size)? })
        };
        let files = names.iter().map(file).collect::<Result<_>>()?;
        Ok(Some(FileSet { folder, files }))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The paths of the files.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.files.iter().map(|file| self.folder.join(file.name))
    }

    /// The names and the bytes of the files.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.files.iter().map(|file| (file.name, &file.map[..]))
    }

    /// The bytes of one of the files.
    pub fn bytes(&self, name: &str) -> &[u8] {
        self.files.iter().find(|file| file.name == name).map_or(&[], |file| &file.map)
    }

    /// Compares the files with their checksums.
    pub fn check(&self) -> Result<()> {
        for file in &self.files {
            let found = crc32fast::hash(&file.map);
            check_crc(&self.folder.join(file.name), "the file", file.written.crc, found)?;
        }
        Ok(())
    }
}
