//! The passages file: which of a segment's vectors are those of each row, where a row may have several.

use std::mem::offset_of;
use std::path::PathBuf;

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use crate::error::Result;
use crate::file_format::files::{FileBytes, Finished, Output, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::search::Passages;

const KIND: Kind = Kind { mark: *b"SCTRPASS", name: "a passages file", version: 1 };

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PassagesHeader {
    start: Start,
    rows: u32,
    vectors: u32,
    zeros: [u32; 10],
    crc: u32,
}

const _: () = assert!(offset_of!(PassagesHeader, rows) == 12);
const _: () = assert!(offset_of!(PassagesHeader, vectors) == 16);
const _: () = assert!(offset_of!(PassagesHeader, crc) == 60);

/// Writes the file. `starts` has the number of the first vector of each row, and at the end that of all vectors.
pub(super) fn write(output: &Output, name: &str, starts: &[u32]) -> Result<Finished> {
    let mut file = output.file(name, HEADER_LEN)?;
    starts.iter().try_for_each(|start| file.write(&start.to_le_bytes()))?;
    file.finish(&seal(&PassagesHeader {
        start: Start::of(&KIND),
        rows: starts.len() as u32 - 1,
        vectors: starts.last().copied().unwrap_or_default(),
        ..PassagesHeader::zeroed()
    }))
}

/// A passages file, mapped.
pub(super) struct PassagesFile {
    map: FileBytes,
}

impl PassagesFile {
    /// Opens a file of `rows` rows, and checks all of it: 4 bytes a row.
    pub fn open(path: PathBuf, map: FileBytes, rows: u32) -> Result<PassagesFile> {
        let header: PassagesHeader = read_header(&path, &map, &KIND)?;
        if header.rows != rows {
            return Err(corrupt(&path, wrong_field("rows", rows, header.rows)));
        }
        let expected = HEADER_LEN as u64 + 4 * (u64::from(rows) + 1);
        if map.len() as u64 != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, map.len())));
        }
        let file = PassagesFile { map };
        let starts = file.starts();
        let is_ascending = starts.windows(2).all(|pair| pair[0] < pair[1]);
        if starts[0] != 0 || !is_ascending || file.passages().num_vectors() != header.vectors {
            let expected = "from 0 to the number of vectors, ascending";
            return Err(corrupt(&path, wrong_field("where rows begin", expected, "something else")));
        }
        Ok(file)
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    pub fn passages(&self) -> Passages<'_> {
        Passages::new(self.starts())
    }

    fn starts(&self) -> &[u32] {
        bytemuck::cast_slice(&self.map[HEADER_LEN..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = secateur_testkit::byte_ranges!(PassagesHeader: rows, vectors);
        assert_eq!(secateur_testkit::format::documented("passages", 0)[..], fields);
    }

    /// What is written comes back, and starts that lead out of the vectors are refused.
    #[test]
    fn starts_come_back_and_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, starts: &[u32], rows| {
            let path = folder.path().join(name);
            let output = Output::Folder(folder.path().to_owned());
            let size = write(&output, name, starts).unwrap().written.size;
            PassagesFile::open(path.clone(), FileBytes::map(&path, size).unwrap(), rows)
        };
        let file = open("good", &[0, 1, 4, 6], 3).unwrap();
        assert_eq!((file.passages().num_vectors(), file.passages().of_row(1)), (6, 1..4));
        for (number, starts) in [&[1, 2, 3, 4][..], &[0, 2, 2, 3], &[0, 3, 2, 4]].into_iter().enumerate() {
            let error = open(&format!("bad{number}"), starts, 3).err().unwrap();
            assert!(error.to_string().contains("where rows begin"), "{error}");
        }
        assert!(open("rows", &[0, 1], 2).is_err());
    }
}
