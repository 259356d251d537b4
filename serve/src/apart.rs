//! What takes long, on threads that may wait: those that read and write sockets are two.

use tokio::task::JoinHandle;

use crate::fault::Fault;

/// Calls this on a thread that may wait. If whoever asked goes away before it has begun, it is not called.
pub async fn apart<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let mut call = Called(tokio::task::spawn_blocking(call));
    (&mut call.0).await.map_err(|_| Fault::internal("the server failed at this; its log says more"))
}

struct Called<T>(JoinHandle<T>);

impl<T> Drop for Called<T> {
    fn drop(&mut self) {
        // What has begun goes on to its end.
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_nobody_waits_for_is_not_begun() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let call = |milliseconds| {
            let calls = Arc::clone(&calls);
            apart(move || {
                std::thread::sleep(Duration::from_millis(milliseconds));
                calls.fetch_add(1, Ordering::Relaxed)
            })
        };
        runtime.block_on(async {
            let brief = Duration::from_millis(20);
            // The first one has begun when it is given up, the second one waits for its thread.
            assert!(tokio::time::timeout(brief, call(200)).await.is_err());
            assert!(tokio::time::timeout(brief, call(0)).await.is_err());
            assert_eq!(call(0).await.unwrap(), 1);
            assert!(apart::<()>(|| panic!("this test panics here")).await.is_err());
        });
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
