//! Backends between two uses. Their working memory is there: what a query needs is not asked of the system again.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Cpu;
use crate::compute::precision::Precision;

/// The most numbers that the arrays of a backend may have if it is kept: 16 MiB. The activations of a query take less;
/// those of a long text go back to the system.
const MOST: usize = 4 << 20;

/// The backends of a model that nobody computes with: at most as many as there were calls at one time.
pub(crate) struct Idle {
    backends: Mutex<Vec<Cpu>>,
    precision: Precision,
}

/// A backend in use. It is kept for the next use when it is dropped.
pub(crate) struct Lent<'a> {
    idle: &'a Idle,
    /// There until it is dropped.
    backend: Option<Cpu>,
}

impl Idle {
    /// None yet, of a model that was loaded to be computed like this.
    pub(crate) fn of(precision: Precision) -> Idle {
        Idle { backends: Mutex::default(), precision }
    }

    /// A backend whose operations are each spread over the current rayon pool if `parallel`. The results are the same,
    /// bit for bit.
    pub(crate) fn take(&self, parallel: bool) -> Lent<'_> {
        let kept = self.lock().pop();
        let backend = kept.unwrap_or_else(|| Cpu::serial().with_precision(self.precision));
        Lent { idle: self, backend: Some(Cpu { parallel, ..backend }) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Cpu>> {
        // Nobody panics while it is held.
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Lent<'_> {
    type Target = Cpu;

    fn deref(&self) -> &Cpu {
        self.backend.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.idle.lock().extend(self.backend.take().filter(|backend| backend.pool.free() <= MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Backend;

    #[test]
    fn memory_is_used_again_unless_it_is_much() {
        let idle = Idle::of(Precision::F32);
        let address = |length: usize| {
            let backend = idle.take(false);
            let array = backend.upload(&vec![1.0; length], 1).unwrap();
            let address = array.values().as_ptr();
            drop(array);
            address
        };
        let first = address(1000);
        assert_eq!(idle.lock().len(), 1);
        assert_eq!(address(900), first, "the array is used again");
        address(MOST + 1);
        assert!(idle.lock().is_empty(), "a backend with much memory is dropped");
        assert!(idle.take(true).parallel && !idle.take(false).parallel);
    }
}
