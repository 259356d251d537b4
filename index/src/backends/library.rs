//! What the indexes of other libraries have in common.
//!
//! A library finds rows in the space of [`Space`], and writes and reads its own files. Here is the search among rows of
//! which some may be found. Here are also the files, which are mapped with all others, for their checksums. The
//! library, which takes names and not bytes, reads the files when they are first searched.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use secateur_files::disk::DiskFile;

use super::space::Space;
use crate::candidates::{Candidates, Matches};
use crate::error::Result;
use crate::file_format::file_set::FileSet;
use crate::file_format::files::{Written, sync_foreign};
use crate::format::{FormatFiles, IndexFiles};
use crate::metric::Metric;
use crate::rows::{ComponentType, Rows};
use crate::topk::RowId;

/// An index of a library in memory.
pub(super) trait LibraryIndex: Send + Sync {
    fn space(&self) -> &Space;

    fn num_rows(&self) -> usize;

    /// The rows that are found for a query of D components: at most `kept` of all rows, whether they match or not.
    fn nearest(&self, query: &[f32], kept: usize) -> Result<Vec<u32>>;
}

/// The parameters of an index of a library, by which it is built and its files are written and read.
pub(super) trait Library: Copy + Send + Sync + 'static {
    type Index: LibraryIndex + 'static;

    /// The names of the files, which the library chooses.
    const FILES: &'static [&'static str];

    /// Builds the index of rows, (N, D) row-major.
    fn build(&self, metric: Metric, dim: usize, rows: &[f32]) -> Result<Self::Index>;

    /// Writes the files to a folder, where empty files of their names exist.
    fn write(index: &Self::Index, folder: &Path) -> Result<()>;

    /// Reads the files of an index of these rows, (N, D) row-major, which must be as they were written.
    fn read(&self, folder: &Path, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<Self::Index>;

    /// Checks files that were just written, if the library does not say whether the last bytes reached the disk.
    fn check_written(&self, _: &Path, _: Metric, _: usize, _: Rows<'_>) -> Result<()> {
        Ok(())
    }
}

/// The least number of rows found for each row kept: fewer rows than that are all compared, which takes no longer. Our
/// own searches are given up for comparisons at the same point (`hnsw::plan`).
const ROWS_PER_KEPT: u64 = 8;

impl<I: LibraryIndex> Candidates for I {
    fn metric(&self) -> Metric {
        self.space().metric
    }

    fn dim(&self) -> usize {
        self.space().dim
    }

    fn num_rows(&self) -> usize {
        LibraryIndex::num_rows(self)
    }

    /// Where only some rows may be found, the library is asked for more of all rows. With hnsw_rs's own filter a search
    /// of 1% of 100,000 rows took 30 times as long as a comparison of all.
    fn find(
        &self,
        query: &[f32],
        k: usize,
        ef_search: usize,
        matches: &Matches<'_>,
    ) -> Result<Option<Vec<RowId>>> {
        let num_matches = u64::from(matches.len());
        let wanted = k.min(num_matches as usize);
        if wanted == 0 {
            return Ok(Some(Vec::new()));
        }
        let query = self.space().query(query);
        let mut ef = ef_search.max(k) as u64;
        loop {
            let kept = ef.saturating_mul(u64::from(matches.num_rows())) / num_matches;
            if num_matches <= kept.saturating_mul(ROWS_PER_KEPT) {
                return Ok(None);
            }
            let found = self.nearest(&query, kept as usize)?;
            let rows = found.into_iter().filter(|row| matches.contains(*row));
            let rows: Vec<RowId> = rows.map(|row| matches.row_id(row)).collect();
            if rows.len() >= wanted {
                return Ok(Some(rows));
            }
            // The rows that match are not where the query is.
            ef = ef.saturating_mul(4);
        }
    }
}

