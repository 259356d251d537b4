//! Disks that fail, for tests: any one operation of this thread's writers, or the power at any moment.
//!
//! The model of a power failure is as bad as POSIX allows. A file has the bytes of its last sync. A folder has the
//! names of its last sync, each for the file that it named then. (The crate `fail` makes operations fail too, but
//! does not forget what was not synced.)

// It plays the disk.
#![allow(clippy::disallowed_methods)]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The operation alone.
    Operation,
    /// The operation and all after it; what was not synced is lost.
    Power,
}

/// What is to fail on this thread, and what has been made durable so far.
#[derive(Debug)]
struct Disk {
    failure: Failure,
    /// Operations until the one that fails.
    left: usize,
    has_failed: bool,
    /// Files and folders by their inodes. Each is kept open, so that no other one gets the number.
    files: HashMap<u64, (File, Vec<u8>)>,
    folders: HashMap<u64, (File, Names)>,
}

/// What was in a folder when it was last synced.
type Names = BTreeMap<OsString, Named>;

#[derive(Debug)]
enum Named {
    File(u64),
    Folder(u64),
    /// Where it leads. The system writes the two together.
    Link(PathBuf),
}

thread_local! {
    /// The disk of the test that this thread works for.
    static DISK: RefCell<Option<Arc<Mutex<Disk>>>> = const { RefCell::new(None) };
}

/// The disk of this thread, if a test lets it fail.
fn with_disk<T>(change: impl FnOnce(&mut Disk) -> T) -> Option<T> {
    let disk = DISK.with_borrow(Clone::clone)?;
    let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
    Some(change(&mut disk))
}

/// Work for another thread, which gets this thread's disk, or none, until the work is done.
pub(crate) fn along<T>(work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    /// Gives the thread back what it had.
    struct Before(Option<Arc<Mutex<Disk>>>);

    impl Drop for Before {
        fn drop(&mut self) {
            DISK.set(self.0.take());
        }
    }

    let disk = DISK.with_borrow(Clone::clone);
    move || {
        let _before = Before(DISK.replace(disk));
        work()
    }
}

/// Before each operation: whether it fails.
pub(crate) fn step() -> io::Result<()> {
    let step = with_disk(|disk| {
        if disk.has_failed && disk.failure == Failure::Power {
            return Err(io::Error::other("the power is off"));
        }
        if disk.left == 0 && !disk.has_failed {
            disk.has_failed = true;
            return Err(io::Error::other("the disk failed"));
        }
        disk.left = disk.left.saturating_sub(1);
        Ok(())
    });
    step.unwrap_or(Ok(()))
}

pub(crate) fn file_synced(path: &Path) {
    with_disk(|disk| disk.keep_file(path));
}

pub(crate) fn folder_synced(folder: &Path) {
    with_disk(|disk| disk.keep_folder(folder));
}

/// A disk that fails from [`Faults::begin`] to [`Faults::end`], on this thread and in work that it joins
/// ([`join`](crate::join)).
#[derive(Debug)]
pub struct Faults(());

impl Faults {
    /// Lets operation `number` fail, counted from 0. All that is in `folder` now is durable.
    pub fn begin(folder: &Path, failure: Failure, number: usize) -> Faults {
        let (files, folders) = (HashMap::new(), HashMap::new());
        let mut disk = Disk { failure, left: number, has_failed: false, files, folders };
        disk.keep_all(folder);
        DISK.set(Some(Arc::new(Mutex::new(disk))));
        Faults(())
    }

    /// The disk works again.
    pub fn end(self) -> Aftermath {
        let disk = DISK.take().and_then(Arc::into_inner).expect("work that was joined has ended");
        Aftermath(disk.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A test that panics must not leave its thread a disk that fails.
        drop(DISK.take());
    }
}

/// What a failure leaves behind.
#[derive(Debug)]
pub struct Aftermath(Disk);

impl Aftermath {
    /// Whether there were so many operations that one failed.
    pub fn has_failed(&self) -> bool {
        self.0.has_failed
    }

    /// Writes what is durable of a folder to another one, which must not exist.
    pub fn restore(&self, folder: &Path, to: &Path) {
        self.0.restore(inode(folder), to);
    }
}

/// One run of [`at_every_operation`].
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What was to fail.
    pub failure: Failure,
    /// The number of the disk operation that was to fail, counted from 0.
    pub number: usize,
    /// Whether there were so many.
    pub has_failed: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failure of {:?} at operation {}", self.failure, self.number)
    }
}

/// Runs an operation again and again: once for each disk operation that it consists of and each kind of failure, so
/// that this one fails. The last run of each kind meets no failure.
///
/// `prepare` makes the folder that it is given, anew each time. `operate` works in it. `check` gets the folder as it
/// is after the failure, and the result.
pub fn at_every_operation<T>(
    scratch: &Path,
    prepare: impl Fn(&Path),
    mut operate: impl FnMut(&Path) -> T,
    mut check: impl FnMut(&Path, T, Case),
) {
    let [folder, restored] = ["faults", "restored"].map(|name| scratch.join(name));
    for failure in [Failure::Operation, Failure::Power] {
        for number in 0.. {
            prepare(&folder);
            let faults = Faults::begin(&folder, failure, number);
            let result = operate(&folder);
            let aftermath = faults.end();
            let case = Case { failure, number, has_failed: aftermath.has_failed() };
            if failure == Failure::Power {
                aftermath.restore(&folder, &restored);
                check(&restored, result, case);
                fs::remove_dir_all(&restored).unwrap();
            } else {
                check(&folder, result, case);
            }
            fs::remove_dir_all(&folder).unwrap();
            if !case.has_failed {
                assert!(number > 0, "an operation that writes nothing cannot fail");
                break;
            }
        }
    }
}

impl Disk {
    fn keep_all(&mut self, folder: &Path) {
        self.keep_folder(folder);
        for entry in list(folder) {
            match Named::of(&entry) {
                Named::File(_) => self.keep_file(&entry),
                Named::Folder(_) => self.keep_all(&entry),
                Named::Link(_) => {}
            }
        }
    }

    fn keep_file(&mut self, path: &Path) {
        self.files.insert(inode(path), (File::open(path).unwrap(), fs::read(path).unwrap()));
    }

    fn keep_folder(&mut self, folder: &Path) {
        let names =
            list(folder).into_iter().map(|path| (path.file_name().unwrap().to_owned(), Named::of(&path)));
        self.folders.insert(inode(folder), (File::open(folder).unwrap(), names.collect()));
    }

    /// Writes a folder as it was last synced. A folder or file that was never synced is empty.
    fn restore(&self, folder: u64, to: &Path) {
        fs::create_dir(to).unwrap();
        for (name, named) in self.folders.get(&folder).iter().flat_map(|(_, names)| names) {
            let to = to.join(name);
            match named {
                Named::Folder(inode) => self.restore(*inode, &to),
                Named::File(inode) => {
                    fs::write(to, self.files.get(inode).map_or(&[][..], |(_, bytes)| bytes)).unwrap();
                }
                Named::Link(target) => std::os::unix::fs::symlink(target, to).unwrap(),
            }
        }
    }
}

impl Named {
    fn of(path: &Path) -> Named {
        let metadata = fs::symlink_metadata(path).unwrap();
        match metadata.file_type() {
            kind if kind.is_dir() => Named::Folder(metadata.ino()),
            kind if kind.is_symlink() => Named::Link(fs::read_link(path).unwrap()),
            _ => Named::File(metadata.ino()),
        }
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[cfg(test)]
mod tests;
