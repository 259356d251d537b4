//! Sets of shards on other machines: a file names the servers, `secateur serve` answers there, and what is asked here
//! asks all of them.

mod client;
mod fault;
mod set;
mod shard;
#[cfg(test)]
mod tests;
mod threads;
mod topology;

pub use set::RemoteSet;
pub use topology::Topology;
