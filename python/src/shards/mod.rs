//! Sets of shards.

pub mod plan;
pub mod set;
