//! Databases of the current formats in which a target replaces one file at a time.

use std::cell::LazyCell;
use std::fs;
use std::path::{Path, PathBuf};

use secateur_index::Error;
use secateur_index::bm25::Bm25Params;
use secateur_index::search::SearchOptions;
use secateur_index::storage::Snapshot;
use tempfile::TempDir;

/// A copy of a fixture, in the system's folder for temporary files.
pub struct Database {
    folder: TempDir,
    /// Its format version.
    pub version: u8,
}

/// Format versions: 3 has vectors of f32 and 8-bit copies, 4 has vectors of f16 and a graph along 1-bit copies.
const VERSIONS: [u8; 2] = [3, 4];

thread_local! {
    /// Made once for the process: making them anew would take most of the time.
    static DATABASES: LazyCell<[Database; 2]> = LazyCell::new(|| VERSIONS.map(Database::of_version));
}

/// Calls `probe` with the database that the first byte chooses and the other bytes.
pub fn with_database(data: &[u8], probe: impl FnOnce(&Database, &[u8])) {
    if let Some((choice, data)) = data.split_first() {
        DATABASES.with(|databases| probe(&databases[usize::from(*choice) % VERSIONS.len()], data));
    }
}

impl Database {
    fn of_version(version: u8) -> Database {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        copy(&fixtures.join(format!("database-v{version}")), &folder.path().join("db"));
        Database { folder, version }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    /// Puts `bytes` in the place of a file, with the checksum of its header made right. Then it uses the database in
    /// every way that a reader has, and puts the file back. An error is fine, a panic is not, nor is a wrong file that
    /// searches trip over and `verify` does not.
    pub fn probe(&self, file: &str, bytes: &[u8]) {
        let file = self.path().join(file);
        let whole = fs::read(&file).expect("a file of the fixture");
        fs::write(&file, bytes).expect("room for the file");
        if let Ok(snapshot) = Snapshot::open(self.path()) {
            let (used, verified) = (use_everything(&snapshot), snapshot.verify());
            assert!(used.is_ok() || verified.is_err(), "verify missed {used:?}");
        }
        fs::write(&file, whole).expect("room for the file");
    }

    /// The length that a file has in the fixture: one of another length is refused at once.
    pub fn len_of(&self, file: &str) -> usize {
        fs::metadata(self.path().join(file)).expect("a file of the fixture").len() as usize
    }
}

/// Makes the checksum of a header right.
pub fn seal(bytes: &mut [u8]) {
    if let Some((header, _)) = bytes.split_first_chunk_mut::<64>() {
        let crc = crc32fast::hash(&header[..60]);
        header[60..].copy_from_slice(&crc.to_le_bytes());
    }
}

fn use_everything(snapshot: &Snapshot) -> Result<(), Error> {
    let Some(vectors) = snapshot.settings().vectors else { return Ok(()) };
    let query: Vec<f32> = (0..vectors.dim).map(|at| (at as f32).cos()).collect();
    let flat = snapshot.flat()?;
    let results = [
        flat.search(&query, 10).map(drop),
        flat.search_batch(&query.repeat(11), 10).map(drop),
        snapshot.index()?.search(&query, 5, &SearchOptions::new(5)).map(drop),
        snapshot.bm25().and_then(|index| index.search("word w3 text", 10, Bm25Params::default())).map(drop),
        snapshot.matching(&"year >= 2010 or tags in [\"t1\"]".parse()?).map(drop),
        snapshot.row("d3").map(drop),
        snapshot.document("d24").map(drop),
    ];
    for row in snapshot.rows() {
        drop((snapshot.document_at(row), snapshot.id_at(row), snapshot.vector(row)));
    }
    results.into_iter().collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("the fixture").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("room for the fixture")),
        }
    }
}
