//! The folder that tantivy writes an index into.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateur_files::disk::{self, DiskFile};
use secateur_files::{AtPath, PathError};
use tantivy::Directory;
use tantivy::directory::error::{DeleteError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    AntiCallToken, FileHandle, MmapDirectory, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
};

use crate::error::{Error, Result};

/// tantivy's own directory, but for what changes the disk. That goes through the operations that tests make fail, and
/// new files follow the umask.
///
/// Nothing is synced here. The segment is synced as a whole before it is committed, and is removed as a whole if it is
/// not.
#[derive(Debug, Clone)]
pub(super) struct IndexFolder {
    folder: PathBuf,
    reader: MmapDirectory,
}

impl IndexFolder {
    /// Creates the folder, which must not exist.
    pub fn create(folder: &Path) -> Result<Box<dyn Directory>> {
        disk::create_folder(folder)?;
        let reader = MmapDirectory::open(folder).map_err(|error| Error::Bm25 {
            action: "written",
            path: folder.to_owned(),
            source: Box::new(error),
        })?;
        Ok(Box::new(IndexFolder { folder: folder.to_owned(), reader }))
    }
}

/// A file that tantivy writes.
struct IndexFile(DiskFile);

impl Write for IndexFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl TerminatingWrite for IndexFile {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.flush()
    }
}

impl Directory for IndexFolder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.reader.get_file_handle(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.reader.exists(path)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        self.reader.atomic_read(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        match DiskFile::create_new(&self.folder.join(path)) {
            Ok(file) => Ok(BufWriter::new(Box::new(IndexFile(file)))),
            Err(PathError { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(OpenWriteError::FileAlreadyExists(path.to_owned()))
            }
            Err(PathError { source, .. }) => Err(OpenWriteError::wrap_io_error(source, path.to_owned())),
        }
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        disk::remove_file(&self.folder.join(path)).map_err(|PathError { source, .. }| match source.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.to_owned()),
            _ => DeleteError::IoError { io_error: Arc::new(source), filepath: path.to_owned() },
        })
    }

    /// Atomic for those who read afterwards. Nobody reads meanwhile: the writer is alone in the folder.
    fn atomic_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.folder.join(path);
        let write = || DiskFile::create(&path)?.write_all(bytes).at("write", &path);
        write().map_err(|error: PathError| error.source)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}
