//! How calls compute: without the GIL, on a pool of threads that belongs to this process, and stopped by Ctrl-C.
//!
//! Whatever is Python's runs on the thread that made the call: callbacks, iterators, handlers of signals. Long work
//! runs on another one, and asks the caller's thread for what it needs.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder, Yield};
use secateur::{Error, ErrorKind};

use crate::errors::{defect, exception, of_kind, usage};

/// How often a call that waits looks for signals.
const TICK: Duration = Duration::from_millis(50);

/// How long a thread of the pool that waits for the caller's rests before it looks for work.
const IDLE: Duration = Duration::from_millis(1);

/// More would take memory and compute nothing sooner.
const MAX_THREADS: usize = 1024;

/// The pool, and the process whose threads it has: after a fork they are gone.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The threads that are asked for; 0 for one a core.
static NUM_THREADS: AtomicUsize = AtomicUsize::new(0);

fn pool() -> PyResult<Arc<ThreadPool>> {
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((_, pool)) = pool.as_ref().filter(|(owner, _)| *owner == process) {
        return Ok(Arc::clone(pool));
    }
    let threads = NUM_THREADS.load(Ordering::Relaxed);
    let made = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("secateur-{number}"))
        .build()
        .map_err(|error| of_kind(ErrorKind::System, format!("cannot start {threads} threads: {error}")))?;
    let made = Arc::new(made);
    // The pool of the process that this one was forked from: there are no threads to end.
    std::mem::forget(pool.replace((process, Arc::clone(&made))));
    Ok(made)
}

/// Sets how many threads compute, from the next call on.
#[pyfunction]
pub fn set_num_threads(threads: usize) -> PyResult<()> {
    if threads == 0 {
        return Err(usage("0 threads compute nothing: give 1 or more"));
    }
    if threads > MAX_THREADS {
        return Err(usage(format!("threads: expected at most {MAX_THREADS}, got {threads}")));
    }
    NUM_THREADS.store(threads, Ordering::Relaxed);
    let old = POOL.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((owner, pool)) = old
        && owner != std::process::id()
    {
        std::mem::forget(pool);
    }
    Ok(())
}

/// How many threads compute.
#[pyfunction]
pub fn num_threads() -> PyResult<usize> {
    Ok(pool()?.current_num_threads())
}

/// Short work, without the GIL.
pub fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    let pool = pool()?;
    let outcome = py.detach(|| panic::catch_unwind(AssertUnwindSafe(|| pool.install(work))));
    outcome.map_err(defect)?.map_err(|error| exception(&error))
}

