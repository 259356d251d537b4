//! Dynamic batches: what many requests ask for is computed together, on threads of its own.
//!
//! A request's items go into a bounded queue. A worker takes as many as a batch may cost, from the requests in their
//! order. One that does not fit whole goes on behind the others, so a small request never waits for all of a large
//! one. Nothing waits for a batch to fill: the next one is what came while the last one was computed.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::budget::Share;
use crate::fault::Fault;
use crate::metrics::QueueMetrics;

/// What is computed in batches.
pub trait Work: Send + Sync + 'static {
    /// What is given.
    type Item: Send + 'static;
    /// What comes of it.
    type Output: Send + 'static;

    /// What an item adds to the cost of a batch, at least 1.
    fn cost(&self, item: &Self::Item) -> usize;

    /// Computes a batch: one output for each item, in their order.
    fn run(&self, items: Vec<Self::Item>) -> Vec<Result<Self::Output, Fault>>;
}

/// How much is taken on.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Items that wait or are computed.
    pub items: usize,
    /// The cost of a batch. A single item may cost more.
    pub batch_cost: usize,
    /// Batches that are computed at a time.
    pub threads: usize,
}

/// A queue and its workers.
pub struct Batches<W: Work> {
    shared: Arc<Shared<W>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared<W: Work> {
    work: W,
    bounds: Bounds,
    queue: Mutex<Queue<W>>,
    is_work: Condvar,
    metrics: Arc<QueueMetrics>,
}

struct Queue<W: Work> {
    waiting: VecDeque<Waiting<W>>,
    closed: bool,
}

/// What is not computed yet of a request.
struct Waiting<W: Work> {
    items: VecDeque<W::Item>,
    /// The place of the first of them in the request.
    place: usize,
    answer: Arc<Answer<W>>,
}

/// What is computed of a request.
struct Answer<W: Work> {
    parts: Mutex<Outputs<W>>,
    /// Room in the queue, until the request is answered or given up.
    _room: Room,
}

struct Outputs<W: Work> {
    outputs: Vec<Option<W::Output>>,
    missing: usize,
    /// `None` once it is answered.
    sender: Option<oneshot::Sender<Result<Vec<W::Output>, Fault>>>,
}

/// Room for some items in a queue, for as long as this value lives.
pub struct Room {
    items: usize,
    metrics: Arc<QueueMetrics>,
    /// The bytes that the items came in.
    _share: Option<Share>,
}

impl Room {
    /// The same, and the bytes that the items came in are counted as long.
    pub fn with(self, share: Share) -> Room {
        let mut room = self;
        room._share = Some(share);
        room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.metrics.waiting.fetch_sub(self.items, Ordering::Relaxed);
    }
}

impl<W: Work> Batches<W> {
    /// Starts the workers.
    pub fn start(
        name: &'static str,
        work: W,
        bounds: Bounds,
        metrics: Arc<QueueMetrics>,
    ) -> std::io::Result<Batches<W>> {
        let queue = Mutex::new(Queue { waiting: VecDeque::new(), closed: false });
        let shared = Arc::new(Shared { work, bounds, queue, is_work: Condvar::new(), metrics });
        let worker = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("{name} {number}")).spawn(move || shared.serve())
        };
        let workers = (0..bounds.threads).map(worker).collect::<std::io::Result<_>>()?;
        Ok(Batches { shared, workers })
    }

    /// Takes room for the items of a request, before anything is done for it.
    pub fn admit(&self, items: usize) -> Result<Room, Fault> {
        let Shared { bounds, metrics, .. } = &*self.shared;
        let add = |waiting: usize| (waiting + items <= bounds.items).then_some(waiting + items);
        match metrics.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(Room { items, metrics: Arc::clone(metrics), _share: None }),
            Err(waiting) => {
                metrics.refused.fetch_add(1, Ordering::Relaxed);
                Err(Fault::overloaded(format!(
                    "the queue has room for {} items, {waiting} are in it, and the request has {items}: try again later",
                    bounds.items
                )))
            }
        }
    }

    /// Computes the items of a request, and gives the outputs in their order. A request that is dropped meanwhile is
    /// not computed further.
    pub async fn compute(
        &self,
        room: Room,
        items: Vec<W::Item>,
        limit: Duration,
    ) -> Result<Vec<W::Output>, Fault> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (sender, receiver) = oneshot::channel();
        let parts = Outputs {
            outputs: items.iter().map(|_| None).collect(),
            missing: items.len(),
            sender: Some(sender),
        };
        let answer = Arc::new(Answer { parts: Mutex::new(parts), _room: room });
        let _leaving = Leaving { shared: &self.shared, answer: Arc::clone(&answer) };
        self.shared.locked().waiting.push_back(Waiting { items: items.into(), place: 0, answer });
        self.shared.is_work.notify_one();
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Fault::unavailable("the server is ending")),
            Err(_) => Err(Fault::unavailable(format!(
                "no answer within {} s: the server is busy, or the request is too large",
                limit.as_secs_f64()
            ))),
        }
    }

    /// Computes what is waiting, and ends the workers.
    pub fn close(self) {
        self.shared.locked().closed = true;
        self.shared.is_work.notify_all();
        for worker in self.workers {
            // What a worker computes is caught if it panics.
            let _ = worker.join();
        }
    }
}

