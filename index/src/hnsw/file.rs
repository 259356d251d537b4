//! The graph file: neighbors and codes of a segment's rows, searched where they lie.

use std::mem::{offset_of, size_of};
use std::ops::Range;
use std::path::PathBuf;

use bytemuck::{Pod, Zeroable};
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use super::copies;
use super::graph::Graph;
use super::links::{Links, MAX_LEVEL, NONE};
use super::traversal::GraphView;
use crate::bitmap::Bitmap;
use crate::candidates::{Candidates, Matches};
use crate::error::{Damage, Result};
use crate::file_format::file_set::FileSet;
use crate::file_format::files::{HeadedWriter, Written, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::file_format::sections;
use crate::format::IndexFiles;
use crate::metric::Metric;
use crate::quantization::codes::{Codes, CodesBuf};
use crate::quantization::file::CodedRows;
use crate::quantization::int8::{self, Int8Codes, Meta};
use crate::quantization::kernel::int8::Int8Kernel;
use crate::quantization::kernel::one_bit::OneBitKernel;
use crate::quantization::one_bit::{self, OneBitCodes};
use crate::rows::Rows;
use crate::topk::RowId;

pub(super) const NAME: &str = "graph";

const KIND: Kind = Kind { mark: *b"SCTRHNSW", name: "a graph file", version: 4 };

/// Files with 8-bit codes are still of this version, which more programs read, unless rows are equal.
const INT8_VERSION: u32 = 2;

/// The same of files with 1-bit codes.
const ONE_BIT_VERSION: u32 = 3;

/// The number of 1-bit codes in the header, where that of 8-bit codes is 0.
const ONE_BIT: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GraphHeader {
    start: Start,
    rows: CodedRows,
    m: u32,
    ef_construction: u32,
    seed: u64,
    entry_point: u32,
    max_level: u32,
    /// Of neighbors on levels above 0.
    num_blocks: u32,
    /// Of 8-bit codes, from version 2 on.
    max_length: f32,
    /// Zero before version 3.
    code_type: u32,
    crc: u32,
}

const _: () = assert!(
    offset_of!(GraphHeader, rows) == 12
        && offset_of!(GraphHeader, m) == 24
        && offset_of!(GraphHeader, ef_construction) == 28
        && offset_of!(GraphHeader, seed) == 32
        && offset_of!(GraphHeader, entry_point) == 40
        && offset_of!(GraphHeader, max_level) == 44
        && offset_of!(GraphHeader, num_blocks) == 48
        && offset_of!(GraphHeader, max_length) == 52
        && offset_of!(GraphHeader, code_type) == 56
        && offset_of!(GraphHeader, crc) == 60
);

/// The codes of a file by their kind, with what compares them.
#[derive(Clone, Copy)]
enum CodesKernel {
    Int8(Int8Kernel),
    OneBit(OneBitKernel),
}

/// How many of each there are.
#[derive(Clone, Copy)]
struct Counts {
    rows: u32,
    dim: u32,
    m: u32,
    blocks: u32,
    has_copies: bool,
    kernel: CodesKernel,
}

impl Counts {
    /// The lengths of the sections in bytes: mean, metas, codes, base, first blocks, upper, copies, in this order.
    /// 1-bit codes have no metas of their own. None overflows: rows and blocks are below 2³², a row's
    /// part is below 2¹⁷.
    fn lengths(self) -> [u64; 7] {
        let [rows, dim, m, blocks] = [self.rows, self.dim, self.m, self.blocks].map(u64::from);
        let number = size_of::<u32>() as u64;
        let (meta, code) = match self.kernel {
            CodesKernel::Int8(_) => (size_of::<Meta>(), int8::stride(self.dim as usize)),
            CodesKernel::OneBit(_) => (0, size_of::<u64>() * one_bit::stride(self.dim as usize)),
        };
        [
            number * dim,
            meta as u64 * rows,
            code as u64 * rows,
            2 * m * number * rows,
            number * rows,
            m * number * blocks,
            if self.has_copies { number * rows } else { 0 },
        ]
    }
}

pub(super) fn write(path: PathBuf, graph: &Graph) -> Result<Written> {
    let (GraphView { links, codes }, params) = (graph.view(), graph.params());
    let (metric, dim) = codes.space();
    let (version, max_length, code_type, codes): (u32, f32, u32, [&[u8]; 3]) = match &graph.codes {
        CodesBuf::Int8(buffer, _) => {
            let codes = buffer.borrow();
            let sections = [
                bytemuck::cast_slice(codes.mean),
                bytemuck::cast_slice(codes.metas),
                bytemuck::cast_slice(codes.codes),
            ];
            (INT8_VERSION, buffer.max_length, 0, sections)
        }
        CodesBuf::OneBit(buffer, _) => {
            let sections = [bytemuck::cast_slice(&buffer.mean), &[], bytemuck::cast_slice(&buffer.records)];
            (ONE_BIT_VERSION, 0.0, ONE_BIT, sections)
        }
    };
    let version = if links.copies.is_empty() { version } else { KIND.version };
    let header = GraphHeader {
        start: Start { version, ..Start::of(&KIND) },
        rows: CodedRows::new(graph.num_rows() as u32, dim, metric),
        m: params.m as u32,
        ef_construction: params.ef_construction as u32,
        seed: params.seed,
        entry_point: links.entry_point,
        max_level: links.max_level as u32,
        num_blocks: (links.upper.len() / params.m) as u32,
        max_length,
        code_type,
        crc: 0,
    };
    let mut file = HeadedWriter::create(path, HEADER_LEN)?;
    let links = [links.base, links.first_blocks, links.upper, links.copies].map(bytemuck::cast_slice);
    for section in codes.into_iter().chain(links) {
        file.write(section)?;
        sections::end(&mut file)?;
    }
    Ok(file.finish(&seal(&header))?.written)
}

/// A graph file, mapped.
pub(super) struct GraphFile {
    files: FileSet,
    path: PathBuf,
    metric: Metric,
    counts: Counts,
    entry_point: u32,
    max_level: usize,
    /// `None` in version 1, whose codes have no bounds on their errors.
    max_length: Option<f32>,
    /// Where the sections lie.
    sections: [Range<usize>; 7],
}

impl GraphFile {
    /// Checks the header of the file of a graph of `rows` rows.
    pub fn open(files: FileSet, metric: Metric, dim: usize, rows: u32) -> Result<GraphFile> {
        let path = files.folder().join(NAME);
        let bytes = files.bytes(NAME);
        let header: GraphHeader = read_header(&path, bytes, &KIND)?;
        header.rows.check(&path, CodedRows::new(rows, dim, metric))?;
        let GraphHeader { m, entry_point, max_level, .. } = header;
        for (field, is_right, expected, got) in [
            ("M", (2..=256).contains(&m), "2 to 256", m),
            ("the entry point", entry_point < rows, "a row", entry_point),
            ("the highest level", max_level as usize <= MAX_LEVEL, "at most 31", max_level),
        ] {
            if !is_right {
                return Err(corrupt(&path, wrong_field(field, expected, got)));
            }
        }
        let kernel = match (header.start.version, header.code_type) {
            (..=INT8_VERSION, _) | (_, 0) => CodesKernel::Int8(Int8Kernel::detect()),
            (_, ONE_BIT) => CodesKernel::OneBit(OneBitKernel::detect()),
            (_, other) => return Err(corrupt(&path, wrong_field("the kind of codes", "0 or 1", other))),
        };
        let has_copies = header.start.version > ONE_BIT_VERSION;
        let counts = Counts { rows, dim: dim as u32, m, blocks: header.num_blocks, has_copies, kernel };
        let (size, expected) = (bytes.len() as u64, sections::file_len(counts.lengths()));
        if size != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, size)));
        }
        let max_length = (header.start.version > 1).then_some(header.max_length);
        let (max_level, sections) = (max_level as usize, sections::ranges(counts.lengths()));
        Ok(GraphFile { files, path, metric, counts, entry_point, max_level, max_length, sections })
    }

    pub fn view(&self) -> GraphView<'_> {
        let bytes = self.files.bytes(NAME);
        let [mean, metas, codes, base, first_blocks, upper, copies] =
            self.sections.clone().map(|section| &bytes[section]);
        let (metric, dim) = (self.metric, self.counts.dim as usize);
        // A map begins at a page and every section at a multiple of 64 bytes.
        let mean = bytemuck::cast_slice(mean);
        let codes = match self.counts.kernel {
            CodesKernel::Int8(kernel) => {
                let (codes, metas) = (bytemuck::cast_slice(codes), bytemuck::cast_slice(metas));
                Codes::Int8(
                    Int8Codes { metric, dim, mean, codes, metas, max_length: self.max_length },
                    kernel,
                )
            }
            CodesKernel::OneBit(kernel) => {
                Codes::OneBit(OneBitCodes { metric, dim, mean, records: bytemuck::cast_slice(codes) }, kernel)
            }
        };
        GraphView {
            links: Links {
                m: self.counts.m as usize,
                base: bytemuck::cast_slice(base),
                first_blocks: bytemuck::cast_slice(first_blocks),
                upper: bytemuck::cast_slice(upper),
                copies: bytemuck::cast_slice(copies),
                entry_point: self.entry_point,
                max_level: self.max_level,
            },
            codes,
        }
    }

    /// Checks that the entry point is on the highest level, and every neighbor on the level where it is one.
    fn verify_levels(&self, links: &Links<'_>) -> Result<()> {
        // The blocks of a row end where those of the next one begin.
        let blocks = links.first_blocks.iter().zip(0u32..).filter(|(block, _)| **block != NONE);
        let mut starts: Vec<(u32, u32)> = blocks.map(|(block, row)| (*block, row)).collect();
        starts.sort_unstable();
        let ends = starts.iter().skip(1).map(|(block, _)| *block).chain([self.counts.blocks]);
        let mut num_levels = vec![0; links.num_rows()];
        for ((start, row), end) in starts.iter().zip(ends) {
            num_levels[*row as usize] = end - start;
        }
        let check = |field, row: u32, level: u32| match num_levels.get(row as usize) {
            Some(levels) if *levels >= level => Ok(()),
            levels => Err(corrupt(&self.path, wrong_field(field, level, levels.unwrap_or(&0)))),
        };
        if links.num_rows() > 0 {
            check("the level of the entry point", links.entry_point, self.max_level as u32)?;
        }
        for (start, row) in &starts {
            for level in 1..=num_levels[*row as usize] {
                let block = (start + level - 1) as usize;
                let list = &links.upper[block * links.m..][..links.m];
                for near in list.iter().take_while(|near| **near != NONE) {
                    check("the level of a neighbor", *near, level)?;
                }
            }
        }
        Ok(())
    }
}

