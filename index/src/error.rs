//! What can go wrong in this crate, one enum for all of it.

use std::path::PathBuf;

use secateur_files::{ErrorKind, PathError};

pub use crate::damage::Damage;
use crate::metadata_fault::MetadataFault;
use crate::metric::Metric;
use crate::rows::ComponentType;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an index or a database refused to do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation; `source()` has its reason.
    #[error(transparent)]
    Io(#[from] PathError),
    /// A file's bytes are not what was written. Restore it from a copy, or index the documents again.
    #[error("{} is damaged: {damage}; restore the file from a copy or build the database again", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A file was written by a later version of secateur.
    #[error("{} has format version {found}, this program reads up to version {supported}; use a newer secateur", file.display())]
    NewerFormat {
        /// The file that was refused.
        file: PathBuf,
        /// The version it declares.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// The folder holds no database.
    #[error("{} is not a secateur database: it has no MANIFEST; create a database there or name another folder", path.display())]
    NotADatabase {
        /// The folder that was to be opened.
        path: PathBuf,
    },
    /// Nothing is where a database was to be opened.
    #[error("there is no database {}: nothing of that name is there", path.display())]
    NoDatabase {
        /// The folder that was to be opened.
        path: PathBuf,
    },
    /// A database is not complete yet.
    #[error("the database {} is unfinished: run the command that makes it again, and it goes on from where it was", path.display())]
    Unfinished {
        /// The folder where it will be.
        path: PathBuf,
    },
    /// A database or other files are already where one was to be created.
    #[error("{} already holds files; open it, or create the database in an empty folder", path.display())]
    AlreadyExists {
        /// The folder where the database was to be created.
        path: PathBuf,
    },
    /// Another writer holds the database or the journal. Readers are never refused.
    #[error("{} is being written by {}; wait for it to finish", path.display(), match holder { Some(pid) => format!("process {pid}"), None => "another process".into() })]
    Locked {
        /// The database's folder, or the journal.
        path: PathBuf,
        /// The process id that the holder of a database left in the LOCK file, where it can be read.
        holder: Option<u32>,
    },
    /// A journal keeps the vectors of other work, which are not thrown away unasked.
    #[error(
        "{} keeps {num_vectors} {} of unfinished work with another encoder or other options: finish that work with its \
         own, or remove the file to begin anew",
        path.display(), if *num_vectors == 1 { "vector" } else { "vectors" }
    )]
    OtherWork {
        /// The journal.
        path: PathBuf,
        /// How many vectors it keeps.
        num_vectors: u64,
    },
    /// A document with this id is stored already.
    #[error("document {id:?} is stored already; upsert it to replace it")]
    DuplicateDocument {
        /// The id in question.
        id: String,
    },
    /// A transaction adds two documents with this id.
    #[error("document {id:?} is added twice; give each id once, or upsert: the last document counts then")]
    RepeatedDocument {
        /// The id in question.
        id: String,
    },
    /// No document has this id.
    #[error("no document has the id {id:?}")]
    UnknownDocument {
        /// The id in question.
        id: String,
    },
    /// A row id beyond the last row.
    #[error("row {row} does not exist; rows in the database: {rows}")]
    UnknownRow {
        /// The row asked for.
        row: u32,
        /// The number of rows.
        rows: u32,
    },
    /// A document that cannot be stored as it is.
    #[error("document {id:?}: {field} is {got} bytes long, the limits are {min} to {max}")]
    DocumentSize {
        /// The id of the document.
        id: String,
        /// The field that is too short or too long.
        field: &'static str,
        /// Its length in bytes.
        got: usize,
        /// The least length allowed.
        min: usize,
        /// The greatest length allowed.
        max: usize,
    },
    /// A database that holds vectors got a document without one, or the reverse.
    #[error("document {id:?} comes {}; {}", if *expected { "without a vector" } else { "with a vector" }, if *expected { "this database stores one for each document" } else { "this database was created without vectors (BM25 only)" })]
    VectorPresence {
        /// The id of the document.
        id: String,
        /// Whether the database stores vectors.
        expected: bool,
    },
    /// A vector has another number of components than the index.
    #[error(
        "the vector has {got} dimensions, the index has {expected}; encode it with the encoder that built the index"
    )]
    DimensionMismatch {
        /// D of the index.
        expected: usize,
        /// The length that was given.
        got: usize,
    },
    /// A buffer of several vectors does not hold a whole number of them.
    #[error("a buffer of {got} numbers does not divide into vectors of {dim} dimensions")]
    RaggedVectors {
        /// D of the index.
        dim: usize,
        /// The number of components that were given.
        got: usize,
    },
    /// A vector component is NaN or infinite.
    #[error("component {component} of vector {vector} is {value}; every component must be a finite number")]
    NotFinite {
        /// Position of the vector in what was given, from 0.
        vector: usize,
        /// Position of the component in the vector, from 0.
        component: usize,
        /// The value found.
        value: f32,
    },
    /// A vector is so long that scores would overflow.
    #[error(
        "the squared length of vector {vector} is {got:e}, above the limit of {max:e}; scale the vectors down"
    )]
    VectorTooLong {
        /// Position of the vector in what was given, from 0.
        vector: usize,
        /// Its squared Euclidean length.
        got: f64,
        /// The largest squared length that is accepted.
        max: f32,
    },
    /// A component of a vector is beyond the type of the components that are stored.
    #[error(
        "component {component} of the vector is {value}, stored {stored} components go up to {max}; scale the vectors down, or store bf16 or f32"
    )]
    ComponentTooLarge {
        /// Position of the component in the vector, from 0.
        component: usize,
        /// The value given.
        value: f32,
        /// The type of the components that the database stores.
        stored: ComponentType,
        /// The largest of that type.
        max: f32,
    },
    /// The database has no vectors.
    #[error(
        "this database was created without vectors; search it with BM25, or index the documents again with an encoder"
    )]
    NoVectors,
    /// What was built from rows was given with others.
    #[error("rows of {what}: {expected}, rows given: {got}; give those that it was built from")]
    RowsMismatch {
        /// What was built.
        what: &'static str,
        /// Rows that it was built from.
        expected: usize,
        /// Rows given.
        got: usize,
    },
    /// A filter that cannot be read.
    #[error("column {column} of the filter: expected {expected}, found {found}")]
    InvalidFilter {
        /// Where in the filter, in characters from 1.
        column: usize,
        /// What could stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// Metadata that cannot be stored, or that is stored and cannot be read.
    #[error("document {id:?}: {fault}")]
    InvalidMetadata {
        /// The id of the document.
        id: String,
        /// What is wrong with it.
        fault: MetadataFault,
    },
    /// A name that a generation cannot have.
    #[error(
        "{name:?} is no name for a generation: 1 to 64 letters, digits, dots, underscores and hyphens are"
    )]
    GenerationName {
        /// The name in question.
        name: String,
    },
    /// A generation of this name is there already.
    #[error("the database has a generation {name:?} already; choose another name, or drop that one first")]
    GenerationExists {
        /// The name in question.
        name: String,
    },
    /// No generation has this name.
    #[error("the database has no generation {name:?}; it has {}", if known.is_empty() { "none, because it has no vectors".into() } else { known.join(", ") })]
    UnknownGeneration {
        /// The name in question.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The generation that searches read cannot be dropped.
    #[error("generation {name:?} is in use; use another one first")]
    GenerationInUse {
        /// The name in question.
        name: String,
    },
    /// A document has not one vector for each generation.
    #[error("vectors of a document: {got}; give one for each generation of the database: {}", names.join(", "))]
    SeveralGenerations {
        /// All of them.
        names: Vec<String>,
        /// The number of vectors.
        got: usize,
    },
    /// A filter names a field that no document has.
    #[error("no document has a field {field}; {}{}", if known.is_empty() { "no document has metadata".into() } else { format!("the fields are {}", known.join(", ")) }, no_metadata(field))]
    UnknownField {
        /// The field, as filters spell it.
        field: String,
        /// The fields that there are, as filters spell them.
        known: Vec<String>,
    },
    /// A filter compares a field with values of another kind than the field has.
    #[error(
        "the field {field} has {found} only, and the filter compares it with {compared}, which matches no document{advice}"
    )]
    FieldKind {
        /// The field, as filters spell it.
        field: String,
        /// The kinds that its values are of.
        found: String,
        /// The kinds that the filter compares with.
        compared: String,
        /// What to do, as the end of the sentence; empty where nothing helps.
        advice: &'static str,
    },
    /// The number of a generation's vectors is not the number of documents.
    #[error(
        "vectors of the generation: {got}, documents of the database: {expected}; give one for each, in the order of their rows"
    )]
    GenerationRows {
        /// The number of documents.
        expected: usize,
        /// The number of vectors, or one more than there are documents.
        got: usize,
    },
    /// Another library refused to build, search, write or read its index; `source()` has its reason.
    #[error("{library} cannot {action} its index{}", path.as_ref().map_or_else(String::new, |path| format!(" in {}", path.display())))]
    Backend {
        /// The library: "hnsw_rs" or "faiss".
        library: &'static str,
        /// What was being done, as a verb: "build", "search", "write", "read".
        action: &'static str,
        /// The index's file, or the folder of its files; `None` for what happens in memory.
        path: Option<PathBuf>,
        /// The library's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An index of faiss is to be built or read by a program that was built without the cargo feature `faiss`.
    #[error(
        "this program was built without faiss: use one built with `--features faiss` (docs/GUIDE.md says what that takes), or another index"
    )]
    NoFaiss,
    /// The database has no index whose searches an ef makes longer.
    #[error(
        "this database has no HNSW index, so there is no ef to set; `secateur generation add` with --index hnsw makes one"
    )]
    NotHnsw,
    /// There is an ef, and no segment that is large enough for a graph.
    #[error(
        "there is no graph yet, so nothing would be measured: segments of fewer than {fewest} vectors are searched exactly; \
         add documents, or merge small segments with `secateur compact`, then tune"
    )]
    NoGraph {
        /// The fewest vectors of a segment with a graph.
        fewest: u32,
    },
    /// A property has a name that the database keeps for itself.
    #[error(
        "the name of property {name:?} begins with \"index.\", which the database uses itself; choose another"
    )]
    ReservedProperty {
        /// The name in question.
        name: String,
    },
    /// A number outside its range.
    #[error("{name} is {got}, allowed is {allowed}")]
    InvalidParameter {
        /// The parameter's name as in the API.
        name: &'static str,
        /// The value given.
        got: f64,
        /// The values allowed, in words.
        allowed: &'static str,
    },
    /// More rows than there are row ids.
    #[error("a database holds at most {} rows; delete documents or use several databases", u32::MAX)]
    TooManyRows,
    /// An earlier write of this transaction failed, so it cannot be committed. What was committed before is intact.
    #[error("an earlier write of this transaction failed, so it was not committed; begin a new one")]
    TransactionFailed,
    /// A GPU failed at an exact search.
    #[error("exact search on the GPU: {0}")]
    Device(#[from] secateur_gpu::Error),
    /// A GPU has too little memory for the codes of the vectors.
    #[error(
        "the 8-bit codes of the vectors take {needed} bytes of the GPU's memory, of which {free} are free; search on the \
         CPU, or end other programs on this GPU"
    )]
    DeviceMemory {
        /// Bytes of the codes.
        needed: usize,
        /// Bytes that are free.
        free: usize,
    },
    /// Under this metric no GPU searches.
    #[error(
        "exact search on the GPU is by inner product or cosine, and this index compares by {metric}; search on the CPU"
    )]
    DeviceMetric {
        /// The metric of the index.
        metric: Metric,
    },
    /// A BM25 search was given statistics of other terms than its query has.
    #[error(
        "the statistics say nothing of the term {term:?} of the query: give those of all terms of the queries"
    )]
    MissingTerm {
        /// The term of the query.
        term: String,
    },
    /// tantivy refused to write or read the BM25 index.
    #[error("the BM25 index in {} cannot be {action}", path.display())]
    Bm25 {
        /// What was being done: "written", "read".
        action: &'static str,
        /// The folder of the BM25 index.
        path: PathBuf,
        /// tantivy's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is said of a field that looks like metadata and is none.
fn no_metadata(field: &str) -> &'static str {
    match field {
        "_id" | "id" | "title" | "text" => {
            "; filters look at metadata only, and a document's id, title and text are none"
        }
        _ => "",
    }
}

