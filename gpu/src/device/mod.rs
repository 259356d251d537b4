//! A device, opened.

pub(crate) mod backend;
pub(crate) mod buffer;
mod cuda;
#[cfg(feature = "emulate")]
mod emulated;
pub(crate) mod launch;
pub(crate) mod memory;
pub(crate) mod product;

pub use cuda::Kernels;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::Backend;
use crate::buffer::{Buffer, Pool, allocate};
use crate::element::Element;
use crate::error::Result;
use crate::memory::Memory;

/// A device that is open: its memory, kernels and products. Clones are the same device, and any thread may use it; what
/// is asked for is done in the order of the calls.
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Box<dyn Backend>,
    pool: Pool,
    launches: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for (address, bytes) in self.pool.drain() {
            self.backend.free(address, bytes);
        }
    }
}

impl Gpu {
    /// Opens the NVIDIA GPU of this number.
    ///
    /// # Errors
    ///
    /// [`Error::NotUsable`](crate::Error::NotUsable) says what is missing: the driver, a GPU of this number, cuBLASLt,
    /// a driver new enough for the kernels.
    pub fn open(number: usize) -> Result<Gpu> {
        Gpu::open_with(number, Kernels::Fitting)
    }

    /// The same with these kernels.
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`].
    pub fn open_with(number: usize, kernels: Kernels) -> Result<Gpu> {
        Ok(Gpu::over(Box::new(cuda::Cuda::open(number, kernels)?)))
    }

    /// Opens all NVIDIA GPUs: at least one.
    ///
    /// # Errors
    ///
    /// As [`Gpu::open`]; one that cannot be used is enough.
    pub fn open_all() -> Result<Vec<Gpu>> {
        (0..cuda::count()?).map(Gpu::open).collect()
    }

    /// A CPU that runs the kernels' own source, slowly, for tests.
    #[cfg(feature = "emulate")]
    pub fn emulated() -> Gpu {
        Gpu::over(Box::new(emulated::Emulated::default()))
    }

    /// The same with so many bytes of memory.
    #[cfg(feature = "emulate")]
    pub fn emulated_with(bytes: usize) -> Gpu {
        Gpu::over(Box::new(emulated::Emulated::with_memory(bytes)))
    }

    fn over(backend: Box<dyn Backend>) -> Gpu {
        Gpu { inner: Arc::new(Inner { backend, pool: Pool::default(), launches: AtomicU64::new(0) }) }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.inner.backend
    }

    pub(crate) fn count(&self) {
        self.inner.launches.fetch_add(1, Ordering::Relaxed);
    }

    /// Kernels and products that were asked for so far.
    pub fn launches(&self) -> u64 {
        self.inner.launches.load(Ordering::Relaxed)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.backend().name()
    }

    /// How much memory is free for the driver to give. What the pool keeps is not counted as free.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn memory(&self) -> Result<Memory> {
        self.backend().memory()
    }

    /// Memory for `len` elements, whatever is in it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory)
    pub fn buffer<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        allocate(self, len)
    }

    /// Zeros.
    ///
    /// # Errors
    ///
    /// As [`Gpu::buffer`].
    pub fn zeros<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        let mut buffer = self.buffer(len)?;
        buffer.zero()?;
        Ok(buffer)
    }

    /// A copy of these values.
    ///
    /// # Errors
    ///
    /// As [`Gpu::buffer`].
    pub fn upload<T: Element>(&self, values: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.buffer(values.len())?;
        buffer.write_at(0, values)?;
        Ok(buffer)
    }

    /// Gives what the pool keeps back to the driver.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub fn release(&self) -> Result<()> {
        self.backend().synchronize()?;
        for (address, bytes) in self.pool().drain() {
            self.backend().free(address, bytes);
        }
        Ok(())
    }

    /// Waits until all is done.
    ///
    /// # Errors
    ///
    /// Something that was asked for before failed.
    pub fn synchronize(&self) -> Result<()> {
        self.backend().synchronize()
    }

    /// Milliseconds of the device for what `work` asks it for.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn time(&self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        self.backend().time(&mut work)
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({})", self.name())
    }
}
