//! Databases: what is committed is searched while one thread changes what is not.

pub mod build;
mod change;
mod maintain;
pub mod read;
pub mod search;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use pyo3::prelude::*;
use secateur::database::{EncoderRecord, EncoderSource};
use secateur::{Error, ErrorKind, LoadOptions};

use crate::arguments::LoadArguments;
use crate::encoder::Encoder;
use crate::errors::{of_kind, usage};
use crate::work::{Watch, compute, watched};

/// A database. Its methods may be called by several threads: searches never wait for changes.
#[pyclass(frozen, module = "secateur._native")]
pub struct Database {
    path: PathBuf,
    /// What searches read: the state of the last commit.
    reader: RwLock<Arc<secateur::Database>>,
    /// What is changed. Nobody waits for it with the GIL, or on a thread of the pool.
    writer: Mutex<secateur::Database>,
    /// The thread of Python's that changes it, on which callbacks and iterators run.
    changed_by: Mutex<Option<ThreadId>>,
    /// The process that changes it, or has changes that are not committed; 0 if none. One that is forked from it then
    /// has a copy of them, and shares their lock.
    held_by: AtomicU32,
}

/// The turn of a thread to change a database.
struct Turn<'a> {
    database: &'a Database,
    writer: MutexGuard<'a, secateur::Database>,
}

