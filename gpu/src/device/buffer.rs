//! Memory of a device, which is kept for the next who wants as much.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use crate::device::Gpu;
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::{Error, Result};
use crate::memory::Address;

/// `len` elements in the memory of a device. Goes back to the pool when it is dropped.
pub struct Buffer<T: Element> {
    gpu: Gpu,
    address: Address,
    len: usize,
    /// As the pool rounded it.
    bytes: usize,
    kind: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Copies values to the place that begins at element `first`.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn write_at(&mut self, first: usize, values: &[T]) -> Result<()> {
        assert!(first + values.len() <= self.len, "{} values at {first} of {}", values.len(), self.len);
        if values.is_empty() {
            return Ok(());
        }
        self.gpu.backend().upload(self.address + (first * size_of::<T>()) as u64, bytes_of(values))
    }

    /// Copies values, given as their little-endian bytes, to the place that begins at element `first`.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn write_bytes_at(&mut self, first: usize, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() / size_of::<T>();
        assert!(first + count <= self.len, "{count} values at {first} of {}", self.len);
        assert!(bytes.len().is_multiple_of(size_of::<T>()), "whole values are written");
        if count == 0 {
            return Ok(());
        }
        self.gpu.backend().upload(self.address + (first * size_of::<T>()) as u64, bytes)
    }

    /// Copies all elements back, after what was asked for before is done.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.read_at(0, self.len)
    }

    /// Copies `count` elements back, from element `first` on.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn read_at(&self, first: usize, count: usize) -> Result<Vec<T>> {
        assert!(first + count <= self.len, "{count} values at {first} of {}", self.len);
        let mut values = vec![T::default(); count];
        if count > 0 {
            let from = self.address + (first * size_of::<T>()) as u64;
            self.gpu.backend().download(from, bytes_of_mut(&mut values))?;
        }
        Ok(values)
    }

    /// Copies elements within the device.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn copy_from(&mut self, first: usize, other: &Buffer<T>, from: usize, count: usize) -> Result<()> {
        assert!(first + count <= self.len && from + count <= other.len, "both buffers have what is copied");
        if count == 0 {
            return Ok(());
        }
        let at = |address: Address, place: usize| address + (place * size_of::<T>()) as u64;
        self.gpu.backend().copy(at(other.address, from), at(self.address, first), count * size_of::<T>())
    }

    /// Writes zeros.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn zero(&mut self) -> Result<()> {
        if self.len == 0 { Ok(()) } else { self.gpu.backend().zero(self.address, self.len * size_of::<T>()) }
    }
}

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.len, std::any::type_name::<T>())
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.gpu.pool().give_back(self.address, self.bytes);
    }
}

/// Free memory by size. In steady work nothing is asked of the driver. Sizes are rounded up by at most an eighth, so
/// batches of about one size use the same pieces.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<usize, Vec<Address>>>,
}

impl Pool {
    fn give_back(&self, address: Address, bytes: usize) {
        self.free.lock().expect("no panic while the pool is held").entry(bytes).or_default().push(address);
    }

    fn take(&self, bytes: usize) -> Option<Address> {
        self.free.lock().expect("no panic while the pool is held").get_mut(&bytes)?.pop()
    }

    /// All that is free, which is the caller's from now on.
    pub(crate) fn drain(&self) -> Vec<(Address, usize)> {
        let mut free = self.free.lock().expect("no panic while the pool is held");
        let pieces =
            free.drain().flat_map(|(bytes, addresses)| addresses.into_iter().map(move |a| (a, bytes)));
        pieces.collect()
    }
}

/// The next multiple of 256 of which an eighth of the highest bit is a divisor.
pub(crate) fn rounded(bytes: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 16).max(256);
    bytes.max(1).next_multiple_of(step)
}

/// A buffer of `len` elements, whatever is in them.
pub(crate) fn allocate<T: Element>(gpu: &Gpu, len: usize) -> Result<Buffer<T>> {
    let bytes = rounded(len * size_of::<T>());
    let buffer = |address| Buffer { gpu: gpu.clone(), address, len, bytes, kind: PhantomData };
    if let Some(address) = gpu.pool().take(bytes) {
        return Ok(buffer(address));
    }
    match gpu.backend().allocate(bytes) {
        Err(Error::OutOfMemory { .. }) => {
            gpu.release()?;
            gpu.backend().allocate(bytes).map(buffer)
        }
        result => result.map(buffer),
    }
}
