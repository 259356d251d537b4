//! What can go wrong while a data set is read or written.

use std::path::PathBuf;

use secateur_files::{ErrorKind, PathError};

use crate::fault::Fault;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a data set could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to work on a file or folder.
    #[error(transparent)]
    Io(#[from] PathError),

    /// A file opened but could not be read to its end: the disk failed, or a compressed file is truncated or damaged.
    #[error("{}: cannot read beyond line {lines_read}; if the file is compressed it may be truncated: make it or fetch it again", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// How many lines were read whole before the failure.
        lines_read: u64,
        /// The reason the reader or the decompressor gave.
        source: std::io::Error,
    },

    /// A folder is where a file is expected.
    #[error("{} is a folder, and a file is expected", path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },

    /// A file is not compressed as its name says.
    #[error("{} is named {ending} and is not {format}: compress it, or name it without {ending}", path.display())]
    NotCompressed {
        /// The file.
        path: PathBuf,
        /// The end of its name.
        ending: &'static str,
        /// What such files are.
        format: &'static str,
    },

    /// A line of a file breaks the rules of its format.
    #[error("{}:{line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },

    /// A record of a file without lines breaks the rules.
    #[error("{}: record {number}: {fault}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The record, counted from 1.
        number: u64,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },

    /// A Parquet file is to be read by a program that was built without the cargo feature `parquet`.
    #[error(
        "{}: this program was built without Parquet: use one built with `--features parquet`, or write the table as JSON \
         lines or CSV", path.display()
    )]
    NoParquet {
        /// The file.
        path: PathBuf,
    },

    /// A file's name does not say how it is to be read.
    #[error(
        "{}: its name does not say what it is: .jsonl, .json, .csv, .tsv, .parquet and text files (.txt, .md) are read, and \
         folders", path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },

    /// A folder holds neither a corpus nor texts.
    #[error(
        "{} has no corpus.jsonl and no text files (.txt, .md): name a folder that has, or files (.jsonl, .json, .csv, .tsv, \
         .parquet)", folder.display()
    )]
    NoDocuments {
        /// The folder.
        folder: PathBuf,
    },

    /// A folder holds a collection, and not in BEIR's layout.
    #[error(
        "{0} holds a collection in another layout than BEIR's: `secateur dataset convert {0} --out NEW` makes a folder \
         that can be read", folder.display()
    )]
    OtherLayout {
        /// The folder.
        folder: PathBuf,
    },

    /// A folder holds no collection in a layout that is known.
    #[error(
        "{} holds no collection of a known layout: expected corpus.jsonl (BEIR), corpus/*.parquet (the hub), \
         collection.tsv (MS MARCO) or docs.tsv", folder.display()
    )]
    UnknownLayout {
        /// The folder.
        folder: PathBuf,
    },

    /// A file as a whole is not what it has to be.
    #[error("{}: {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },

    /// What was to be written cannot be expressed in the file's format; nothing was written.
    #[error("cannot write {}: {fault}", path.display())]
    Unwritable {
        /// The file that was asked for.
        path: PathBuf,
        /// What cannot be expressed.
        #[source]
        fault: Fault,
    },

    /// A data set folder lacks one of its files.
    #[error("{} has no {file}: expected {file}, {file}.gz or {file}.zst", folder.display())]
    MissingFile {
        /// The data set folder.
        folder: PathBuf,
        /// The file's plain name, such as `corpus.jsonl`.
        file: String,
    },

    /// A folder is no data set itself but holds some, as CQADupStack does.
    #[error("{} holds several data sets, name one of them: {}", folder.display(), parts.join(", "))]
    SeveralDatasets {
        /// The folder.
        folder: PathBuf,
        /// Its subfolders that are data sets, sorted.
        parts: Vec<String>,
    },

    /// A data set folder has no judgments of the split that was asked for.
    #[error("{} has no split {split}: it has {}", folder.display(), list(available))]
    UnknownSplit {
        /// The data set folder.
        folder: PathBuf,
        /// The split that was asked for.
        split: String,
        /// The splits that the folder has, sorted.
        available: Vec<String>,
    },

    /// A query has judgments, but `queries.jsonl` does not hold it.
    #[error("{}: no query {query_id:?}, which the judgments name; `secateur dataset verify` lists all such faults", path.display())]
    MissingQuery {
        /// The queries file.
        path: PathBuf,
        /// The judged query.
        query_id: String,
    },
}

impl Error {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io(error) => error.kind(ErrorKind::Input),
            Error::Read { .. }
            | Error::IsFolder { .. }
            | Error::NotCompressed { .. }
            | Error::Line { .. }
            | Error::File { .. }
            | Error::Record { .. }
            | Error::NoParquet { .. }
            | Error::UnknownFormat { .. }
            | Error::NoDocuments { .. }
            | Error::OtherLayout { .. }
            | Error::UnknownLayout { .. }
            | Error::Unwritable { .. }
            | Error::MissingFile { .. }
            | Error::SeveralDatasets { .. }
            | Error::UnknownSplit { .. }
            | Error::MissingQuery { .. } => ErrorKind::Input,
        }
    }
}

fn list(splits: &[String]) -> String {
    if splits.is_empty() { "no judgments at all (qrels/SPLIT.tsv)".to_owned() } else { splits.join(", ") }
}
