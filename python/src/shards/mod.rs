//! Sets of shards.

pub mod calls;
pub mod plan;
pub mod set;
