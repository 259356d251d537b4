//! The pack: the files of a small segment, one behind the other in one file.
//!
//! A disk takes as long to sync a few bytes as to sync many, so a small commit takes as long as it has files. Packed,
//! it syncs one and its name. A reader opens one file, too.

use std::collections::HashMap;
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};
use secateur_files::with_suffix;

use super::manifest::{FileRecord, PACK, SegmentRecord};
use crate::error::{Damage, Result};
use crate::file_format::files::{
    FileBytes, Finished, HeadedWriter, Written, check_crc, corrupt, wrong_field,
};
use crate::file_format::header::read_header;
use crate::file_format::sections;

const KIND: Kind = Kind { mark: *b"SCTRPACK", name: "a pack", version: 1 };

/// What its name in `segments/` ends in.
pub(super) const SUFFIX: &str = ".pack";

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackHeader {
    start: Start,
    files: u32,
    /// Where the directory begins.
    directory_at: u64,
    /// CRC-32 of the directory.
    directory_crc: u32,
    zeros: [u32; 8],
    crc: u32,
}

const _: () = assert!(offset_of!(PackHeader, files) == 12);
const _: () = assert!(offset_of!(PackHeader, directory_at) == 16);
const _: () = assert!(offset_of!(PackHeader, directory_crc) == 24);
const _: () = assert!(offset_of!(PackHeader, crc) == 60);

/// Where the pack of a segment is, given its folder: beside the folder, which is there only if a generation was added
/// later.
pub(super) fn path(folder: &Path) -> PathBuf {
    with_suffix(folder, SUFFIX)
}

/// A file of a segment that was written, to its folder or to memory.
pub(super) struct NewFile {
    pub record: FileRecord,
    /// All of it, if it is in memory.
    pub bytes: Option<Vec<u8>>,
}

impl NewFile {
    pub fn new(name: impl Into<String>, Finished { written, bytes }: Finished) -> NewFile {
        NewFile { record: FileRecord::new(name, written), bytes }
    }

    /// One that is in the folder.
    pub fn on_disk(name: impl Into<String>, written: Written) -> NewFile {
        NewFile { record: FileRecord::new(name, written), bytes: None }
    }
}

/// Writes and syncs the pack of files that are in memory.
pub(super) fn write(path: PathBuf, files: &[NewFile]) -> Result<Written> {
    let mut pack = HeadedWriter::create(path, HEADER_LEN)?;
    let mut directory = Vec::new();
    for NewFile { record, bytes } in files {
        let bytes = bytes.as_deref().unwrap_or_default();
        directory.extend((record.name.len() as u32).to_le_bytes());
        directory.extend(record.name.as_bytes());
        directory.extend(pack.position().to_le_bytes());
        directory.extend((bytes.len() as u64).to_le_bytes());
        pack.write(bytes)?;
        sections::end(&mut pack)?;
    }
    let directory_at = pack.position();
    pack.write(&directory)?;
    let finished = pack.finish(&seal(&PackHeader {
        start: Start::of(&KIND),
        files: files.len() as u32,
        directory_at,
        directory_crc: crc32fast::hash(&directory),
        ..PackHeader::zeroed()
    }))?;
    Ok(finished.written)
}

/// A pack, mapped.
struct Pack {
    path: PathBuf,
    map: FileBytes,
    /// Where each file lies.
    files: HashMap<String, Range<usize>>,
}

impl Pack {
    /// Opens a file of `size` bytes, and checks its header and its directory.
    fn open(path: PathBuf, size: u64) -> Result<Pack> {
        let map = FileBytes::map(&path, size)?;
        let header: PackHeader = read_header(&path, &map, &KIND)?;
        let at = usize::try_from(header.directory_at).ok().filter(|at| (HEADER_LEN..=map.len()).contains(at));
        let Some(at) = at else {
            let damage = wrong_field("the beginning of the directory", "in the file", header.directory_at);
            return Err(corrupt(&path, damage));
        };
        check_crc(&path, "the directory", header.directory_crc, crc32fast::hash(&map[at..]))?;
        let Some(files) = directory(&map[at..], header.files, at) else {
            return Err(corrupt(&path, Damage::Undecodable { part: "the directory" }));
        };
        Ok(Pack { path, map, files })
    }
}

/// The files that a directory lists, all of which begin at a multiple of 64 and end before `end`.
fn directory(bytes: &[u8], num_files: u32, end: usize) -> Option<HashMap<String, Range<usize>>> {
    fn number(rest: &mut &[u8]) -> Option<usize> {
        let (number, left) = rest.split_first_chunk()?;
        *rest = left;
        usize::try_from(u64::from_le_bytes(*number)).ok()
    }
    let mut rest = bytes;
    let mut files = HashMap::new();
    for _ in 0..num_files {
        let (len, left) = rest.split_first_chunk()?;
        let (name, left) = left.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rest = left;
        let start = number(&mut rest)?;
        let file = start..start.checked_add(number(&mut rest)?)?;
        if start < HEADER_LEN || !start.is_multiple_of(HEADER_LEN) || file.end > end {
            return None;
        }
        files.insert(std::str::from_utf8(name).ok()?.to_owned(), file);
    }
    (rest.is_empty() && files.len() == num_files as usize).then_some(files)
}

