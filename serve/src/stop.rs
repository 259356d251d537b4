//! How a server is told to end.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells a server to end: it takes no more connections, answers what it has begun, and [`run`](crate::run) returns.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Stop {
    /// For a server that is to start.
    pub fn new() -> Stop {
        Stop(Arc::new(watch::Sender::new(false)))
    }

    /// Ends the server.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is to end.
    pub(crate) async fn stopped(&self) {
        let mut receiver = self.0.subscribe();
        // The sender is this value's own, so it is there.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

impl Default for Stop {
    fn default() -> Stop {
        Stop::new()
    }
}
