//! A set whose shards are elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use secateur_datasets::Document;
use secateur_encoders::Encoder;

use super::client::{Client, Replicas};
use super::shard::RemoteShard;
use super::threads::Threads;
use super::topology::Topology;
use crate::database::EncoderRecord;
use crate::error::{Error, Result};
use crate::shard_error::ShardError;
use crate::shards::set::{SetOptions, ShardSet};
use crate::shards::shard::{MissingShard, Shard};

/// Where the shards of a set are.
pub struct Origin {
    /// What names them, for messages.
    pub path: PathBuf,
    /// The manifest of the finished set: see [`SetOptions::manifest`].
    pub manifest: Option<PathBuf>,
    /// Whether shards without an answer are left out: see [`RemoteSet::missing`].
    pub partial: bool,
    /// Gives the shards in their order, none of which was asked yet.
    pub shards: Box<dyn Fn() -> Vec<Box<dyn Shard>> + Send + Sync>,
}

impl Origin {
    /// The servers that a file names, read through a generation, or through the one in use.
    pub fn servers(topology: Topology, client: Client, generation: Option<&str>, partial: bool) -> Origin {
        let Topology { path, shards, manifest, .. } = topology;
        let (client, generation) = (Arc::new(client), generation.map(str::to_owned));
        let shard = move |urls: &Vec<String>| {
            let replicas = Replicas::new(Arc::clone(&client), urls.clone());
            Box::new(RemoteShard::new(replicas, generation.clone())) as Box<dyn Shard>
        };
        let shards = Box::new(move || shards.iter().map(&shard).collect::<Vec<_>>());
        Origin { path, manifest, partial, shards }
    }

    fn options(&self) -> SetOptions {
        SetOptions {
            path: self.path.clone(),
            manifest: self.manifest.clone(),
            partial: self.partial,
            fan_out: Box::new(Threads),
        }
    }
}

/// A set whose shards are elsewhere. Every answer is of one state of each shard. If one of them has gone on meanwhile,
/// the set is opened anew, once. Threads may share it.
pub struct RemoteSet {
    origin: Origin,
    encoder: RwLock<Option<Arc<Encoder>>>,
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
    /// Opens the set that a file names. `load` loads the encoder of its vectors, or says that none is needed. With
    /// `partial` shards without an answer are left out: see [`RemoteSet::missing`].
    ///
    /// # Errors
    ///
    /// As [`Topology::read`] and [`RemoteSet::of`].
    pub fn open<E: From<Error>>(
        path: &Path,
        generation: Option<&str>,
        partial: bool,
        load: impl FnOnce(&EncoderRecord) -> Result<Option<Arc<Encoder>>, E>,
    ) -> Result<RemoteSet, E> {
        let topology = Topology::read(path)?;
        let client = Client::new(&topology);
        RemoteSet::of(Origin::servers(topology, client, generation, partial), load)
    }

    /// Opens the set of these shards. `load` is as for [`RemoteSet::open`].
    ///
    /// # Errors
    ///
    /// As [`ShardSet::of`].
    pub fn of<E: From<Error>>(
        origin: Origin,
        load: impl FnOnce(&EncoderRecord) -> Result<Option<Arc<Encoder>>, E>,
    ) -> Result<RemoteSet, E> {
        let set = ShardSet::of((origin.shards)(), origin.options(), load)?;
        let left_out = set.missing().into_iter().map(|missing| (missing.shard, missing)).collect();
        Ok(RemoteSet {
            origin,
            encoder: RwLock::new(set.encoder().cloned()),
            current: RwLock::new(Arc::new(set)),
            is_stale: AtomicBool::new(false),
            reopened: AtomicUsize::new(0),
            left_out: Mutex::new(left_out),
        })
    }

    /// Gives the set the encoder of its queries: see [`ShardSet::set_encoder`].
    ///
    /// # Errors
    ///
    /// As [`ShardSet::set_encoder`].
    pub fn set_encoder(&self, encoder: Arc<Encoder>) -> Result<()> {
        self.current().set_encoder(Arc::clone(&encoder))?;
        *self.encoder.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&encoder));
        // Another thread may have opened it anew before the encoder was known.
        self.current().set_encoder(encoder)
    }

    /// The set as it was opened last.
    pub fn current(&self) -> Arc<ShardSet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the set, and once more what it is now if it was changed meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `ask`; [`ShardError::MovedAgain`].
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
    ///
    /// # Errors
    ///
    /// Those of `ask`; [`ShardError::Moved`] in that shard.
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
    ///
    /// # Errors
    ///
    /// As [`RemoteSet::ask_same`]; [`ShardError::WrongAnswer`] if a hit has no document.
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
        self.origin.partial.then(|| self.left_out().values().cloned().collect())
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
        let known = || self.encoder.read().unwrap_or_else(PoisonError::into_inner).clone();
        let load = |_: &EncoderRecord| Ok::<_, Error>(known());
        let set = Arc::new(ShardSet::of((self.origin.shards)(), self.origin.options(), load)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&set);
        // Another thread may have given it meanwhile.
        if let Some(encoder) = known().filter(|_| set.encoder().is_none()) {
            set.set_encoder(encoder)?;
        }
        self.reopened.fetch_add(1, Ordering::Relaxed);
        Ok(set)
    }
}

/// The error of what was started anew already because a shard had changed.
pub fn moved_again(error: Error) -> Error {
    match error {
        Error::Shards(error) if error.is_moved() => ShardError::MovedAgain { source: Box::new(error) }.into(),
        error => error,
    }
}