impl Error {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io(error) => error.kind(ErrorKind::Database),
            Error::NoFaiss | Error::Device(_) | Error::DeviceMemory { .. } => ErrorKind::System,
            Error::InvalidParameter { .. }
            | Error::DeviceMetric { .. }
            | Error::MissingTerm { .. }
            | Error::GenerationName { .. }
            | Error::InvalidFilter { .. }
            | Error::UnknownField { .. }
            | Error::FieldKind { .. }
            | Error::ReservedProperty { .. }
            | Error::AlreadyExists { .. }
            | Error::DimensionMismatch { .. }
            | Error::NotFinite { .. }
            | Error::VectorTooLong { .. }
            | Error::ComponentTooLarge { .. }
            | Error::RaggedVectors { .. } => ErrorKind::Usage,
            Error::DuplicateDocument { .. } | Error::RepeatedDocument { .. } | Error::DocumentSize { .. } => {
                ErrorKind::Input
            }
            Error::InvalidMetadata { fault, .. } => fault.kind(),
            Error::Corrupt { .. }
            | Error::NewerFormat { .. }
            | Error::NotADatabase { .. }
            | Error::NoDatabase { .. }
            | Error::Unfinished { .. }
            | Error::Locked { .. }
            | Error::OtherWork { .. }
            | Error::UnknownDocument { .. }
            | Error::UnknownRow { .. }
            | Error::VectorPresence { .. }
            | Error::NoVectors
            | Error::RowsMismatch { .. }
            | Error::GenerationExists { .. }
            | Error::UnknownGeneration { .. }
            | Error::GenerationInUse { .. }
            | Error::SeveralGenerations { .. }
            | Error::GenerationRows { .. }
            | Error::Backend { .. }
            | Error::NotHnsw
            | Error::NoGraph { .. }
            | Error::TooManyRows
            | Error::TransactionFailed
            | Error::Bm25 { .. } => ErrorKind::Database,
        }
    }
}
