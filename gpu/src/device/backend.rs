//! What a device must be able to do.
//!
//! Everything is done in one order, that of the calls: one stream. So memory that is given back may be used by what is
//! asked for next, though the device is still reading it.

use crate::error::Result;
use crate::launch::Launch;
use crate::memory::{Address, Memory};
use crate::product::Product;

/// A device. Addresses are its own; whoever calls sees to it that they are of memory that it allocated and that is
/// large enough.
pub(crate) trait Backend: Send + Sync {
    /// What it is called.
    fn name(&self) -> String;

    /// How much memory there is.
    fn memory(&self) -> Result<Memory>;

    /// Memory that begins at a multiple of 256. What is in it is not defined.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Gives memory back.
    fn free(&self, address: Address, bytes: usize);

    /// Copies to the device. The bytes may be changed as soon as this returns.
    fn upload(&self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Copies from the device, when all that was asked for before is done.
    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Copies within the device.
    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()>;

    /// Writes zeros.
    fn zero(&self, at: Address, bytes: usize) -> Result<()>;

    /// Runs a kernel.
    fn launch(&self, launch: &Launch) -> Result<()>;

    /// Multiplies matrices.
    fn multiply(&self, product: &Product) -> Result<()>;

    /// Waits until all is done.
    fn synchronize(&self) -> Result<()>;

    /// Milliseconds that the device takes for what `work` asks it for.
    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64>;
}
