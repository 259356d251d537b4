//! The graph file: neighbors and copies of a segment's rows, searched where they lie.

use std::mem::size_of;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::codes::{check_rows, put_rows};
use super::settings::VectorSettings;
use crate::error::{Damage, Result};
use crate::file_format::files::{HeadedWriter, Written, corrupt, map, wrong_field};
use crate::file_format::header::{HEADER_LEN, Header, Kind};
use crate::file_format::sections;
use crate::hnsw::Graph;
use crate::hnsw::parts::{Links, MAX_LEVEL, NONE, View};
use crate::metric::Metric;
use crate::quantization::CodeType;
use crate::quantization::codes::{Codes, CodesBuf};
use crate::quantization::int8::{self, Int8Codes, Meta};
use crate::quantization::kernel::int8::Int8Kernel;
use crate::quantization::kernel::one_bit::OneBitKernel;
use crate::quantization::one_bit::{self, OneBitCodes};
use crate::rows::Rows;

const KIND: Kind = Kind { mark: b"SCTRHNSW", name: "a graph file", version: 3 };

/// Files with 8-bit copies are still of this version, which more programs read.
const INT8_VERSION: u32 = 2;

/// The number of 1-bit copies in the header, where that of 8-bit copies is 0.
const ONE_BIT: u32 = 1;

/// How many of each there are.
#[derive(Clone, Copy)]
struct Counts {
    rows: u32,
    dim: u32,
    m: u32,
    blocks: u32,
    codes: CodeType,
}

impl Counts {
    /// The lengths of the sections in bytes, in their order: mean, metas, codes, base, first blocks, upper. Those of 1-bit copies
    /// are one section, that of codes. None overflows: rows and blocks are below 2³², a row's part is below 2¹⁷.
    fn lengths(self) -> [u64; 6] {
        let [rows, dim, m, blocks] = [self.rows, self.dim, self.m, self.blocks].map(u64::from);
        let number = size_of::<u32>() as u64;
        let (meta, code) = match self.codes {
            CodeType::Int8 => (size_of::<Meta>(), int8::stride(self.dim as usize)),
            CodeType::OneBit => (0, size_of::<u64>() * one_bit::stride(self.dim as usize)),
        };
        [
            number * dim,
            meta as u64 * rows,
            code as u64 * rows,
            2 * m * number * rows,
            number * rows,
            m * number * blocks,
        ]
    }
}

pub(super) fn write(path: PathBuf, graph: &Graph) -> Result<Written> {
    let (View { links, copies }, params) = (graph.view(), graph.params());
    let (metric, dim) = copies.space();
    let mut header = Header::new(&KIND);
    let copies: [&[u8]; 3] = match &graph.copies {
        CodesBuf::Int8(codes) => {
            header.put(8, &INT8_VERSION.to_le_bytes());
            header.put(52, &codes.max_length.to_le_bytes());
            let codes = codes.borrow();
            [
                bytemuck::cast_slice(codes.mean),
                bytemuck::cast_slice(codes.metas),
                bytemuck::cast_slice(codes.codes),
            ]
        }
        CodesBuf::OneBit(bits) => {
            header.put(56, &ONE_BIT.to_le_bytes());
            [bytemuck::cast_slice(&bits.mean), &[], bytemuck::cast_slice(&bits.records)]
        }
    };
    let numbers = [
        (24, params.m as u32),
        (28, params.ef_construction as u32),
        (40, links.entry_point),
        (44, links.max_level as u32),
        (48, (links.upper.len() / params.m) as u32),
    ];
    put_rows(&mut header, graph.num_rows(), dim, metric);
    for (at, number) in numbers {
        header.put(at, &number.to_le_bytes());
    }
    header.put(32, &params.seed.to_le_bytes());
    let mut file = HeadedWriter::create(path, HEADER_LEN)?;
    let links = [links.base, links.first_blocks, links.upper].map(bytemuck::cast_slice);
    for section in copies.into_iter().chain(links) {
        file.write(section)?;
        sections::end(&mut file)?;
    }
    file.finish(&header.seal())
}

/// A graph file, mapped.
pub(super) struct GraphFile {
    path: PathBuf,
    map: Mmap,
    metric: Metric,
    counts: Counts,
    entry_point: u32,
    max_level: usize,
    /// None in version 1, whose codes have no bounds on their errors.
    max_length: Option<f32>,
    /// Where the sections lie.
    sections: [Range<usize>; 6],
}

