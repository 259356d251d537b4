//! The state of a database that is searched, and the next one.
//!
//! A search holds the state that it began with. A new one is made beside it and takes its place, so nobody waits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use secateur::database::EncoderRecord;
use secateur::encoders::Fingerprint;
use secateur::shards::ShardFacts;
use secateur::{Database, Encoder, Error};
use secateur_serve::Fault;
use serde_json::Value;

use super::fault;
use super::model::ServedEncoder;
use crate::cli::encoder::{EncoderArguments, load_remembered};
use crate::cli::failure::{Code, Failure};

/// A database at one commit.
pub struct State {
    /// As read through the generation in use.
    pub database: Arc<Database>,
    pub embedder: Option<Arc<ServedEncoder>>,
    /// As read through other generations, by their names, as they are asked for.
    others: Mutex<HashMap<String, Arc<Database>>>,
    /// What is told of it: reads all metadata, so once.
    pub info: OnceLock<Value>,
    /// What it says of itself as a shard of a set.
    pub facts: OnceLock<ShardFacts>,
}

impl State {
    /// As read through the generation of this name, if it was before.
    fn ready(&self, name: &str) -> Option<Arc<Database>> {
        match self.database.generation_name() == Some(name) {
            true => Some(Arc::clone(&self.database)),
            false => self.others().get(name).cloned(),
        }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<String, Arc<Database>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new(database: Database, embedder: Option<Arc<ServedEncoder>>) -> State {
        State {
            embedder,
            database: Arc::new(database),
            others: Mutex::default(),
            info: OnceLock::new(),
            facts: OnceLock::new(),
        }
    }
}

/// A database that is served, at its latest commit.
pub struct Current {
    path: PathBuf,
    arguments: EncoderArguments,
    state: RwLock<Arc<State>>,
    /// Encoders that were loaded, of any generation.
    encoders: Mutex<HashMap<Fingerprint, Arc<Encoder>>>,
    /// Held by who makes the next state.
    next: Mutex<()>,
}

impl Current {
    pub fn new(path: PathBuf, arguments: EncoderArguments, database: Database) -> Current {
        let embedder = database.encoder().map(|encoder| Arc::new(ServedEncoder::new(Arc::clone(encoder))));
        let state = RwLock::new(Arc::new(State::new(database, embedder)));
        Current { path, arguments, state, encoders: Mutex::default(), next: Mutex::default() }
    }

    /// The state that is searched now.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The right to make the next state: one at a time has it.
    pub fn begin(&self) -> MutexGuard<'_, ()> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Searches see this from now on. It must have been made with the right to.
    pub fn put(&self, database: Database) {
        let encoder = database.encoder();
        let before = self.state();
        let same = before.embedder.clone().filter(|_| {
            let [before, now] = [before.database.encoder(), encoder];
            before.zip(now).is_some_and(|(before, now)| Arc::ptr_eq(before, now))
        });
        let embedder =
            same.or_else(|| encoder.map(|encoder| Arc::new(ServedEncoder::new(Arc::clone(encoder)))));
        // Encoders of generations that are gone are let go.
        let present: Vec<Fingerprint> = database
            .generation_infos()
            .into_iter()
            .filter_map(|info| info.encoder.map(|record| record.fingerprint))
            .collect();
        let mut encoders = self.encoders();
        // The one before may be asked for by its name, or come back.
        encoders
            .extend(before.database.encoder().map(|encoder| (*encoder.fingerprint(), Arc::clone(encoder))));
        encoders.retain(|fingerprint, _| present.contains(fingerprint));
        drop(encoders);
        let state = Arc::new(State::new(database, embedder));
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The database as it is now on disk, with the encoder of the generation in use.
    pub fn latest(&self) -> Result<Database, Fault> {
        let mut next = self.state().database.reader();
        match next.refresh() {
            Ok(())
                if next.generation_name() == next.generation_in_use()
                    && (next.encoder().is_some() || next.encoder_record().is_none()) =>
            {
                Ok(next)
            }
            // Another generation is in use, or the first one has come.
            Ok(())
            | Err(
                Error::EncoderMismatch { .. }
                | Error::EncoderOfGeneration { .. }
                | Error::NoEncoder { .. }
                | Error::NoVectors { .. },
            ) => {
                let database = Database::open(&self.path).map_err(|error| fault::of(&error))?;
                database.reload_encoder(|record| self.encoder(record)).map_err(failed)
            }
            Err(error) => Err(fault::of(&error)),
        }
    }

    /// Whether a generation can be read now. One that is not there counts as such.
    pub fn is_loaded(&self, name: &str) -> bool {
        let state = self.state();
        state.ready(name).is_some() || state.database.generations().iter().all(|one| one.name != name)
    }

    /// The database of a state, as read through the generation of this name. No encoder is loaded for it.
    pub fn generation(&self, state: &State, name: &str) -> Result<Arc<Database>, Fault> {
        if let Some(database) = state.ready(name) {
            return Ok(database);
        }
        let mut is_missing = false;
        let opened = self.opened(state, name, |record| {
            let encoder = self.encoders().get(&record.fingerprint).cloned();
            is_missing = encoder.is_none();
            encoder.ok_or_else(|| {
                Failure::new(Code::Database, format!("the encoder {} is not loaded", record.name))
            })
        });
        // It was loaded for a state before, whose encoders are gone.
        opened.map_err(|fault| match is_missing {
            true => Fault::unavailable(format!("generation {name:?} is being loaded: try again later")),
            false => fault,
        })
    }

    /// Loads what searches of a generation need.
    pub fn load(&self, name: &str) -> Result<(), Fault> {
        self.opened(&self.state(), name, |record| self.encoder(record)).map(drop)
    }

    fn opened(
        &self,
        state: &State,
        name: &str,
        encoder: impl FnOnce(&EncoderRecord) -> Result<Arc<Encoder>, Failure>,
    ) -> Result<Arc<Database>, Fault> {
        let database = state.database.generation(name).map_err(|error| fault::of(&error))?;
        let database = Arc::new(database.reload_encoder(encoder).map_err(failed)?);
        state.others().insert(name.to_owned(), Arc::clone(&database));
        Ok(database)
    }

    /// The encoder of a generation, loaded if it is not there yet.
    pub fn encoder(&self, record: &EncoderRecord) -> Result<Arc<Encoder>, Failure> {
        if let Some(encoder) = self.encoders().get(&record.fingerprint) {
            return Ok(Arc::clone(encoder));
        }
        let encoder = load_remembered(&self.path, record, &self.arguments)?;
        self.encoders().insert(record.fingerprint, Arc::clone(&encoder));
        Ok(encoder)
    }

    fn encoders(&self) -> MutexGuard<'_, HashMap<Fingerprint, Arc<Encoder>>> {
        self.encoders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What fails here is the server's own: its database or its models.
pub fn failed(failure: Failure) -> Fault {
    Fault::internal(failure.message)
}