/// Memory for the f32 of a row that is stored with other components, in bytes: libraries take f32.
pub(super) fn f32_bytes(components: ComponentType, dim: usize) -> usize {
    match components {
        ComponentType::F32 => 0,
        ComponentType::F16 | ComponentType::Bf16 => 4 * dim,
    }
}

impl<L: Library> FormatFiles for L {
    fn files(&self) -> &'static [&'static str] {
        L::FILES
    }

    fn build(&self, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<Box<dyn Candidates>> {
        Ok(Box::new(Library::build(self, metric, dim, &rows.to_f32())?))
    }

    fn write(
        &self,
        folder: &Path,
        metric: Metric,
        dim: usize,
        rows: Rows<'_>,
    ) -> Result<Vec<(&'static str, Written)>> {
        let index = Library::build(self, metric, dim, &rows.to_f32())?;
        let paths: Vec<PathBuf> = L::FILES.iter().map(|name| folder.join(name)).collect();
        for path in &paths {
            DiskFile::create_new(path)?;
        }
        <L as Library>::write(&index, folder)?;
        drop(index);
        self.check_written(folder, metric, dim, rows)?;
        let sync = |(name, path): (&&'static str, &PathBuf)| Ok((*name, sync_foreign(path)?));
        L::FILES.iter().zip(&paths).map(sync).collect()
    }

    fn open(&self, files: FileSet, metric: Metric, dim: usize, _: u32) -> Result<Box<dyn IndexFiles>> {
        Ok(Box::new(LibraryFiles { library: *self, metric, dim, files, index: OnceLock::new() }))
    }
}

/// The files of an index of a library.
struct LibraryFiles<L: Library> {
    library: L,
    metric: Metric,
    dim: usize,
    files: FileSet,
    /// Read on first use.
    index: OnceLock<L::Index>,
}

impl<L: Library> IndexFiles for LibraryFiles<L> {
    fn files(&self) -> &FileSet {
        &self.files
    }

    /// The files are checked before they are read, because the libraries may panic or end the process on damaged bytes.
    fn candidates(&self, rows: Rows<'_>) -> Result<Option<&dyn Candidates>> {
        if let Some(index) = self.index.get() {
            return Ok(Some(index));
        }
        self.files.check()?;
        if !self.files.paths().all(|path| path.exists()) {
            return Ok(None);
        }
        let index = self.library.read(self.files.folder(), self.metric, self.dim, rows)?;
        Ok(Some(self.index.get_or_init(|| index)))
    }

    fn verify(&self, rows: Rows<'_>) -> Result<()> {
        self.candidates(rows).map(drop)
    }
}

#[cfg(all(test, not(feature = "faiss")))]
mod tests {
    use crate::backends::{FaissIndex, FaissKind};
    use crate::error::Error;
    use crate::file_format::file_set::FileSet;
    use crate::file_format::files::Written;
    use crate::format::FormatFiles;
    use crate::metric::Metric;

    /// What a program with faiss committed is opened; searching it, and committing more, is refused.
    #[test]
    fn indexes_of_faiss_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let kind = FaissKind::Flat;
        let written = kind.write(folder.path(), Metric::L2, 1, [1.0, 2.0][..].into());
        assert!(matches!(written, Err(Error::NoFaiss)));
        let bytes = b"IxF2";
        std::fs::write(folder.path().join(FaissIndex::FILE), bytes).unwrap();
        for (crc, is_right) in [(crc32fast::hash(bytes), true), (0, false)] {
            let written = Some(Written { size: 4, crc });
            let files = FileSet::open(folder.path().to_owned(), kind.files(), |_| written).unwrap();
            let opened = kind.open(files.unwrap(), Metric::L2, 1, 2).unwrap();
            match opened.candidates([1.0, 2.0][..].into()).err() {
                Some(Error::NoFaiss) => assert!(is_right),
                Some(Error::Corrupt { .. }) => assert!(!is_right, "checksums come first"),
                other => panic!("{other:?}"),
            }
        }
    }
}
