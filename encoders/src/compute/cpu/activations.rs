//! Arrays of activations, whose memory is used again.

use std::sync::{Arc, Mutex, PoisonError};

/// Arrays that are free for reuse.
///
/// A pool of arrays of any sizes. Used and free arrays together have at most [`WASTE`] times as many numbers as were
/// in use at one time. A free array is reused if it is not much too large; if none fits, free arrays are dropped and
/// a new one is made.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<f32>>>);

/// How many times larger than asked for an array may be. Batches differ in their number of tokens. A smaller factor
/// would allocate more often, and the system has to clear new memory.
const WASTE: f64 = 1.5;

impl Pool {
    /// An array of this length, whatever is in it: the smallest that is free and large enough.
    pub(super) fn take(&self, len: usize) -> Vec<f32> {
        // Whoever panicked while holding the lock left a list of arrays all the same.
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let serves = |capacity: usize| capacity >= len && capacity as f64 <= WASTE * len as f64;
        let serving = free.iter().enumerate().filter(|(_, array)| serves(array.capacity()));
        let best = serving.min_by_key(|(_, array)| array.capacity()).map(|(index, _)| index);
        let mut array = match best {
            Some(index) => free.swap_remove(index),
            None => {
                let mut dropped = 0;
                while dropped < len
                    && let Some((index, largest)) =
                        free.iter().enumerate().max_by_key(|(_, array)| array.capacity())
                {
                    dropped += largest.capacity();
                    free.swap_remove(index);
                }
                Vec::with_capacity(len)
            }
        };
        drop(free);
        array.resize(len, 0.0);
        array
    }

    /// How many numbers the free arrays have room for.
    pub(super) fn free(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Vec::capacity).sum()
    }

    pub(super) fn give_back(&self, array: Vec<f32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(array);
    }
}

/// A (T, columns) array, row-major. Its memory goes back to the operations that made it.
pub struct Activations {
    pub(super) values: Vec<f32>,
    pub(super) columns: usize,
    pool: Arc<Pool>,
}

impl Activations {
    /// An array to be written: what an earlier use left in it is not cleared.
    pub(super) fn new(pool: &Arc<Pool>, num_rows: usize, columns: usize) -> Activations {
        Activations { values: pool.take(num_rows * columns), columns, pool: Arc::clone(pool) }
    }

    /// The elements, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values, to be changed.
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn num_rows(&self) -> usize {
        self.values.len() / self.columns
    }
}

impl Drop for Activations {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        self.pool.give_back(values);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is taken and given back, in whatever order: all arrays together stay within the bound.
        #[test]
        fn memory_is_bounded_by_what_was_in_use(turns in prop::collection::vec((1..5000usize, any::<bool>(), any::<usize>()), 1..200)) {
            let pool = Pool::default();
            let mut used: Vec<Vec<f32>> = Vec::new();
            let mut most = 0;
            for (len, takes, which) in turns {
                if takes || used.is_empty() {
                    let array = pool.take(len);
                    prop_assert_eq!(array.len(), len);
                    used.push(array);
                } else {
                    pool.give_back(used.swap_remove(which % used.len()));
                }
                most = most.max(used.iter().map(Vec::len).sum::<usize>());
                let free = pool.0.lock().unwrap();
                let all: usize = used.iter().chain(free.iter()).map(Vec::capacity).sum();
                prop_assert!(all as f64 <= WASTE * most as f64, "{} of {}", all, most);
            }
        }
    }
}
