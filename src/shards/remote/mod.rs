//! Sets whose shards are elsewhere: servers that a file names, or whatever else carries questions to them.
//!
//! [`RemoteSet::open`] reads such a file. `secateur serve` answers there, and so does a [`ServedShard`] in any process.
//! What is asked here asks all of them at once, on threads that wait: [`Threads`].

mod answer;
mod carrier;
mod client;
mod fault;
mod set;
mod shard;
mod threads;
mod topology;
mod wire;

pub use answer::{ServedShard, answer};
pub use carrier::Carrier;
pub use client::{Client, Replicas};
pub use fault::Fault;
pub use set::{Origin, RemoteSet, moved_again};
pub use shard::RemoteShard;
pub use threads::Threads;
pub use topology::Topology;
pub use wire::snapshot_of;
