//! What a server takes on at most.

use std::time::Duration;

/// What a server takes on at most. Beyond it a request is refused at once, so that those before it are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of all bodies, and of large answers, that are held at a time. At least `body_bytes`.
    pub held_bytes: usize,
    /// Texts, pairs or documents of a request.
    pub items: usize,
    /// Texts, pairs or searches that wait to be computed, in each queue. At least `items`.
    pub queue: usize,
    /// Tokens that are computed together.
    pub batch_tokens: usize,
    /// Hits of a search.
    pub hits: usize,
    /// How long a body may take to arrive, and how long an answer to be computed.
    pub timeout: Duration,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub idle: Duration,
    /// Open connections.
    pub connections: usize,
    /// How long requests that are going on are waited for at the end.
    pub grace: Duration,
    /// How old a state of the database may grow before a new one is looked for.
    pub refresh: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 16 << 20,
            held_bytes: 256 << 20,
            items: 2_048,
            queue: 8_192,
            batch_tokens: 16_384,
            hits: 1_000,
            timeout: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            connections: 512,
            grace: Duration::from_secs(30),
            refresh: Duration::from_secs(1),
        }
    }
}