/// Takes what still waits of a request out of the queue, once nobody waits for its answer: its room is free at once.
struct Leaving<'q, W: Work> {
    shared: &'q Shared<W>,
    answer: Arc<Answer<W>>,
}

impl<W: Work> Drop for Leaving<'_, W> {
    fn drop(&mut self) {
        if self.answer.locked().missing > 0 {
            self.shared.locked().waiting.retain(|waiting| !Arc::ptr_eq(&waiting.answer, &self.answer));
        }
    }
}

impl<W: Work> Shared<W> {
    fn locked(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        while let Some(batch) = self.next_batch() {
            let start = Instant::now();
            let (count, cost) = (batch.items.len(), batch.cost);
            let outputs = catch_unwind(AssertUnwindSafe(|| self.work.run(batch.items)));
            let mut outputs = outputs.unwrap_or_else(|_| panicked(count)).into_iter();
            // Before the answers: who has one finds it counted.
            self.metrics.batch(count, cost, start.elapsed());
            for part in batch.parts {
                part.answer.put(part.place, outputs.by_ref().take(part.count));
            }
        }
    }

    /// Waits for work; `None` if there is none and will be none.
    fn next_batch(&self) -> Option<Batch<W>> {
        let mut queue = self.locked();
        loop {
            let batch = queue.take(&self.work, self.bounds.batch_cost);
            if !batch.items.is_empty() {
                if !queue.waiting.is_empty() {
                    self.is_work.notify_one();
                }
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            queue = self.is_work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn panicked<T>(count: usize) -> Vec<Result<T, Fault>> {
    let fault = Fault::internal("the server failed at this batch; its log says more");
    (0..count).map(|_| Err(fault.clone())).collect()
}

struct Batch<W: Work> {
    items: Vec<W::Item>,
    cost: usize,
    parts: Vec<RequestItems<W>>,
}

/// A request's part of a batch.
struct RequestItems<W: Work> {
    place: usize,
    count: usize,
    answer: Arc<Answer<W>>,
}

impl<W: Work> Queue<W> {
    fn take(&mut self, work: &W, most: usize) -> Batch<W> {
        let mut batch = Batch { items: Vec::new(), cost: 0, parts: Vec::new() };
        let mut rest = VecDeque::new();
        while let Some(mut waiting) = self.waiting.pop_front() {
            if waiting.answer.is_given_up() {
                continue;
            }
            let before = batch.items.len();
            while let Some(item) = waiting.items.front() {
                let cost = work.cost(item);
                if !batch.items.is_empty() && batch.cost + cost > most {
                    break;
                }
                batch.cost += cost;
                batch.items.extend(waiting.items.pop_front());
            }
            let count = batch.items.len() - before;
            if count > 0 {
                let (place, answer) = (waiting.place, Arc::clone(&waiting.answer));
                batch.parts.push(RequestItems { place, count, answer });
                waiting.place += count;
            }
            if !waiting.items.is_empty() {
                match count {
                    0 => self.waiting.push_front(waiting),
                    _ => rest.push_back(waiting),
                }
                break;
            }
        }
        self.waiting.append(&mut rest);
        batch
    }
}

impl<W: Work> Answer<W> {
    fn locked(&self) -> MutexGuard<'_, Outputs<W>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody waits for it: it has failed, or whoever asked is gone.
    fn is_given_up(&self) -> bool {
        self.locked().sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Takes outputs from this place on; the last one, or the first error, is the answer.
    fn put(&self, place: usize, outputs: impl Iterator<Item = Result<W::Output, Fault>>) {
        let mut parts = self.locked();
        for (at, output) in (place..).zip(outputs) {
            match output {
                Ok(output) => parts.outputs[at] = Some(output),
                Err(fault) => {
                    if let Some(sender) = parts.sender.take() {
                        // Whoever asked may be gone.
                        let _ = sender.send(Err(fault));
                    }
                }
            }
            parts.missing -= 1;
        }
        if parts.missing == 0
            && let Some(sender) = parts.sender.take()
        {
            let outputs = std::mem::take(&mut parts.outputs).into_iter().flatten().collect();
            let _ = sender.send(Ok(outputs));
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
