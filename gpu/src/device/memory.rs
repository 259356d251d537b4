//! Where memory is, and how much.

/// A place in the device's memory.
pub(crate) type Address = u64;

/// How much memory a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are free.
    pub free: usize,
    /// All bytes.
    pub total: usize,
}