/// What is done on the caller's thread.
type Task = Box<dyn FnOnce(Python<'_>) -> PyResult<()> + Send>;

/// With this, long work unwinds when it is to stop. Nothing is printed; [`watched`] catches it.
struct Stopped;

/// What long work asks of the thread that waits for it.
pub struct Watch {
    tasks: Sender<Task>,
    stop: Arc<AtomicBool>,
    pool: Arc<ThreadPool>,
}

impl Watch {
    /// Computes on the pool. Nothing that holds or takes a lock may run in there but what the library does.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Whether the caller wants the work to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends the work if the caller wants it.
    pub fn check(&self) {
        if self.is_stopped() {
            panic::resume_unwind(Box::new(Stopped));
        }
    }

    /// Has something done on the caller's thread, some time. If it raises, the work is stopped.
    pub fn post(&self, task: impl FnOnce(Python<'_>) -> PyResult<()> + Send + 'static) {
        // Nobody listens once the work is stopped.
        let _ = self.tasks.send(Box::new(task));
    }

    /// Has something done on the caller's thread and waits for what comes of it; `None` if it raises or the work is to
    /// stop.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Python<'_>) -> PyResult<T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::channel();
        self.post(move |py| {
            // Who asked is waiting.
            let _ = answer.send(question(py)?);
            Ok(())
        });
        // A thread of the pool does meanwhile what others wait for: to answer may need the pool.
        loop {
            let wait = match rayon::yield_now() {
                Some(Yield::Executed) => Duration::ZERO,
                Some(Yield::Idle) => IDLE,
                None => return answered.recv().ok(),
            };
            match answered.recv_timeout(wait) {
                Ok(found) => return Some(found),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits until all that was posted is done. Whether the work is to go on.
    pub fn is_wanted(&self) -> bool {
        self.ask(|_| Ok(())).is_some()
    }
}

/// Long work, without the GIL and on a thread of its own. It is stopped, at the next [`Watch::check`], by a signal
/// whose handler raises and by a callback that does; the exception is that.
pub fn watched<T: Send>(py: Python<'_>, work: impl FnOnce(&Watch) -> Result<T, Error> + Send) -> PyResult<T> {
    let pool = pool()?;
    let (tasks, asked) = mpsc::channel::<Task>();
    let stop = Arc::new(AtomicBool::new(false));
    let watch = Watch { tasks, stop: Arc::clone(&stop), pool };
    let mut raised: Option<PyErr> = None;
    let stopped_by = &mut raised;
    let outcome = py.detach(move || {
        thread::scope(|scope| {
            let run = move || {
                // Moved here, so that the channel ends with the work.
                let watch = watch;
                panic::catch_unwind(AssertUnwindSafe(|| work(&watch)))
            };
            let worker = thread::Builder::new().name("secateur".to_owned()).spawn_scoped(scope, run)?;
            loop {
                let task = match asked.recv_timeout(TICK) {
                    Ok(task) => Some(task),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if stopped_by.is_some() {
                    // Dropped unanswered: whoever asked gets nothing.
                    continue;
                }
                let answered = Python::attach(|py| {
                    py.check_signals()?;
                    task.map_or(Ok(()), |task| task(py))
                });
                if let Err(error) = answered {
                    stop.store(true, Ordering::Relaxed);
                    *stopped_by = Some(error);
                }
            }
            Ok::<_, std::io::Error>(worker.join())
        })
    });
    let outcome =
        outcome.map_err(|error| of_kind(ErrorKind::System, format!("cannot start a thread: {error}")))?;
    match (outcome, raised) {
        // What was done is done; the exception comes first all the same, or Ctrl-C would go unheard.
        (Ok(_), Some(raised)) => Err(raised),
        (Ok(Ok(Ok(value))), None) => Ok(value),
        (Ok(Ok(Err(error))), None) => Err(exception(&error)),
        (Ok(Err(panic)) | Err(panic), None) | (Err(panic), Some(_)) => Err(defect(panic)),
    }
}

/// A callback of Python's that is told how far work is.
pub struct Progress {
    callback: Option<Arc<Py<PyAny>>>,
}

impl Progress {
    /// Of a callable, if there is one.
    pub fn new(callback: Option<Py<PyAny>>) -> Progress {
        Progress { callback: callback.map(Arc::new) }
    }

    /// Tells how far work is, and ends the work if the caller wants it. `loss` is that of a step of training.
    pub fn tell(&self, watch: &Watch, of: &Told, done: usize, loss: Option<f64>) {
        watch.check();
        let Some(callback) = self.callback.clone() else { return };
        let Told { stage, what, unit, total } = of.clone();
        watch.post(move |py| callback.call1(py, (stage, what, unit, done, total, loss)).map(drop));
    }
}

/// What is counted.
#[derive(Clone, Default)]
pub struct Told {
    /// The stage of a recipe.
    pub stage: Option<String>,
    /// What is done, such as "encoding".
    pub what: &'static str,
    /// What is counted, such as "documents".
    pub unit: String,
    /// How many there are, if that is known.
    pub total: Option<u64>,
}

impl Told {
    /// So many units of something.
    pub fn of(what: &'static str, unit: &'static str, total: Option<usize>) -> Told {
        Told { stage: None, what, unit: unit.to_owned(), total: total.map(|total| total as u64) }
    }
}
