//! Finishing a set: its shards are compared with each other, and its manifest is written.

use rayon::prelude::*;

use super::manifest::{SetRecord, ShardRecord, state_of};
use super::plan::{MANIFEST, ShardPlan};
use super::record;
use super::shard::in_shard;
use super::unique;
use crate::database::Database;
use crate::error::Result;
use crate::number::counted;
use crate::shard_error::ShardError;

/// What a finished set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetReport {
    /// Shards.
    pub num_shards: usize,
    /// Documents of all shards.
    pub num_documents: u64,
    /// The length of their files in bytes.
    pub num_bytes: u64,
}

impl ShardPlan {
    /// Checks that all shards are there and fit each other, and writes the manifest. To be called again after shards
    /// were changed: documents deleted or added, generations added.
    ///
    /// # Errors
    ///
    /// [`ShardError::NotBuilt`], [`ShardError::OtherEncoder`], [`ShardError::OtherSettings`],
    /// [`ShardError::SameDocument`]; [`ShardError::InShard`] if a shard is damaged.
    pub fn finish(&self) -> Result<SetReport> {
        let databases = self.databases()?;
        unique::check(&databases)?;
        let record = record_of(&databases)?;
        record::write(&self.path().join(MANIFEST), &record)?;
        Ok(record.report())
    }

    /// Reads the whole set through: the shards must be those that it was finished with, and every byte of them what was
    /// written.
    ///
    /// # Errors
    ///
    /// As [`ShardPlan::finish`]; [`ShardError::NotFinished`], [`ShardError::Changed`], and the first damage found.
    pub fn verify(&self) -> Result<SetReport> {
        self.verify_with(|_| {})
    }

    /// Does what [`ShardPlan::verify`] does, and calls `before` with the number of each shard before it is read.
    ///
    /// # Errors
    ///
    /// As [`ShardPlan::verify`].
    pub fn verify_with(&self, mut before: impl FnMut(usize)) -> Result<SetReport> {
        let finished = self.finished()?;
        let databases = self.databases()?;
        for (number, database) in databases.iter().enumerate() {
            before(number);
            let path = self.shard_path(number);
            let failed = |error| in_shard(number, path.display(), error);
            let found = ShardRecord::of(database).map_err(failed)?;
            match finished.shards.get(number) {
                Some(shard) => shard.check(&found, number, &path)?,
                None => return Err(self.other_number(&finished)),
            }
            database.verify().map_err(|error| in_shard(number, path.display(), error))?;
        }
        unique::check(&databases)?;
        Ok(finished.report())
    }

    /// Whether the set is finished, and its shards are those that it was finished with.
    ///
    /// # Errors
    ///
    /// The manifest is damaged.
    pub fn is_finished(&self) -> Result<bool> {
        if !self.path().join(MANIFEST).exists() {
            return Ok(false);
        }
        let finished = self.finished()?;
        let is_same = |(number, shard): (usize, &ShardRecord)| -> Result<bool> {
            let database = Database::open(self.shard_path(number))?;
            Ok(ShardRecord::of(&database)? == *shard)
        };
        // A shard that does not open is none that the set was finished with.
        Ok(finished.shards.iter().enumerate().all(|shard| is_same(shard).unwrap_or(false)))
    }

    /// The manifest.
    pub(super) fn finished(&self) -> Result<SetRecord> {
        let path = self.path().join(MANIFEST);
        if !path.exists() {
            return Err(ShardError::NotFinished { path: self.path().to_owned() }.into());
        }
        let record: SetRecord = record::read(&path)?;
        match record.shards.len() == self.num_shards() {
            true => Ok(record),
            false => Err(self.other_number(&record)),
        }
    }

    fn other_number(&self, record: &SetRecord) -> crate::Error {
        let path = self.path().join(MANIFEST);
        let count = counted(record.shards.len(), "shard");
        let problem = format!("it has {count}, and the plan {}", self.num_shards());
        let advice = "write it again with `secateur shards finish`";
        ShardError::BadFile { path, problem, advice }.into()
    }

    /// All shards, in their order. The first error in their order, whichever is found first.
    fn databases(&self) -> Result<Vec<Database>> {
        let settings = self.settings()?;
        let opened: Vec<Result<Database>> =
            (0..self.num_shards()).into_par_iter().map(|number| self.built(number, &settings)).collect();
        let databases = opened.into_iter().collect::<Result<Vec<_>>>()?;
        let states: Vec<_> = databases.iter().map(state_of).collect();
        for (number, state) in states.iter().enumerate() {
            state.check(&states[0], number, &self.shard_path(number))?;
        }
        Ok(databases)
    }
}

fn record_of(databases: &[Database]) -> Result<SetRecord> {
    let of = |(number, database): (usize, &Database)| {
        ShardRecord::of(database).map_err(|error| in_shard(number, database.path().display(), error))
    };
    let shards = databases.iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
    let state = state_of(&databases[0]);
    Ok(SetRecord {
        documents: shards.iter().map(|shard| shard.documents).sum(),
        analyzer: state.analyzer,
        generations: state.generations,
        shards,
    })
}

impl SetRecord {
    pub fn report(&self) -> SetReport {
        SetReport {
            num_shards: self.shards.len(),
            num_documents: self.documents,
            num_bytes: self.shards.iter().map(|shard| shard.bytes).sum(),
        }
    }
}
