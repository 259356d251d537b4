//! Where the files of a database's segments are on the disk, read as `index/FORMAT.md` says and without the library.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The files of a segment, such as `vectors` or `bm25/meta.json`: of each the file of the disk that holds it, and its
/// place there. That is all of it in the segment's folder, and a part of it in a pack.
pub fn files(database: &Path, segment: &str) -> Vec<(String, PathBuf, Range<usize>)> {
    let folder = database.join("segments");
    let mut found = in_folder(&folder.join(segment), "");
    let pack = folder.join(format!("{segment}.pack"));
    let Ok(bytes) = fs::read(&pack) else { return found };
    let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("8 bytes")) as usize;
    let mut at = number(16);
    while at < bytes.len() {
        let len = u32::from_le_bytes(*bytes[at..].first_chunk().expect("4 bytes")) as usize;
        let entry = at + 4 + len;
        let name = String::from_utf8_lossy(&bytes[at + 4..entry]).into_owned();
        found.push((name, pack.clone(), number(entry)..number(entry) + number(entry + 8)));
        at = entry + 16;
    }
    found
}

fn in_folder(folder: &Path, prefix: &str) -> Vec<(String, PathBuf, Range<usize>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let file = |entry: fs::DirEntry| {
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            return in_folder(&path, &format!("{name}/"));
        }
        let len = entry.metadata().expect("the file is there").len() as usize;
        vec![(name, path, 0..len)]
    };
    entries.flat_map(|entry| file(entry.expect("the folder can be read"))).collect()
}

/// The bytes of a file of a segment.
pub fn read(database: &Path, segment: &str, name: &str) -> Option<Vec<u8>> {
    let (_, path, range) = files(database, segment).into_iter().find(|file| file.0 == name)?;
    Some(fs::read(path).ok()?[range].to_vec())
}

/// Changes the bytes of a file of a segment where it lies.
pub fn change(database: &Path, segment: &str, name: &str, change: impl FnOnce(&mut [u8])) {
    let found = files(database, segment).into_iter().find(|file| file.0 == name);
    let (_, path, range) = found.expect("the segment has the file");
    let mut bytes = fs::read(&path).expect("the file is there");
    change(&mut bytes[range]);
    fs::write(path, bytes).expect("the file can be written");
}
