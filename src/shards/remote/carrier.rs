//! How questions come to a shard that is elsewhere.

use crate::error::Result;

/// What carries questions to a shard that is elsewhere, and its answers back. Both are JSON, as `secateur serve` reads
/// and writes it.
pub trait Carrier: Send + Sync {
    /// Where the shard is, for messages.
    fn place(&self) -> String;

    /// Asks, and gives what `read` makes of the first answer that it can read. `route` is the server's, such as
    /// `/shard/search`. An answer that is to be `quick` may be asked for twice.
    ///
    /// # Errors
    ///
    /// [`ShardError::NoAnswer`](crate::shards::ShardError::NoAnswer), or
    /// [`ShardError::Moved`](crate::shards::ShardError::Moved) if the shard is in another state than the question is
    /// about.
    fn ask<T: Send + 'static>(
        &self,
        route: &'static str,
        quick: bool,
        body: Vec<u8>,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<T>;
}
