//! What can go wrong with a set of shards. Each message names the shard and what to do.

use std::path::{Path, PathBuf};

use secateur_files::ErrorKind;

use crate::number::{agreed, counted};

/// Why a set of shards refused to do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The folder is no set.
    #[error(
        "{} is no set of shards: it has no plan.json; make one with `secateur shards plan CORPUS --shards N --out SET`",
        path.display()
    )]
    NotASet {
        /// The folder.
        path: PathBuf,
    },
    /// A set stands where one database is expected.
    #[error(
        "{} is a set of shards, and one database is expected here: name one of its shards, such as {}, or use `secateur \
         shards`, `search` or `eval` for the whole set",
        path.display(), shard.display()
    )]
    IsASet {
        /// The set.
        path: PathBuf,
        /// Where its first shard is, or will be.
        shard: PathBuf,
    },
    /// A file that names servers stands where a folder is expected.
    #[error(
        "{} is a list of the servers of a set of shards, which `secateur search`, `eval` and `tune` take: name a folder \
         here, that of a set or of one of its shards",
        path.display()
    )]
    IsServers {
        /// The file.
        path: PathBuf,
    },
    /// The set has no manifest yet.
    #[error(
        "the set {} is not finished: it has no manifest.json; build its shards, then run `secateur shards finish {}`",
        path.display(), path.display()
    )]
    NotFinished {
        /// The set.
        path: PathBuf,
    },
    /// The plan or the manifest of a set is of another version.
    #[error(
        "{} has format version {found}, this program reads version {supported}; {}",
        path.display(),
        if found > supported { "use a newer secateur" } else { "plan and build the set anew" }
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The version it declares.
        found: u64,
        /// The one that this program reads.
        supported: u64,
    },
    /// The plan or the manifest of a set cannot be read.
    #[error("{} is damaged: {problem}; {advice}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// There are no documents to divide so, or into no shard at all.
    #[error("a corpus cannot be divided into {num_shards} shards: give a number from 1 to {max}")]
    NumShards {
        /// The number that was asked for.
        num_shards: usize,
        /// The most there can be.
        max: usize,
    },
    /// There is no shard of this number.
    #[error("there is no shard {shard} in {}: its plan has {num_shards}, counted from 0", path.display())]
    NoSuchShard {
        /// The number asked for.
        shard: usize,
        /// How many the plan has.
        num_shards: usize,
        /// The set.
        path: PathBuf,
    },
    /// A shard is not there.
    #[error(
        "shard {shard} is not built: there is no {}; run `secateur shards build {} {shard}`, or copy the folder here",
        path.display(), set_of(path)
    )]
    NotBuilt {
        /// The shard.
        shard: usize,
        /// Where it will be.
        path: PathBuf,
    },
    /// A shard cannot be opened, searched or built.
    #[error("shard {shard} ({place}): {source}")]
    InShard {
        /// The shard.
        shard: usize,
        /// Its folder, or where else it is.
        place: String,
        /// Whose turn it is.
        kind: ErrorKind,
        /// Whether it was changed since it was opened.
        is_moved: bool,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A shard's vectors are of another encoder than those of the set.
    #[error(
        "shard {shard} ({}) has vectors of {got}, and the set has vectors of {expected}; {}", path.display(), rebuild(path, *shard)
    )]
    OtherEncoder {
        /// The shard.
        shard: usize,
        /// Its folder.
        path: PathBuf,
        /// The encoder of the set, with its fingerprint.
        expected: String,
        /// That of the shard.
        got: String,
    },
    /// The encoder that was given to build a shard with is another one than the plan's.
    #[error("the set {} is planned with {expected}, and {got} was given; give the one that it is planned with", path.display())]
    PlannedEncoder {
        /// The set.
        path: PathBuf,
        /// The encoder of the plan, with its fingerprint.
        expected: String,
        /// What was given.
        got: String,
    },
    /// A shard has another setting than the set.
    #[error(
        "shard {shard} ({}): {what} is {got}, and in the set {expected}; make them the same in all shards, or {}",
        path.display(), rebuild(path, *shard)
    )]
    OtherSettings {
        /// The shard.
        shard: usize,
        /// Its folder.
        path: PathBuf,
        /// The setting.
        what: &'static str,
        /// That of the set.
        expected: String,
        /// That of the shard.
        got: String,
    },
    /// Two shards have a document with the same id.
    #[error(
        "document {id:?} is in shard {first} and in shard {second}, and a set has each id once; if one folder is a copy of \
         the other, remove it and run `secateur shards build SET {second}`, otherwise delete the document from one of them"
    )]
    SameDocument {
        /// The id.
        id: String,
        /// The first shard that has it.
        first: usize,
        /// The second.
        second: usize,
    },
    /// A shard is not what it was when the set was finished.
    #[error(
        "shard {shard} ({}) is not the one that the set was finished with: {problem}; {}", path.display(), put_back(path)
    )]
    Changed {
        /// The shard.
        shard: usize,
        /// Its folder.
        path: PathBuf,
        /// How it differs.
        problem: String,
    },
    /// The corpus is not the one that was planned with.
    #[error(
        "shard {shard}: the corpus is not the one that the set was planned with: {problem}; give that one (if it is refused, remove the shard's .journal), or plan a new set"
    )]
    CorpusChanged {
        /// The shard that was being built.
        shard: usize,
        /// How it differs.
        problem: String,
    },
    /// The corpus changed while it was being read for a plan.
    #[error(
        "the corpus has {}, and {expected} were counted before; plan again when nobody changes it",
        counted(*got as usize, "document")
    )]
    CorpusCount {
        /// Documents that were counted.
        expected: u64,
        /// Documents that were read.
        got: u64,
    },
    /// A shard gave another number of answers than it was asked for.
    #[error(
        "it gave {} to {}; it runs another version of secateur, or is no shard", counted(*got, "answer"), counted(*expected, what)
    )]
    Answers {
        /// What it was asked about, as of one: query, term or id.
        what: &'static str,
        /// How many there were.
        expected: usize,
        /// Answers.
        got: usize,
    },
    /// A shard's answer contradicts itself, or what was asked.
    #[error("its answer is wrong: {problem}; it runs another version of secateur, or is no shard")]
    WrongAnswer {
        /// How.
        problem: String,
    },
    /// A shard that is elsewhere gave no answer that could be read.
    #[error("{source}")]
    NoAnswer {
        /// Whose turn it is.
        kind: ErrorKind,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A shard is not in the state any more in which it was opened.
    #[error("its documents were changed since it was opened; run the command again")]
    Moved,
    /// The same, of a search that was started anew for that reason.
    #[error("{source}; this was started anew once already, so wait until fewer changes are committed")]
    MovedAgain {
        /// The shard that was changed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No shard gave an answer.
    #[error("none of {} gave an answer, such as {first}", counted(*num_shards, "shard"))]
    NoneAnswered {
        /// How many there are.
        num_shards: usize,
        /// The first of them, and why it gave none.
        first: String,
    },
    /// A set without any shard.
    #[error("{} names no shard: a set has at least one", path.display())]
    NoShards {
        /// What names its shards.
        path: PathBuf,
    },
    /// The file that names the servers of a set is wrong.
    #[error("{}: {problem}", path.display())]
    BadServers {
        /// The file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        problem: String,
    },
    /// A shard is asked what nobody can answer.
    #[error("{field}: {problem}")]
    BadQuestion {
        /// The field of the question.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A set is to be tuned whose searches no ef makes longer.
    #[error(
        "the set {} has the index {index}, so there is no ef to choose; plan one with --index hnsw, or run \
         `secateur generation add SHARD NAME --index hnsw` on each shard, then `secateur shards finish {}`",
        path.display(), path.display()
    )]
    NotHnsw {
        /// The set.
        path: PathBuf,
        /// The kind of its index.
        index: &'static str,
    },
    /// A set is to be tuned in which no shard has a graph.
    #[error(
        "no shard of the set {} has a graph yet, so nothing would be measured: it has {} in {}, and segments of fewer \
         than {fewest} vectors are searched exactly; plan fewer shards, or merge small segments with `secateur compact \
         SHARD` and run `secateur shards finish {}`, then tune",
        path.display(), counted(*num_vectors as usize, "vector"), counted(*num_shards, "shard"), path.display()
    )]
    NoGraph {
        /// The set.
        path: PathBuf,
        /// The vectors of all shards.
        num_vectors: u64,
        /// How many shards it has.
        num_shards: usize,
        /// The fewest vectors of a segment with a graph.
        fewest: u32,
    },
    /// Other shards are named than the set was finished with.
    #[error(
        "{} is of a set of {}, and {got} {} named; name all of them, in their order",
        path.display(), counted(*expected, "shard"), agreed(*got, "is", "are")
    )]
    OtherNumber {
        /// The manifest of the set.
        path: PathBuf,
        /// How many it has.
        expected: usize,
        /// How many are named.
        got: usize,
    },
}

