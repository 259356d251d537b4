//! The codes file: 8-bit copies of a segment's rows, which exact searches read first.

use std::mem::size_of;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::settings::VectorSettings;
use crate::error::{Damage, Result};
use crate::file_format::files::{HeadedWriter, Written, corrupt, map, wrong_field};
use crate::file_format::header::{HEADER_LEN, Header, Kind};
use crate::file_format::sections;
use crate::metric::Metric;
use crate::quantization::int8::{Int8Codes, Meta, RowEncoder, stride};
use crate::rows::Rows;

const KIND: Kind = Kind { mark: b"SCTRCODE", name: "a codes file", version: 1 };

/// Rows encoded at a time, which bounds the memory.
const BLOCK: usize = 4096;

/// Puts down which rows a file with copies of them belongs to.
pub(super) fn put_rows(header: &mut Header, rows: usize, dim: usize, metric: Metric) {
    for (at, number) in [(12, rows as u32), (16, dim as u32), (20, metric_code(metric))] {
        header.put(at, &number.to_le_bytes());
    }
}

/// Checks what [`put_rows`] put down.
pub(super) fn check_rows(path: &Path, header: &Header, rows: u32, vectors: VectorSettings) -> Result<()> {
    let VectorSettings { metric, dim, .. } = vectors;
    for (field, at, expected) in
        [("rows", 12, rows), ("dim", 16, dim as u32), ("the metric", 20, metric_code(metric))]
    {
        if header.u32(at) != expected {
            return Err(corrupt(path, wrong_field(field, expected, header.u32(at))));
        }
    }
    Ok(())
}

/// The metric as files number it.
fn metric_code(metric: Metric) -> u32 {
    match metric {
        Metric::InnerProduct => 0,
        Metric::Cosine => 1,
        Metric::L2 => 2,
    }
}

/// The lengths of the sections in bytes: mean, codes, metas. None overflows: rows are below 2³², a row's part below 2¹⁷.
fn lengths(rows: u32, dim: usize) -> [u64; 3] {
    let rows = u64::from(rows);
    [(size_of::<f32>() * dim) as u64, stride(dim) as u64 * rows, size_of::<Meta>() as u64 * rows]
}

/// Encodes rows, (N, D) row-major, which are read through twice.
pub(super) fn write(path: PathBuf, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<Written> {
    let encoder = RowEncoder::fit(metric, dim, rows);
    let num_rows = rows.len() / dim;
    let mut header = Header::new(&KIND);
    put_rows(&mut header, num_rows, dim, metric);
    header.put(24, &encoder.max_length().to_le_bytes());
    let mut file = HeadedWriter::create(path, HEADER_LEN)?;
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
    file.finish(&header.seal())
}

/// A codes file, mapped.
pub(super) struct CodesFile {
    path: PathBuf,
    map: Mmap,
    metric: Metric,
    dim: usize,
    max_length: f32,
    /// Where the sections lie.
    sections: [Range<usize>; 3],
}

impl CodesFile {
    /// Opens a file of `size` bytes and `rows` rows, and checks its header.
    pub fn open(path: PathBuf, size: u64, rows: u32, vectors: VectorSettings) -> Result<CodesFile> {
        let map = map(&path, size)?;
        let header = Header::read(&path, &map, &KIND)?;
        check_rows(&path, &header, rows, vectors)?;
        let VectorSettings { metric, dim, .. } = vectors;
        let lengths = lengths(rows, dim);
        if size != sections::file_len(lengths) {
            let expected = sections::file_len(lengths);
            return Err(corrupt(&path, wrong_field("the length of the file", expected, size)));
        }
        let max_length = f32::from_le_bytes(header.array(24));
        Ok(CodesFile { path, map, metric, dim, max_length, sections: sections::ranges(lengths) })
    }

    pub fn codes(&self) -> Int8Codes<'_> {
        let [mean, codes, metas] = self.sections.clone().map(|section| &self.map[section]);
        // A map begins at a page and every section at a multiple of 64 bytes.
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

    /// Checks that the copies are those of the rows, (N, D) row-major.
    pub fn verify(&self, rows: Rows<'_>) -> Result<()> {
        self.codes().verify(rows).map_err(|part| corrupt(&self.path, Damage::Undecodable { part }))
    }
}
