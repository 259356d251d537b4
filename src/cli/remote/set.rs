//! A set whose shards are servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use secateur::shards::{MissingShard, SetOptions, Shard, ShardError, ShardSet};
use secateur::{Document, Encoder, EncoderRecord, Error, Result};

use super::client::Client;
use super::shard::RemoteShard;
use super::threads::Threads;
use super::topology::Topology;
use crate::cli::failure::{self, Failure, moved_again};

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
    /// How often it was opened anew.
    reopened: AtomicUsize,
    /// The shards that an answer since the last [`RemoteSet::renew`] lacks, by their numbers. A set that was opened
    /// anew meanwhile may have them.
    left_out: Mutex<BTreeMap<usize, MissingShard>>,
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
        let left_out =
            Mutex::new(set.missing().into_iter().map(|missing| (missing.shard, missing)).collect());
        Ok(RemoteSet {
            topology,
            client,
            generation,
            partial,
            encoder,
            current: RwLock::new(Arc::new(set)),
            is_stale: AtomicBool::new(false),
            reopened: AtomicUsize::new(0),
            left_out,
        })
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
        let set = self.current();
        match ask(&set) {
            Err(Error::Shards(error)) if error.is_moved() => {
                let set = self.reopen()?;
                let answer = ask(&set).map_err(moved_again)?;
                self.note(&set);
                Ok(answer)
            }
            answer => {
                self.note(&set);
                answer
            }
        }
    }

    /// Asks the set as it was opened last, which its hits are of. If it was changed meanwhile, that is an error, and
    /// the next question opens it anew.
    pub fn ask_same<T>(&self, ask: impl Fn(&ShardSet) -> Result<T>) -> Result<T> {
        let set = self.current();
        let answer = ask(&set);
        if matches!(&answer, Err(Error::Shards(error)) if error.is_moved()) {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        self.note(&set);
        answer
    }

    /// The documents with these ids, which were hits of the set as it was opened last.
    pub fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
        self.ask_same(|set| {
            let documents = set.documents_with(doc_ids)?;
            let gone = doc_ids.iter().zip(&documents).find(|(_, document)| document.is_none());
            match gone.map(|(id, _)| *id) {
                // It may be one of a shard that is missing.
                Some(id) if set.missing().is_empty() => {
                    let problem = format!("{id:?} was a hit, and no shard has such a document");
                    Err(ShardError::WrongAnswer { problem }.into())
                }
                _ => Ok(documents),
            }
        })
    }

    /// How often it was opened anew: answers between which it was not are of one state.
    pub fn reopened(&self) -> usize {
        self.reopened.load(Ordering::Relaxed)
    }

    /// The shards that an answer since the last [`RemoteSet::renew`] lacks; `None` where all must answer.
    pub fn missing(&self) -> Option<Vec<MissingShard>> {
        self.partial.then(|| self.left_out().values().cloned().collect())
    }

    /// Shards that gave no answer are asked again from now on.
    pub fn renew(&self) {
        let mut left_out = self.left_out();
        if !left_out.is_empty() {
            left_out.clear();
            self.is_stale.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps which shards an answer of this set lacks.
    fn note(&self, set: &ShardSet) {
        let mut left_out = self.left_out();
        for missing in set.missing() {
            left_out.entry(missing.shard).or_insert(missing);
        }
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeMap<usize, MissingShard>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&self) -> Result<Arc<ShardSet>> {
        let shards = shards(&self.topology, &self.client, &self.generation);
        let load = |_: &EncoderRecord| Ok::<_, Error>(self.encoder.clone());
        let set = Arc::new(ShardSet::of(shards, options(&self.topology, self.partial), load)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&set);
        self.reopened.fetch_add(1, Ordering::Relaxed);
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