impl ShardError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ShardError::NumShards { .. }
            | ShardError::NoSuchShard { .. }
            | ShardError::NoShards { .. }
            | ShardError::BadQuestion { .. }
            | ShardError::OtherNumber { .. } => ErrorKind::Usage,
            ShardError::CorpusChanged { .. }
            | ShardError::CorpusCount { .. }
            | ShardError::BadServers { .. } => ErrorKind::Input,
            ShardError::InShard { kind, .. } | ShardError::NoAnswer { kind, .. } => *kind,
            ShardError::NoneAnswered { .. } => ErrorKind::System,
            ShardError::NotASet { .. }
            | ShardError::IsASet { .. }
            | ShardError::IsServers { .. }
            | ShardError::NotFinished { .. }
            | ShardError::OtherVersion { .. }
            | ShardError::BadFile { .. }
            | ShardError::NotBuilt { .. }
            | ShardError::OtherEncoder { .. }
            | ShardError::PlannedEncoder { .. }
            | ShardError::OtherSettings { .. }
            | ShardError::SameDocument { .. }
            | ShardError::Changed { .. }
            | ShardError::NotHnsw { .. }
            | ShardError::NoGraph { .. }
            | ShardError::Answers { .. }
            | ShardError::WrongAnswer { .. }
            | ShardError::Moved
            | ShardError::MovedAgain { .. } => ErrorKind::Database,
        }
    }

    /// Whether a shard was changed since the set was opened. What is opened anew can be asked again.
    pub fn is_moved(&self) -> bool {
        match self {
            ShardError::Moved => true,
            ShardError::InShard { is_moved, .. } => *is_moved,
            _ => false,
        }
    }
}

/// What to do about a shard that does not fit: it is a folder, or an address.
fn rebuild(shard: &Path, number: usize) -> String {
    match is_address(shard) {
        true => "serve a shard of the set there, or name another server".to_owned(),
        false => format!("remove the folder, and run `secateur shards build {} {number}`", set_of(shard)),
    }
}

/// What to do about a shard that changed.
fn put_back(shard: &Path) -> String {
    match is_address(shard) {
        true => {
            "serve that one, or run `secateur shards finish` where the set is and take its manifest.json from there if \
             the change was meant"
                .to_owned()
        }
        false => format!(
            "put that one back, or run `secateur shards finish {}` if the change was meant",
            set_of(shard)
        ),
    }
}

fn is_address(shard: &Path) -> bool {
    shard.to_string_lossy().contains("://")
}

/// The set that a shard's folder lies in, for messages.
fn set_of(shard: &Path) -> String {
    shard.parent().map_or_else(String::new, |set| set.display().to_string())
}
