//! How far a set is.

use std::path::PathBuf;

use secateur_files::{Journal, kept_bytes};
use secateur_index::storage::partial_folder;

use super::plan::ShardPlan;
use crate::error::{Error, Result};
use crate::shard_error::ShardError;

/// How far a shard is.
#[derive(Debug)]
pub enum ShardState {
    /// Nothing is there.
    Missing,
    /// Its building was interrupted, or goes on.
    Unfinished {
        /// The length of the vectors that are kept.
        num_bytes: u64,
    },
    /// It is there, with the settings of the set.
    Built {
        /// Its documents.
        num_documents: usize,
        /// The length of its files in bytes.
        num_bytes: u64,
    },
    /// What is there is no shard of this set.
    Wrong(Error),
}

/// A shard and how far it is.
#[derive(Debug)]
pub struct ShardStatus {
    /// Its number.
    pub number: usize,
    /// Its folder.
    pub path: PathBuf,
    /// Documents that it has, or will have, unless it is changed.
    pub num_planned: u64,
    /// How far it is.
    pub state: ShardState,
}

impl ShardPlan {
    /// How far each shard is. Opens those that are there, and reads no documents.
    ///
    /// # Errors
    ///
    /// The settings of the set are missing or damaged.
    pub fn status(&self) -> Result<Vec<ShardStatus>> {
        let settings = self.settings()?;
        let status = |number: usize| {
            let path = self.shard_path(number);
            let (partial, journal) = (partial_folder(&path), Journal::beside(&path));
            let state = match self.built(number, &settings) {
                Ok(database) => {
                    ShardState::Built { num_documents: database.len(), num_bytes: database.num_bytes() }
                }
                Err(Error::Shards(ShardError::NotBuilt { .. })) if partial.exists() || journal.exists() => {
                    ShardState::Unfinished { num_bytes: kept_bytes(&journal) }
                }
                Err(Error::Shards(ShardError::NotBuilt { .. })) => ShardState::Missing,
                Err(error) => ShardState::Wrong(error),
            };
            ShardStatus { number, path, num_planned: self.shards()[number].num_documents, state }
        };
        Ok((0..self.num_shards()).map(status).collect())
    }
}
