//! Two of four weights stay: the pattern of sparse models.

/// Weights side by side of which some go.
pub(super) const GROUP: usize = 4;

/// How many weights of a group are kept: 2:4, the pattern of NVIDIA's sparse tensor cores.
pub(super) const KEPT: usize = 2;
