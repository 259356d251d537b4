//! Threads that wait for servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::shards::shard::FanOut;

/// Threads that wait at a time, of one question to all shards.
const MOST: usize = 256;

/// Asks shards that are elsewhere on threads of its own, so that the slowest answer is all that is waited for.
pub struct Threads;

impl FanOut for Threads {
    fn each(&self, count: usize, ask: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                ask(number);
            }
        };
        thread::scope(|scope| {
            for _ in 1..count.min(MOST) {
                // Without another thread those that are there do all of it.
                if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
    }
}
