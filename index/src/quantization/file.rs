//! The codes file: 8-bit codes of a segment's rows, which exact searches read first.

use std::mem::{offset_of, size_of};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use super::int8::{Int8Codes, Meta, RowEncoder, stride};
use crate::error::{Damage, Result};
use crate::file_format::files::{FileBytes, Finished, Output, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::file_format::sections;
use crate::metric::Metric;
use crate::rows::Rows;

const KIND: Kind = Kind { mark: *b"SCTRCODE", name: "a codes file", version: 1 };

/// Which rows a file with codes of them belongs to: a part of its header.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct CodedRows {
    rows: u32,
    dim: u32,
    metric: u32,
}

impl CodedRows {
    /// The bytes of the fields in a header in which this begins at `start`.
    #[cfg(test)]
    pub fn byte_ranges(start: usize) -> [Range<usize>; 3] {
        secateur_testkit::byte_ranges!(CodedRows: rows, dim, metric)
            .map(|field| start + field.start..start + field.end)
    }

    pub fn new(rows: u32, dim: usize, metric: Metric) -> CodedRows {
        CodedRows { rows, dim: dim as u32, metric: metric.number() }
    }

    /// Checks that a file belongs to the rows that it should.
    pub fn check(self, path: &Path, expected: CodedRows) -> Result<()> {
        for (field, expected, got) in [
            ("rows", expected.rows, self.rows),
            ("dim", expected.dim, self.dim),
            ("the metric", expected.metric, self.metric),
        ] {
            if got != expected {
                return Err(corrupt(path, wrong_field(field, expected, got)));
            }
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CodesHeader {
    start: Start,
    rows: CodedRows,
    max_length: f32,
    zeros: [u32; 8],
    crc: u32,
}

const _: () = assert!(
    offset_of!(CodesHeader, rows) == 12
        && offset_of!(CodesHeader, max_length) == 24
        && offset_of!(CodesHeader, crc) == 60
);

/// Rows encoded at a time, which bounds the memory.
const BLOCK: usize = 4096;

/// The lengths of the sections in bytes: mean, codes, metas. None overflows: rows are below 2³², a row's part below
/// 2¹⁷.
fn lengths(rows: u32, dim: usize) -> [u64; 3] {
    let rows = u64::from(rows);
    [(size_of::<f32>() * dim) as u64, stride(dim) as u64 * rows, size_of::<Meta>() as u64 * rows]
}

/// Encodes rows, (N, D) row-major, which are read through twice.
pub(crate) fn write(
    output: &Output,
    name: &str,
    metric: Metric,
    dim: usize,
    rows: Rows<'_>,
) -> Result<Finished> {
    let encoder = RowEncoder::fit(metric, dim, rows);
    let num_rows = rows.len() / dim;
    let mut file = output.file(name, HEADER_LEN)?;
    file.write(bytemuck::cast_slice(encoder.mean()))?;
    sections::end(&mut file)?;
    let mut codes = vec![0; BLOCK.min(num_rows) * stride(dim)];
    let mut metas: Vec<Meta> = vec![[0.0; 4]; num_rows];
    for (rows, metas) in rows.chunks(BLOCK * dim).zip(metas.chunks_mut(BLOCK)) {
        let codes = &mut codes[..metas.len() * stride(dim)];
        encoder.encode(rows, codes, metas);
        file.write(bytemuck::cast_slice(codes))?;
    }
    sections::end(&mut file)?;
    file.write(bytemuck::cast_slice(&metas))?;
    sections::end(&mut file)?;
    file.finish(&seal(&CodesHeader {
        start: Start::of(&KIND),
        rows: CodedRows::new(num_rows as u32, dim, metric),
        max_length: encoder.max_length(),
        zeros: [0; 8],
        crc: 0,
    }))
}

/// A codes file, mapped.
pub(crate) struct CodesFile {
    path: PathBuf,
    map: FileBytes,
    metric: Metric,
    dim: usize,
    max_length: f32,
    /// Where the sections lie.
    sections: [Range<usize>; 3],
}

impl CodesFile {
    /// Opens a file of `rows` rows, and checks its header.
    pub fn open(path: PathBuf, map: FileBytes, metric: Metric, dim: usize, rows: u32) -> Result<CodesFile> {
        let header: CodesHeader = read_header(&path, &map, &KIND)?;
        header.rows.check(&path, CodedRows::new(rows, dim, metric))?;
        let lengths = lengths(rows, dim);
        let expected = sections::file_len(lengths);
        if map.len() as u64 != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, map.len())));
        }
        let (max_length, sections) = (header.max_length, sections::ranges(lengths));
        Ok(CodesFile { path, map, metric, dim, max_length, sections })
    }

    pub fn codes(&self) -> Int8Codes<'_> {
        let [mean, codes, metas] = self.sections.clone().map(|section| &self.map[section]);
        // Files and their sections begin at multiples of 64 bytes.
        Int8Codes {
            metric: self.metric,
            dim: self.dim,
            mean: bytemuck::cast_slice(mean),
            codes: bytemuck::cast_slice(codes),
            metas: bytemuck::cast_slice(metas),
            max_length: Some(self.max_length),
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Checks that the codes are those of the rows, (N, D) row-major.
    pub fn verify(&self, rows: Rows<'_>) -> Result<()> {
        self.codes().verify(rows).map_err(|part| corrupt(&self.path, Damage::Undecodable { part }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_format_md() {
        let mut fields = CodedRows::byte_ranges(offset_of!(CodesHeader, rows)).to_vec();
        fields.extend(secateur_testkit::byte_ranges!(CodesHeader: max_length));
        assert_eq!(secateur_testkit::format::documented("codes", 0), fields);
    }
}
