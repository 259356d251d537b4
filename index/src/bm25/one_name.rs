//! The name of the one segment of an index, which is in the names of its files.
//!
//! tantivy draws it at random. So two indexes of the same documents would differ, though every posting is the same.
//! Each index lies in a folder of its own, so all can have one name, and the same documents give the same bytes.

use std::fs;
use std::path::Path;

use secateur_files::disk::{self, DiskFile};
use secateur_files::{AtPath, PathError};
use tantivy::index::SegmentId;
use tantivy::{IndexMeta, Segment};

use crate::error::{Error, Result};

/// The name of every segment.
const NAME: &str = "00000000000000000000000000000000";

/// The file in which tantivy says what an index has.
pub(super) const META: &str = "meta.json";

/// The list of what tantivy may remove, which only its own cleaning up reads. Its order is random.
const MANAGED: &str = ".managed.json";

/// Gives the files of the index in `folder`, of this one segment, the name that all have.
pub(super) fn rename_files(folder: &Path, segment: &Segment) -> Result<()> {
    let drawn = segment.id().uuid_string();
    let meta = meta(segment).map_err(|source| Error::Bm25 {
        action: "written",
        path: folder.to_owned(),
        source: Box::new(source),
    })?;
    // All names first: a folder that changes while it is listed may leave some out.
    let names =
        fs::read_dir(folder).at("list", folder)?.map(|entry| Ok(entry.at("list", folder)?.file_name()));
    for name in names.collect::<Result<Vec<_>, PathError>>()? {
        if let Some(name) = name.to_str().filter(|name| name.starts_with(&drawn)) {
            disk::rename(&folder.join(name), &folder.join(renamed(name, &drawn)))?;
        }
    }
    let path = folder.join(META);
    let write = || -> Result<(), PathError> {
        use std::io::Write;
        DiskFile::create(&path)?.write_all(&meta).at("write", &path)
    };
    write()?;
    Ok(disk::remove_if_there(&folder.join(MANAGED))?)
}

/// The name of a file of a segment, given the name of the segment that tantivy drew.
pub(super) fn renamed(file: &str, drawn: &str) -> String {
    file.replacen(drawn, NAME, 1)
}

/// The file [`META`] of an index of this segment, under the name that all have.
pub(super) fn meta(segment: &Segment) -> tantivy::Result<Vec<u8>> {
    let index = segment.index();
    let name = SegmentId::from_uuid_string(NAME)
        .map_err(|_| tantivy::TantivyError::InvalidArgument(format!("{NAME} is no name of a segment")))?;
    let meta = IndexMeta {
        segments: vec![index.new_segment_meta(name, segment.meta().max_doc())],
        // Of a merge it is the names of what was merged.
        payload: None,
        ..index.load_metas()?
    };
    let mut bytes = serde_json::to_vec_pretty(&meta)?;
    bytes.push(b'\n');
    Ok(bytes)
}
