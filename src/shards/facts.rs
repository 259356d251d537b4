//! What a shard says of itself.

use serde::{Deserialize, Serialize};

use super::manifest::{GenerationRecord, ShardRecord, State, state_of};
use crate::database::Database;
use crate::error::Result;

/// What a shard says of itself: its state, and what it must have in common with the other shards of its set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFacts {
    /// The state that answers are of.
    pub record: ShardRecord,
    /// Its vectors in the generation that is read; those of deleted documents that still take space are included.
    pub num_vectors: u64,
    /// The name of what makes words of texts.
    pub analyzer: String,
    /// The generation that is read; `None` in a shard without vectors.
    pub generation: Option<String>,
    /// All generations, in their order.
    pub generations: Vec<GenerationRecord>,
}

impl ShardFacts {
    /// Those of a database, as it is read.
    ///
    /// # Errors
    ///
    /// [`ShardError::Moved`](super::ShardError::Moved) if another process has committed since it was opened; a damaged
    /// file.
    pub fn of(database: &Database) -> Result<ShardFacts> {
        let State { analyzer, generations } = state_of(database);
        Ok(ShardFacts {
            record: ShardRecord::of(database)?,
            num_vectors: database.num_vectors() as u64,
            analyzer,
            generation: database.generation_name().map(str::to_owned),
            generations,
        })
    }

    /// The generation that is read.
    pub fn read(&self) -> Option<&GenerationRecord> {
        self.generations.iter().find(|generation| Some(&generation.name) == self.generation.as_ref())
    }

    pub(super) fn state(&self) -> State {
        State { analyzer: self.analyzer.clone(), generations: self.generations.clone() }
    }
}
