//! Where the files of a database's segments are on the disk, read as `index/FORMAT.md` says and without the library.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The file of the disk that holds a file of a segment, such as `vectors` or `bm25/meta.json`, and its place there.
/// That is all of it in the segment's folder, and a part of it in a pack. `None` if the segment has no such file.
pub fn place(database: &Path, segment: &str, name: &str) -> Option<(PathBuf, Range<usize>)> {
    let folder = database.join("segments");
    let pack = folder.join(format!("{segment}.pack"));
    if let Ok(bytes) = fs::read(&pack) {
        let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes")) as usize;
        let mut at = number(16);
        while at < bytes.len() {
            let len = u32::from_le_bytes(*bytes[at..].first_chunk().expect("4 bytes")) as usize;
            let entry = at + 4 + len;
            if &bytes[at + 4..entry] == name.as_bytes() {
                return Some((pack, number(entry)..number(entry) + number(entry + 8)));
            }
            at = entry + 16;
        }
    }
    let path = folder.join(segment).join(name);
    let len = fs::metadata(&path).ok()?.len() as usize;
    Some((path, 0..len))
}

/// The bytes of a file of a segment.
pub fn read(database: &Path, segment: &str, name: &str) -> Option<Vec<u8>> {
    let (path, range) = place(database, segment, name)?;
    Some(fs::read(path).ok()?[range].to_vec())
}

/// Changes the bytes of a file of a segment where it lies.
///
/// # Panics
/// If there is no such file.
pub fn change(database: &Path, segment: &str, name: &str, change: impl FnOnce(&mut [u8])) {
    let (path, range) = place(database, segment, name).expect("the segment has the file");
    let mut bytes = fs::read(&path).expect("the file is there");
    change(&mut bytes[range]);
    fs::write(path, bytes).expect("the file can be written");
}
