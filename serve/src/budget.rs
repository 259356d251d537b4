//! The bytes of bodies and of large answers that are held at a time, of all requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fault::Fault;
use crate::metrics::Metrics;

/// Bodies and answers of more bytes are large.
pub const LARGE: usize = 64 << 10;

/// How many bytes may be held.
pub struct Budget {
    most: usize,
    /// It counts them.
    metrics: Arc<Metrics>,
}

/// The bytes of one request, for as long as this value or a clone of it lives. What goes on after the request was given
/// up keeps one.
#[derive(Clone)]
pub struct Share(Arc<Bytes>);

struct Bytes {
    budget: Arc<Budget>,
    count: AtomicUsize,
}

impl Budget {
    pub fn new(most: usize, metrics: Arc<Metrics>) -> Arc<Budget> {
        Arc::new(Budget { most, metrics })
    }

    /// A share of no bytes so far.
    pub fn share(self: &Arc<Budget>) -> Share {
        Share(Arc::new(Bytes { budget: Arc::clone(self), count: AtomicUsize::new(0) }))
    }

    /// Whether there is room for so many bytes now.
    pub fn check(&self, bytes: usize) -> Result<(), Fault> {
        let held = self.metrics.held_bytes.load(Ordering::Relaxed);
        match held.saturating_add(bytes) <= self.most_with(bytes) {
            true => Ok(()),
            false => Err(self.full(bytes, held)),
        }
    }

    /// What may be held with a share of so many bytes. A sixteenth more is there for small ones alone, so that large
    /// requests do not keep out all others.
    fn most_with(&self, share: usize) -> usize {
        self.most + if share <= LARGE { self.most / 16 } else { 0 }
    }

    fn full(&self, bytes: usize, held: usize) -> Fault {
        self.metrics.refused_bytes.fetch_add(1, Ordering::Relaxed);
        Fault::overloaded(format!(
            "bodies and answers of all requests may take {} bytes, they take {held}, and this one needs {bytes} more: try again later",
            self.most
        ))
    }
}

impl Share {
    /// Takes bytes, so that it has at least so many. Without room for them it has what it had.
    pub fn grow(&self, to: usize) -> Result<(), Fault> {
        let Bytes { budget, count } = &*self.0;
        let more = to.saturating_sub(count.load(Ordering::Relaxed));
        let held = &budget.metrics.held_bytes;
        let add = |held: usize| held.checked_add(more).filter(|sum| *sum <= budget.most_with(to));
        match held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => {
                count.fetch_add(more, Ordering::Relaxed);
                Ok(())
            }
            Err(held) => Err(budget.full(more, held)),
        }
    }

    /// Gives all of it back.
    pub fn release(&self) {
        let Bytes { budget, count } = &*self.0;
        budget.metrics.held_bytes.fetch_sub(count.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.budget.metrics.held_bytes.fetch_sub(*self.count.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_taken_and_come_back() {
        let metrics = Arc::new(Metrics::new());
        let held = || metrics.held_bytes.load(Ordering::Relaxed);
        // And a sixteenth, since these are small: 100.
        let budget = Budget::new(95, Arc::clone(&metrics));
        let (one, other) = (budget.share(), budget.share());
        one.grow(60).unwrap();
        // It has them already.
        one.grow(50).unwrap();
        assert_eq!(held(), 60);
        let full = other.grow(41).unwrap_err();
        assert!(full.message().contains("may take 95 bytes, they take 60"), "{}", full.message());
        assert!(budget.check(40).is_ok() && budget.check(41).is_err() && budget.check(usize::MAX).is_err());
        assert_eq!(metrics.refused_bytes.load(Ordering::Relaxed), 3);
        other.grow(40).unwrap();
        let kept = one.clone();
        drop(one);
        assert_eq!(held(), 100);
        kept.release();
        kept.grow(10).unwrap();
        drop(kept);
        assert_eq!(held(), 40);
        drop(other);
        assert_eq!(held(), 0);
    }
    #[test]
    fn large_shares_leave_room_for_small_ones() {
        let budget = Budget::new(4 * LARGE, Arc::new(Metrics::new()));
        let (large, small) = (budget.share(), budget.share());
        large.grow(4 * LARGE + 1).unwrap_err();
        large.grow(4 * LARGE).unwrap();
        budget.share().grow(LARGE + 1).unwrap_err();
        assert!(budget.check(LARGE / 4).is_ok());
        small.grow(LARGE / 4).unwrap();
        assert!(budget.share().grow(1).is_err() && budget.check(1).is_err());
    }
}