impl GraphFile {
    /// Opens a file of `size` bytes and `rows` rows, and checks its header.
    pub fn open(path: PathBuf, size: u64, rows: u32, vectors: VectorSettings) -> Result<GraphFile> {
        let map = map(&path, size)?;
        let header = Header::read(&path, &map, &KIND)?;
        check_rows(&path, &header, rows, vectors)?;
        let VectorSettings { metric, dim, .. } = vectors;
        let [m, entry_point, max_level] = [24, 40, 44].map(|at| header.u32(at));
        for (field, is_right, expected, got) in [
            ("M", (2..=256).contains(&m), "2 to 256", m),
            ("the entry point", entry_point < rows, "a row", entry_point),
            ("the highest level", max_level as usize <= MAX_LEVEL, "at most 31", max_level),
        ] {
            if !is_right {
                return Err(corrupt(&path, wrong_field(field, expected, got)));
            }
        }
        let codes = match (header.u32(8), header.u32(56)) {
            (..=INT8_VERSION, _) | (_, 0) => CodeType::Int8,
            (_, ONE_BIT) => CodeType::OneBit,
            (_, other) => return Err(corrupt(&path, wrong_field("the kind of copies", "0 or 1", other))),
        };
        let counts = Counts { rows, dim: dim as u32, m, blocks: header.u32(48), codes };
        let expected = sections::file_len(counts.lengths());
        if size != expected {
            return Err(corrupt(&path, wrong_field("the length of the file", expected, size)));
        }
        let max_length = match header.u32(8) {
            1 => None,
            _ => Some(f32::from_le_bytes(header.array(52))),
        };
        let (max_level, sections) = (max_level as usize, sections::ranges(counts.lengths()));
        Ok(GraphFile { path, map, metric, counts, entry_point, max_level, max_length, sections })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn view(&self) -> View<'_> {
        let [mean, metas, codes, base, first_blocks, upper] =
            self.sections.clone().map(|section| &self.map[section]);
        let (metric, dim) = (self.metric, self.counts.dim as usize);
        // A map begins at a page and every section at a multiple of 64 bytes.
        let mean = bytemuck::cast_slice(mean);
        let copies = match self.counts.codes {
            CodeType::Int8 => {
                let (codes, metas) = (bytemuck::cast_slice(codes), bytemuck::cast_slice(metas));
                let codes = Int8Codes { metric, dim, mean, codes, metas, max_length: self.max_length };
                Codes::Int8(codes, Int8Kernel::detect())
            }
            CodeType::OneBit => {
                let bits = OneBitCodes { metric, dim, mean, records: bytemuck::cast_slice(codes) };
                Codes::OneBit(bits, OneBitKernel::detect())
            }
        };
        View {
            links: Links {
                m: self.counts.m as usize,
                base: bytemuck::cast_slice(base),
                first_blocks: bytemuck::cast_slice(first_blocks),
                upper: bytemuck::cast_slice(upper),
                entry_point: self.entry_point,
                max_level: self.max_level,
            },
            copies,
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
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

    /// Checks that every number names what is there, and that the copies are those of the rows, (N, D) row-major.
    pub fn verify(&self, rows: Rows<'_>) -> Result<()> {
        let View { links, copies } = self.view();
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
        let verified = match copies {
            Codes::Int8(codes, _) => {
                let mut numbers = codes.mean.iter().chain(codes.metas.as_flattened());
                if numbers.all(|x| x.is_finite()) { codes.verify(rows) } else { Err("a scale") }
            }
            Codes::OneBit(bits, _) => bits.verify(rows),
        };
        verified.map_err(|part| damaged(Damage::Undecodable { part }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::hnsw::HnswParams;
    use crate::search::{ApproximateIndex, SearchOptions, Source, VectorSearch};
    use proptest::prelude::*;
    use std::sync::OnceLock;

    const ROWS: usize = 400;
    const DIM: usize = 5;

    fn rows() -> Vec<f32> {
        (0..ROWS * DIM).map(|at| ((at * 2_654_435_761) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    fn settings() -> VectorSettings {
        VectorSettings::new(Metric::Cosine, DIM)
    }

    fn open(path: &Path) -> Result<GraphFile> {
        let size = std::fs::metadata(path).unwrap().len();
        GraphFile::open(path.to_owned(), size, ROWS as u32, settings())
    }

    fn search(file: &GraphFile, rows: &[f32]) -> Result<Vec<crate::topk::Hit>> {
        let mut index = ApproximateIndex::empty(Metric::Cosine, DIM);
        index.push_part(rows, None, None, Some(Source::Graph(file.view(), file.path())));
        index.search(&rows[..DIM], 10, &SearchOptions::new(30))
    }

    fn written(folder: &Path, codes: CodeType) -> (PathBuf, Graph) {
        let params = HnswParams { codes, ..HnswParams::default() };
        let graph = Graph::build(Metric::Cosine, DIM, &rows(), &params).unwrap();
        let path = folder.join("graph");
        write(path.clone(), &graph).unwrap();
        (path, graph)
    }

    /// The file answers as the graph in memory does; one of other rows, another metric or a later version is refused.
    #[test]
    fn what_is_written_is_searched() {
        CodeType::ALL.into_iter().for_each(check_written);
    }

    fn check_written(codes: CodeType) {
        let folder = tempfile::tempdir().unwrap();
        let (path, graph) = written(folder.path(), codes);
        let file = open(&path).unwrap();
        file.verify(Rows::F32(&rows())).unwrap();
        let rows = rows();
        let expected =
            ApproximateIndex::new(&rows, &graph).unwrap().search(&rows[..DIM], 10, &SearchOptions::new(30));
        assert_eq!(search(&file, &rows).unwrap(), expected.unwrap());
        let again = folder.path().join("again");
        let size = write(again.clone(), &graph).unwrap().size;
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        let l2 = VectorSettings { metric: Metric::L2, ..settings() };
        for result in [
            GraphFile::open(path.clone(), size, 1 + ROWS as u32, settings()),
            GraphFile::open(path.clone(), size, ROWS as u32, l2),
            GraphFile::open(path.clone(), size, ROWS as u32, VectorSettings { dim: 6, ..settings() }),
        ] {
            assert!(matches!(result, Err(Error::Corrupt { damage: Damage::Field { .. }, .. })));
        }
        let mut bytes = std::fs::read(&path).unwrap();
        // Programs that know no 1-bit copies refuse a file with these by its version.
        assert_eq!(bytes[8], if codes == CodeType::Int8 { 2 } else { 3 });
        bytes[8] = 4;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(&path), Err(Error::NewerFormat { found: 4, supported: 3, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Bytes changed or cut off anywhere, the header's checksum made right again: an error, or hits that are rows with
        /// their true scores; never a panic.
        #[test]
        fn bad_bytes_are_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..40),
            cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
            is_forged: bool,
            codes in prop::sample::select(&CodeType::ALL),
        ) {
            static WHOLE: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("graph");
            let whole = || std::fs::read(written(folder.path(), codes).0).unwrap();
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
            let rows = rows();
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