impl GraphFile {
    /// Checks that a row leads to a later one of an equal code, and no two rows to the same.
    fn verify_copies(&self, links: &Links<'_>, codes: Option<Int8Codes<'_>>) -> Result<()> {
        let mut named = Bitmap::default();
        for (row, &next) in (0u32..).zip(links.copies).filter(|(_, next)| **next != NONE) {
            let is_sound = next > row
                && (next as usize) < links.num_rows()
                && named.insert(next)
                && codes.is_none_or(|codes| copies::are_equal(&codes, row, next));
            if !is_sound {
                let expected = format!("a later row than {row}, of an equal code, or none");
                return Err(corrupt(
                    &self.path,
                    wrong_field("the next row of an equal code", expected, next),
                ));
            }
        }
        Ok(())
    }
}

impl Candidates for GraphFile {
    fn metric(&self) -> Metric {
        self.metric
    }

    fn dim(&self) -> usize {
        self.counts.dim as usize
    }

    fn num_rows(&self) -> usize {
        self.counts.rows as usize
    }

    fn find(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>> {
        let found = self.view().candidates(query, k, ef_search, matches);
        found.map_err(|damage| corrupt(&self.path, damage))
    }

    fn int8_codes(&self) -> Option<Int8Codes<'_>> {
        self.view().codes.int8()
    }
}

