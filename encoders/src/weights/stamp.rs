//! What tells a file from the same file changed, without reading it.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Length and times of a file when it was opened, and the number of its inode where there is one. The second time is
/// that of the last change of anything, which no program can set; not all systems have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    length: u64,
    /// Nanoseconds since 1970.
    modified: u128,
    changed: u128,
    inode: u64,
}

/// Files whose last change is younger may change again without another time: clocks of file systems tick this seldom.
const TICK: Duration = Duration::from_millis(50);

/// The same where times are kept in whole seconds, or pairs of them.
const COARSE_TICK: Duration = Duration::from_secs(2);

impl FileStamp {
    /// The stamp of an open file; `None` if the file may still change without another stamp.
    pub(crate) fn of(metadata: &Metadata, opened: SystemTime) -> Option<FileStamp> {
        let nanoseconds = |time: SystemTime| Some(time.duration_since(UNIX_EPOCH).ok()?.as_nanos());
        let modified = nanoseconds(metadata.modified().ok()?)?;
        let (changed, inode) = of_system(metadata, modified)?;
        let last = modified.max(changed);
        let tick = if last % 1_000_000_000 == 0 { COARSE_TICK } else { TICK };
        let is_settled = last + tick.as_nanos() < nanoseconds(opened)?;
        is_settled.then_some(FileStamp { length: metadata.len(), modified, changed, inode })
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let FileStamp { length, modified, changed, inode } = self;
        let times = [modified.to_le_bytes(), changed.to_le_bytes()].concat();
        [&length.to_le_bytes()[..], &times, &inode.to_le_bytes()].concat()
    }
}

#[cfg(unix)]
fn of_system(metadata: &Metadata, _: u128) -> Option<(u128, u64)> {
    use std::os::unix::fs::MetadataExt;
    let seconds = u128::try_from(metadata.ctime()).ok()?;
    let nanoseconds = u128::try_from(metadata.ctime_nsec()).ok()?;
    Some((seconds * 1_000_000_000 + nanoseconds, metadata.ino()))
}

#[cfg(not(unix))]
fn of_system(_: &Metadata, modified: u128) -> Option<(u128, u64)> {
    Some((modified, 0))
}
