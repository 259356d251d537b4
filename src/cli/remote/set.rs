//! A set whose shards are servers.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use secateur::shards::{MissingShard, SetOptions, Shard, ShardError, ShardSet};
use secateur::{Document, Encoder, EncoderRecord, Error, Result};

use super::client::Client;
use super::shard::RemoteShard;
use super::threads::Threads;
use super::topology::Topology;
use crate::cli::failure::{self, Failure};

/// A set whose shards are servers. Every answer is of one state of each shard. If one of them has gone on meanwhile,
/// the set is opened anew, once.
pub struct RemoteSet {
    topology: Topology,
    client: Arc<Client>,
    generation: Option<String>,
    partial: bool,
    encoder: Option<Arc<Encoder>>,
    current: RwLock<Arc<ShardSet>>,
    /// Whether the set is to be opened anew before it is asked again.
    is_stale: AtomicBool,
}

impl RemoteSet {
    /// Opens the set that a file names. `load` loads the encoder of its vectors, if one is needed. With `partial`
    /// shards without an answer are left out: see [`RemoteSet::missing`].
    pub fn open(
        path: &Path,
        generation: Option<&str>,
        partial: bool,
        load: impl FnOnce(&EncoderRecord) -> failure::Result<Option<Arc<Encoder>>>,
    ) -> failure::Result<RemoteSet> {
        let topology = Topology::read(path)?;
        let client = Arc::new(Client::new(&topology));
        RemoteSet::with_client(topology, client, generation, partial, load)
    }

    /// The same with a client that is there.
    pub fn with_client(
        topology: Topology,
        client: Arc<Client>,
        generation: Option<&str>,
        partial: bool,
        load: impl FnOnce(&EncoderRecord) -> failure::Result<Option<Arc<Encoder>>>,
    ) -> failure::Result<RemoteSet> {
        let generation = generation.map(str::to_owned);
        let mut encoder = None;
        let load = |record: &EncoderRecord| {
            encoder = load(record)?;
            Ok::<_, Failure>(encoder.clone())
        };
        let shards = shards(&topology, &client, &generation);
        let set = ShardSet::of(shards, options(&topology, partial), load)?;
        let current = RwLock::new(Arc::new(set));
        let is_stale = AtomicBool::new(false);
        Ok(RemoteSet { topology, client, generation, partial, encoder, current, is_stale })
    }

    /// The set as it was opened last.
    pub fn current(&self) -> Arc<ShardSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the set, and once more what it is now if it was changed meanwhile.
    pub fn ask<T>(&self, ask: impl Fn(&ShardSet) -> Result<T>) -> Result<T> {
        if self.is_stale.swap(false, Ordering::Relaxed) {
            self.reopen()?;
        }
        match ask(&self.current()) {
            Err(Error::Shards(error)) if error.is_moved() => {
                ask(&*self.reopen()?).map_err(|error| match error {
                    Error::Shards(error) if error.is_moved() => {
                        ShardError::MovedAgain { source: Box::new(error) }.into()
                    }
                    error => error,
                })
            }
            answer => answer,
        }
    }

    /// The documents with these ids, which were hits of this set. One that is gone was changed since.
    pub fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
        let before = self.current();
        let documents = self.ask(|set| set.documents_with(doc_ids))?;
        if documents.contains(&None) && !Arc::ptr_eq(&before, &self.current()) {
            return Err(ShardError::MovedAgain { source: Box::new(ShardError::Moved) }.into());
        }
        Ok(documents)
    }

    /// The shards that gave no answer since the last [`RemoteSet::renew`]; `None` where all must.
    pub fn missing(&self) -> Option<Vec<MissingShard>> {
        self.partial.then(|| self.current().missing())
    }

    /// Shards that gave no answer are asked again from now on.
    pub fn renew(&self) {
        if self.missing().is_some_and(|missing| !missing.is_empty()) {
            self.is_stale.store(true, Ordering::Relaxed);
        }
    }

    fn reopen(&self) -> Result<Arc<ShardSet>> {
        let shards = shards(&self.topology, &self.client, &self.generation);
        let load = |_: &EncoderRecord| Ok::<_, Error>(self.encoder.clone());
        let set = Arc::new(ShardSet::of(shards, options(&self.topology, self.partial), load)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&set);
        Ok(set)
    }
}

fn options(topology: &Topology, partial: bool) -> SetOptions {
    SetOptions {
        path: topology.path.clone(),
        manifest: topology.manifest.clone(),
        partial,
        fan_out: Box::new(Threads),
    }
}

fn shards(topology: &Topology, client: &Arc<Client>, generation: &Option<String>) -> Vec<Box<dyn Shard>> {
    let shard = |urls: &Vec<String>| {
        Box::new(RemoteShard::new(Arc::clone(client), urls.clone(), generation.clone())) as Box<dyn Shard>
    };
    topology.shards.iter().map(shard).collect()
}