impl IndexFiles for GraphFile {
    fn files(&self) -> &FileSet {
        &self.files
    }

    fn candidates(&self, _: Rows<'_>) -> Result<Option<&dyn Candidates>> {
        Ok(Some(self))
    }

    fn int8_codes(&self) -> Option<Int8Codes<'_>> {
        self.view().codes.int8()
    }

    /// Checks that every number names what is there, and that the codes are those of the rows.
    fn verify(&self, rows: Rows<'_>) -> Result<()> {
        let GraphView { links, codes } = self.view();
        let damaged = |damage| corrupt(&self.path, damage);
        for list in [links.base, links.upper] {
            for row in list.iter().filter(|row| **row != NONE) {
                links.check(*row).map_err(damaged)?;
            }
        }
        for block in links.first_blocks.iter().filter(|block| **block != NONE) {
            if *block >= self.counts.blocks {
                return Err(damaged(wrong_field("the upper block of a row", self.counts.blocks, block)));
            }
        }
        self.verify_levels(&links)?;
        self.verify_copies(&links, codes.int8())?;
        let verified = match codes {
            Codes::Int8(codes, _) => {
                let mut numbers = codes.mean.iter().chain(codes.metas.as_flattened());
                if numbers.all(|x| x.is_finite()) { codes.verify(rows) } else { Err("a scale") }
            }
            Codes::OneBit(codes, _) => codes.verify(rows),
        };
        verified.map_err(|part| damaged(Damage::Undecodable { part }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::hnsw::HnswParams;
    use crate::quantization::CodeType;
    use crate::search::{ApproximateIndex, SearchOptions, VectorSearch};
    use proptest::prelude::*;
    use std::path::Path;
    use std::sync::OnceLock;

    #[test]
    fn the_header_is_that_of_format_md() {
        let mut fields = CodedRows::byte_ranges(offset_of!(GraphHeader, rows)).to_vec();
        fields.extend(secateur_testkit::byte_ranges!(
            GraphHeader: m, ef_construction, seed, entry_point, max_level, num_blocks, max_length, code_type
        ));
        assert_eq!(secateur_testkit::format::documented("graph", 0), fields);
    }

    const ROWS: usize = 400;
    const DIM: usize = 5;

    fn rows() -> Vec<f32> {
        (0..ROWS * DIM).map(|at| ((at * 2_654_435_761) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    /// The same with some equal rows.
    fn with_copies() -> Vec<f32> {
        let mut rows = rows();
        for copy in [3, 90, 91, 399] {
            rows.copy_within(2 * DIM..3 * DIM, copy * DIM);
        }
        rows.copy_within(7 * DIM..8 * DIM, 200 * DIM);
        rows
    }

    fn open_as(path: &Path, metric: Metric, dim: usize, rows: usize) -> Result<GraphFile> {
        let written = Written { size: std::fs::metadata(path).unwrap().len(), crc: 0 };
        let files = FileSet::open(path.parent().unwrap().to_owned(), &[NAME], |_| Some(written))?;
        GraphFile::open(files.unwrap(), metric, dim, rows as u32)
    }

    fn open(path: &Path) -> Result<GraphFile> {
        open_as(path, Metric::Cosine, DIM, ROWS)
    }

    fn search(file: &GraphFile, rows: &[f32]) -> Result<Vec<crate::topk::Hit>> {
        let mut index = ApproximateIndex::empty(Metric::Cosine, DIM);
        index.push(rows, None, None, Some(file));
        index.search(&rows[..DIM], 10, &SearchOptions::new(30))
    }

    fn written(folder: &Path, codes: CodeType, rows: &[f32]) -> (PathBuf, Graph) {
        let params = HnswParams { codes, ..HnswParams::default() };
        let graph = Graph::build(Metric::Cosine, DIM, rows, &params).unwrap();
        let path = folder.join("graph");
        write(path.clone(), &graph).unwrap();
        (path, graph)
    }

    /// The file gives the same answers as the graph in memory. A file of other rows, of another metric or of a later
    /// version is refused.
    #[test]
    fn what_is_written_is_searched() {
        for &codes in CodeType::ALL {
            check_written(codes, &rows(), if codes == CodeType::Int8 { 2 } else { 3 });
            check_written(codes, &with_copies(), 4);
        }
    }

    fn check_written(codes: CodeType, rows: &[f32], version: u8) {
        let folder = tempfile::tempdir().unwrap();
        let (path, graph) = written(folder.path(), codes, rows);
        let file = open(&path).unwrap();
        file.verify(Rows::F32(rows)).unwrap();
        let expected =
            ApproximateIndex::new(rows, &graph).unwrap().search(&rows[..DIM], 10, &SearchOptions::new(30));
        assert_eq!(search(&file, rows).unwrap(), expected.unwrap());
        let again = folder.path().join("again");
        write(again.clone(), &graph).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        for result in [
            open_as(&path, Metric::Cosine, DIM, 1 + ROWS),
            open_as(&path, Metric::L2, DIM, ROWS),
            open_as(&path, Metric::Cosine, 6, ROWS),
        ] {
            assert!(matches!(result, Err(Error::Corrupt { damage: Damage::Field { .. }, .. })));
        }
        let mut bytes = std::fs::read(&path).unwrap();
        // Programs without 1-bit codes, or without copies, refuse a file with them by its version.
        assert_eq!(bytes[8], version);
        bytes[8] = 5;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(&path), Err(Error::NewerFormat { found: 5, supported: 4, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Bytes changed or cut off anywhere, the header's checksum made right again. The result is an error, or hits
        /// that are rows with their true scores; never a panic.
        #[test]
        fn bad_bytes_are_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..40),
            cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
            is_forged: bool,
            codes in prop::sample::select(CodeType::ALL),
        ) {
            static WHOLE: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("graph");
            let rows = with_copies();
            let whole = || std::fs::read(written(folder.path(), codes, &rows).0).unwrap();
            let mut bytes = WHOLE[codes as usize].get_or_init(whole).clone();
            for (place, byte, in_header) in changes {
                let end = if in_header { HEADER_LEN } else { bytes.len() };
                bytes[place.index(end)] = byte;
            }
            if is_forged {
                let crc = crc32fast::hash(&bytes[..HEADER_LEN - 4]);
                bytes[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(file) = open(&path) {
                let (verified, hits) = (file.verify(Rows::F32(&rows)), search(&file, &rows));
                prop_assert!(hits.is_ok() || verified.is_err(), "verify missed {:?}", hits);
                for hit in hits.unwrap_or_default() {
                    let row = &rows[hit.row.0 as usize * DIM..][..DIM];
                    let exact = crate::flat::FlatIndex::new(Metric::Cosine, DIM, row).unwrap();
                    prop_assert_eq!(exact.search(&rows[..DIM], 1).unwrap()[0].score, hit.score);
                }
            }
        }
    }
}
