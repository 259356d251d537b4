//! The manifest of a set: what its shards are.

use std::path::Path;

use secateur_encoders::Fingerprint;
use secateur_index::storage::Generation;
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::database::Database;
use crate::database::reading::{passages, separator};
use crate::error::{Result, short_digits};
use crate::number::counted;
use crate::shard_error::ShardError;

/// The content of manifest.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetRecord {
    /// Documents of all shards.
    pub documents: u64,
    pub analyzer: String,
    /// In their order.
    pub generations: Vec<GenerationRecord>,
    /// In their order.
    pub shards: Vec<ShardRecord>,
}

impl Record for SetRecord {
    const FORMAT: &'static str = "secateur shard set";
    const VERSION: u64 = 1;
    const ADVICE: &'static str = "restore it from a copy, or write it again with `secateur shards finish`";
}

/// A state of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Its documents.
    pub documents: u64,
    /// The length of its segments' files.
    pub bytes: u64,
    /// The number of its last commit.
    pub commit: u64,
    /// CRC-32 of its own manifest, which has the checksums of its files: 8 hexadecimal digits.
    pub checksum: String,
}

/// What all shards have in common of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// What it is called.
    pub name: String,
    /// Whether searches read it that name none.
    pub in_use: bool,
    /// What its encoder is called; null if no encoder makes the vectors.
    pub encoder: Option<String>,
    /// The fingerprint of its encoder: 64 hexadecimal digits.
    pub fingerprint: Option<String>,
    /// The length of its vectors.
    pub dim: usize,
    /// The name of its metric.
    pub metric: String,
    /// The type of the vectors' components, such as f32.
    pub vectors: String,
    /// The name of the kind of its index.
    pub index: String,
    /// How documents are split; null for one vector a document.
    pub passages: Option<String>,
    /// What stands between a document's title and its text.
    pub separator: String,
}

/// The state of a database, as the manifest has it.
pub(super) struct State {
    pub analyzer: String,
    pub generations: Vec<GenerationRecord>,
}

pub(super) fn state_of(database: &Database) -> State {
    let record = |generation: &Generation| {
        let identity = generation.encoder.as_ref();
        GenerationRecord {
            name: generation.name.clone(),
            in_use: database.generation_in_use() == Some(&generation.name),
            encoder: identity.map(|identity| identity.name.clone()),
            fingerprint: identity.map(|identity| Fingerprint::from_bytes(identity.fingerprint).to_string()),
            dim: generation.vectors.dim,
            metric: generation.vectors.metric.to_string(),
            vectors: generation.vectors.components.to_string(),
            index: generation.vectors.index.name().to_owned(),
            passages: passages(generation).map(|passages| passages.to_string()),
            separator: separator(generation).to_owned(),
        }
    };
    State {
        analyzer: database.analyzer().to_string(),
        generations: database.generations().iter().map(record).collect(),
    }
}

impl State {
    /// Leaves of both states the generations that both have, whichever is in use.
    pub fn leave_common(&mut self, other: &mut State) {
        let names = |state: &State| -> Vec<String> {
            state.generations.iter().map(|generation| generation.name.clone()).collect()
        };
        let [own, others] = [&*self, &*other].map(names);
        self.generations.retain(|generation| others.contains(&generation.name));
        other.generations.retain(|generation| own.contains(&generation.name));
        for generation in self.generations.iter_mut().chain(&mut other.generations) {
            generation.in_use = false;
        }
    }

    /// Refuses a shard whose analyzer or generations are not those of the set.
    pub fn check(&self, of_set: &State, shard: usize, path: &Path) -> Result<()> {
        let names = |state: &State| {
            let names: Vec<&str> =
                state.generations.iter().map(|generation| generation.name.as_str()).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let fields = |state: &State| {
            [("the analyzer", state.analyzer.clone()), ("the list of generations", names(state))]
        };
        for ((what, got), (_, expected)) in fields(self).into_iter().zip(fields(of_set)) {
            if got != expected {
                let path = path.to_owned();
                return Err(ShardError::OtherSettings { shard, path, what, expected, got }.into());
            }
        }
        let mut pairs = self.generations.iter().zip(&of_set.generations);
        pairs.try_for_each(|(found, of_set)| found.check(of_set, shard, path))
    }
}

impl ShardRecord {
    pub(super) fn of(database: &Database) -> Result<ShardRecord> {
        // Of the commit that was opened, not of what lies there now.
        let checksum = database.checksum()?.ok_or(ShardError::Moved)?;
        Ok(ShardRecord {
            documents: database.len() as u64,
            bytes: database.num_bytes(),
            commit: database.commit_number(),
            checksum: format!("{checksum:08x}"),
        })
    }

    /// Refuses another state than this one.
    pub(super) fn check(&self, found: &ShardRecord, shard: usize, path: &Path) -> Result<()> {
        let told = |state: &ShardRecord| {
            let ShardRecord { documents, commit, checksum, .. } = state;
            let documents = counted(*documents as usize, "document");
            format!("commit {commit} with {documents} and checksum {checksum}")
        };
        if self == found {
            return Ok(());
        }
        let problem = format!("it is {}, and the set was finished with {}", told(found), told(self));
        Err(ShardError::Changed { shard, path: path.to_owned(), problem }.into())
    }
}

impl GenerationRecord {
    /// Refuses a generation of a shard that is not as this one is in the set.
    pub(super) fn check(&self, of_set: &GenerationRecord, shard: usize, path: &Path) -> Result<()> {
        let path = path.to_owned();
        if self.fingerprint != of_set.fingerprint {
            let [expected, got] = [of_set, self].map(GenerationRecord::encoder_named);
            return Err(ShardError::OtherEncoder { shard, path, expected, got }.into());
        }
        let fields = |of: &GenerationRecord| {
            let each = if of.passages.is_some() { "passage" } else { "document" };
            let vectors = format!("{} of {} for each {each}", counted(of.dim, "number"), of.vectors);
            [
                ("the name of a generation", of.name.clone()),
                ("the generation in use", format!("{}{}", if of.in_use { "" } else { "not " }, of.name)),
                ("the vectors of a generation", vectors),
                ("the metric of a generation", of.metric.clone()),
                ("the index of a generation", of.index.clone()),
                ("the passages of a generation", of.passages.clone().unwrap_or_else(|| "none".to_owned())),
                ("the separator of a generation", format!("{:?}", of.separator)),
            ]
        };
        for ((what, got), (_, expected)) in fields(self).into_iter().zip(fields(of_set)) {
            if got != expected {
                return Err(ShardError::OtherSettings { shard, path, what, expected, got }.into());
            }
        }
        Ok(())
    }

    fn encoder_named(&self) -> String {
        match (&self.encoder, &self.fingerprint) {
            (Some(encoder), Some(fingerprint)) => named(encoder, &short_digits(fingerprint.clone())),
            _ => "no encoder".to_owned(),
        }
    }
}

/// An encoder in messages.
pub(super) fn named(name: &str, fingerprint: &str) -> String {
    format!("{name} (fingerprint {fingerprint})")
}