impl Drop for Turn<'_> {
    /// Is done at the end, also where work unwinds.
    fn drop(&mut self) {
        *self.database.changed_by() = None;
        if !self.writer.has_changes() {
            self.database.held_by.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Database {
    /// Changes of the process that this one was forked from are left to it, and so is their lock, which would end here.
    fn drop(&mut self) {
        if matches!(*self.held_by.get_mut(), holder if holder != 0 && holder != std::process::id()) {
            let committed = self.reader.get_mut().unwrap_or_else(PoisonError::into_inner).reader();
            std::mem::forget(std::mem::replace(&mut self.writer, Mutex::new(committed)));
        }
    }
}

/// How often a call that waits for another thread's change looks for signals.
const WAIT: Duration = Duration::from_millis(1);

impl Database {
    fn of(database: secateur::Database) -> Database {
        Database {
            path: database.path().to_owned(),
            reader: RwLock::new(Arc::new(database.reader())),
            writer: Mutex::new(database),
            changed_by: Mutex::new(None),
            held_by: AtomicU32::new(0),
        }
    }

    fn reader(&self) -> Arc<secateur::Database> {
        Arc::clone(&self.reader.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is changed, when no other thread changes it, unless the work is to stop first.
    fn locked(&self, watch: &Watch) -> MutexGuard<'_, secateur::Database> {
        loop {
            match self.writer.try_lock() {
                Ok(writer) => return writer,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    watch.check();
                    thread::sleep(WAIT);
                }
            }
        }
    }

    fn changed_by(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.changed_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the database, and lets searches see what is committed then. A callback or an iterator of such a call
    /// would wait for itself, and is refused. So is a process that was forked while there were changes.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut secateur::Database, &Watch) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let (here, process) = (thread::current().id(), std::process::id());
        let holder = self.held_by.load(Ordering::Relaxed);
        if holder != 0 && holder != process {
            let path = self.path.display();
            return Err(of_kind(
                ErrorKind::Database,
                format!(
                    "process {holder}, which this one was forked from, was changing {path}, and its changes are not \
                     committed: open the database anew in this process, or commit before the fork"
                ),
            ));
        }
        if *self.changed_by() == Some(here) {
            return Err(usage(format!(
                "{} is being changed by the call that this callback or iterator belongs to: change it when that is done",
                self.path.display()
            )));
        }
        watched(py, |watch| {
            let mut turn = Turn { database: self, writer: self.locked(watch) };
            *self.changed_by() = Some(here);
            self.held_by.store(process, Ordering::Relaxed);
            let outcome = work(&mut turn.writer, watch);
            *self.reader.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(turn.writer.reader());
            outcome
        })
    }
}

#[pymethods]
impl Database {
    /// Opens a database, without its encoders.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, generation: Option<&str>) -> PyResult<Database> {
        let database = compute(py, || {
            let database = secateur::Database::open(&path)?;
            match generation {
                Some(name) => database.generation(name),
                None => Ok(database),
            }
        })?;
        Ok(Database::of(database))
    }

    /// Gives it the encoder of its vectors.
    fn set_encoder(&self, py: Python<'_>, encoder: &Encoder) -> PyResult<()> {
        let encoder = Arc::clone(&encoder.0);
        self.change(py, |database, _| {
            let same = database.reader();
            *database = std::mem::replace(database, same).with_encoder(encoder)?;
            Ok(())
        })
    }

    /// Loads the encoders it remembers: that of the generation that is read, or those of all. `locate` turns what a
    /// model is called into a directory.
    fn load_encoders(
        &self,
        py: Python<'_>,
        all: bool,
        locate: &Bound<'_, PyAny>,
        options: LoadArguments,
    ) -> PyResult<()> {
        let here = options.options()?;
        let reader = self.reader();
        let mut found = Vec::new();
        for info in reader.generation_infos() {
            let name = info.generation.name;
            let is_read = reader.generation_name() == Some(name.as_str());
            let Some(record) = info.encoder.filter(|_| all || is_read) else { continue };
            if is_read && reader.encoder().is_some() {
                continue;
            }
            let source = match &record.source {
                Some(source) => {
                    let model: PathBuf = locate.call1((&source.model,))?.extract()?;
                    Some(on_this_machine(source, &model, &here))
                }
                None => None,
            };
            found.push((name, EncoderRecord { source, ..record }));
        }
        if found.is_empty() {
            return Ok(());
        }
        let loaded =
            compute(py, || found.into_iter().map(|(name, record)| Ok((name, record.load()?))).collect())?;
        let loaded: Vec<(String, Arc<secateur::Encoder>)> = loaded;
        self.change(py, |database, _| {
            let same = database.reader();
            let owned = std::mem::replace(database, same);
            let given = |generation: &str, record: &EncoderRecord| match loaded
                .iter()
                .find(|(name, _)| name == generation)
            {
                Some((_, encoder)) => Ok(Arc::clone(encoder)),
                None => record.load(),
            };
            *database = match (all, loaded.first()) {
                (false, Some((_, encoder))) => owned.with_encoder(Arc::clone(encoder))?,
                _ => owned.with_all_encoders::<Error>(given)?,
            };
            Ok(())
        })
    }

    /// The encoder, if it is loaded.
    #[getter]
    fn encoder(&self) -> Option<Encoder> {
        self.reader().encoder().map(|encoder| Encoder(Arc::clone(encoder)))
    }

    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the last commit of whichever process made it.
    fn reload(&self, py: Python<'_>) -> PyResult<()> {
        let old = self.reader();
        let opened = compute(py, || {
            let opened = secateur::Database::open(&self.path)?;
            let opened = match old.generation_name().filter(|name| opened.generation_in_use() != Some(*name))
            {
                Some(name) => opened.generation(name)?,
                None => opened,
            };
            match old.encoder() {
                Some(encoder) => opened.with_encoder(Arc::clone(encoder)),
                None => Ok(opened),
            }
        })?;
        self.change(py, |writer, _| {
            // What is not committed here has a lock, so nobody else has committed.
            if writer.has_changes() {
                return Err(Error::UncommittedChanges { path: self.path.clone() });
            }
            *writer = opened;
            Ok(())
        })
    }
}

/// The same source where the model is now, computed as is asked for here.
pub fn on_this_machine(source: &EncoderSource, model: &Path, here: &LoadOptions) -> EncoderSource {
    let options = LoadOptions {
        device: here.device,
        batch_tokens: here.batch_tokens,
        cache: here.cache.clone(),
        ..source.options.clone()
    };
    EncoderSource { model: model.to_string_lossy().into_owned(), options }
}
