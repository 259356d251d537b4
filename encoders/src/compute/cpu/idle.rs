//! Backends between two uses. Their working memory is there: what a query needs is not asked of the system again.

use std::sync::{Mutex, PoisonError};

use super::Cpu;

/// The most numbers that the arrays of a backend may have if it is kept: 16 MiB. The activations of a query take less;
/// those of a long text go back to the system.
const MOST: usize = 4 << 20;

/// The backends of a model that nobody computes with: at most as many as there were calls at one time.
#[derive(Default)]
pub(crate) struct Idle(Mutex<Vec<Cpu>>);

impl Idle {
    /// A backend whose operations are each spread over the current rayon pool if `parallel`. The results are the same,
    /// bit for bit.
    pub(crate) fn take(&self, parallel: bool) -> Cpu {
        // Nobody panics while it is held.
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Cpu { parallel, ..kept.unwrap_or_else(Cpu::serial) }
    }

    /// Keeps a backend for the next call.
    pub(crate) fn give_back(&self, backend: Cpu) {
        if backend.pool.free() <= MOST {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(backend);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Backend;

    #[test]
    fn memory_is_used_again_unless_it_is_much() {
        let idle = Idle::default();
        let address = |length: usize| {
            let backend = idle.take(false);
            let array = backend.upload(&vec![1.0; length], 1).unwrap();
            let address = array.values().as_ptr();
            drop(array);
            idle.give_back(backend);
            address
        };
        let first = address(1000);
        assert_eq!(idle.0.lock().unwrap().len(), 1);
        assert_eq!(address(900), first, "the array is used again");
        address(MOST + 1);
        assert!(idle.0.lock().unwrap().is_empty(), "a backend with much memory is dropped");
        assert!(idle.take(true).parallel && !idle.take(false).parallel);
    }
}