/// Where the files of a segment are: in its pack, or in its folder.
pub(super) struct SegmentFiles<'r> {
    folder: PathBuf,
    record: &'r SegmentRecord,
    pack: Option<Pack>,
}

impl<'r> SegmentFiles<'r> {
    /// Of a segment in this folder of segments. Opens its pack, if it has one.
    pub fn open(segments: &Path, record: &'r SegmentRecord) -> Result<SegmentFiles<'r>> {
        let folder = segments.join(&record.folder);
        let pack = record.file(PACK).map(|file| Pack::open(path(&folder), file.size)).transpose()?;
        Ok(SegmentFiles { folder, record, pack })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn record(&self) -> &'r SegmentRecord {
        self.record
    }

    /// Whether a file lies in the pack.
    pub fn is_packed(&self, name: &str) -> bool {
        self.pack.as_ref().is_some_and(|pack| pack.files.contains_key(name))
    }

    /// The path of a file, or of the pack that it lies in.
    pub fn path(&self, name: &str) -> PathBuf {
        match &self.pack {
            Some(pack) if name == PACK || pack.files.contains_key(name) => pack.path.clone(),
            _ => self.folder.join(name),
        }
    }

    /// The bytes of a file that the manifest names.
    pub fn bytes(&self, name: &str) -> Result<FileBytes> {
        let path = self.path(name);
        let expected = self.record.file(name).ok_or_else(|| corrupt(&path, Damage::Missing))?.size;
        let Some(pack) = &self.pack else { return FileBytes::map(&path, expected) };
        if name == PACK {
            return Ok(pack.map.clone());
        }
        let Some(range) = pack.files.get(name) else { return FileBytes::map(&path, expected) };
        if range.len() as u64 != expected {
            return Err(corrupt(&path, Damage::Size { expected, got: range.len() as u64 }));
        }
        pack.map.part(range.clone()).ok_or_else(|| corrupt(&path, Damage::Missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = secateur_testkit::byte_ranges!(PackHeader: files, directory_at, directory_crc);
        assert_eq!(secateur_testkit::format::documented("pack", 0)[..], fields);
    }

    fn file(name: &str, bytes: &[u8]) -> NewFile {
        let written = Written::of(bytes);
        NewFile { record: FileRecord::new(name, written), bytes: Some(bytes.to_vec()) }
    }

    /// A segment of these files, in a pack.
    fn segment(segments: &Path, files: &[NewFile]) -> SegmentRecord {
        let written = write(path(&segments.join("1")), files).unwrap();
        let mut records = vec![FileRecord::new(PACK, written)];
        records.extend(files.iter().map(|file| file.record.clone()));
        SegmentRecord { folder: "1".into(), rows: 1, files: records, deleted: Vec::new() }
    }

    /// Files come back, from the pack and from the folder beside it, each at a multiple of 64 bytes in memory.
    #[test]
    fn files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let files = [file("a", b"one"), file("b/c", &[7; 130]), file("empty", b"")];
        let mut record = segment(folder.path(), &files);
        std::fs::create_dir(folder.path().join("1")).unwrap();
        std::fs::write(folder.path().join("1/later"), b"more").unwrap();
        record.files.push(FileRecord::new("later", Written::of(b"more")));
        let found = SegmentFiles::open(folder.path(), &record).unwrap();
        for NewFile { record, bytes } in &files {
            let found = found.bytes(&record.name).unwrap();
            assert_eq!(Some(&*found), bytes.as_deref(), "{}", record.name);
            assert!(found.is_empty() || found.as_ptr().addr().is_multiple_of(64), "{}", record.name);
        }
        assert_eq!(&*found.bytes("later").unwrap(), b"more");
        assert!(found.is_packed("b/c") && !found.is_packed("later"));
        let pack = std::fs::read(folder.path().join("1.pack")).unwrap();
        assert_eq!(&*found.bytes(PACK).unwrap(), pack);
        assert_eq!(found.path("b/c"), folder.path().join("1.pack"));
        let error = found.bytes("none").err().unwrap();
        assert!(error.to_string().contains("none"), "{error}");
        // Of another length than the manifest says.
        record.files[1].size += 1;
        assert!(SegmentFiles::open(folder.path(), &record).unwrap().bytes("a").is_err());
    }

    /// A directory that leads out of the file, or into another place than a file's beginning, is refused.
    #[test]
    fn wrong_directories_are_refused() {
        let entry = |name: &str, start: u64, len: u64| {
            [
                &(name.len() as u32).to_le_bytes()[..],
                name.as_bytes(),
                &start.to_le_bytes(),
                &len.to_le_bytes(),
            ]
            .concat()
        };
        let good = [entry("a", 64, 64), entry("b", 128, 3)].concat();
        assert_eq!(directory(&good, 2, 192).unwrap()["b"], 128..131);
        for (what, bytes, files) in [
            ("too few", good.clone(), 3),
            ("too many", good.clone(), 1),
            ("cut off", good[..good.len() - 1].to_vec(), 2),
            ("in the header", entry("a", 0, 4), 1),
            ("not aligned", entry("a", 65, 4), 1),
            ("beyond the end", entry("a", 128, 65), 1),
            ("no number", entry("a", 128, u64::MAX), 1),
            ("twice", [entry("a", 64, 1), entry("a", 128, 1)].concat(), 2),
        ] {
            assert!(directory(&bytes, files, 192).is_none(), "{what}");
        }
    }
}
