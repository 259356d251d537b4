//! A kernel and what it is given.

use crate::buffer::Buffer;
use crate::device::Gpu;
use crate::element::Element;
use crate::error::Result;
use crate::memory::Address;

/// The most bytes that one argument may have.
const MOST: usize = 64;

/// An argument of a kernel, by value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    /// Aligned as the kernel wants it.
    pub(crate) bytes: [u64; MOST / 8],
}

/// A kernel by its name, how many blocks of how many threads run it, and its arguments.
///
/// The arguments must be those of the kernel, in their order and of their types. Buffers must be as large as it takes
/// them to be. The functions of this crate's modules see to that. A kernel that goes beyond its buffers ends in an
/// error of the device, which cannot reach the program's own memory.
///
/// ```text
/// Launch::new("gate", [blocks, rows, 1], 256).buffer(&x).maybe(bias).buffer(&out).value(width).run(&gpu)
/// ```
#[derive(Debug)]
pub struct Launch {
    pub(crate) kernel: &'static str,
    pub(crate) grid: [u32; 3],
    pub(crate) threads: u32,
    /// Bytes of shared memory beside what the kernel declares.
    pub(crate) shared: usize,
    pub(crate) arguments: Vec<Value>,
}

impl Launch {
    /// A launch of so many blocks.
    pub fn new(kernel: &'static str, grid: [usize; 3], threads: u32) -> Launch {
        let grid = grid.map(|size| u32::try_from(size).expect("a grid fits 32 bits"));
        Launch { kernel, grid, threads, shared: 0, arguments: Vec::with_capacity(12) }
    }

    /// With shared memory.
    #[must_use]
    pub fn shared(mut self, bytes: usize) -> Launch {
        self.shared = bytes;
        self
    }

    /// A buffer, as a pointer to its first element.
    #[must_use]
    pub fn buffer<T: Element>(self, buffer: &Buffer<T>) -> Launch {
        self.address(buffer.address())
    }

    /// A buffer, or a null pointer.
    #[must_use]
    pub fn maybe<T: Element>(self, buffer: Option<&Buffer<T>>) -> Launch {
        self.address(buffer.map_or(0, Buffer::address))
    }

    /// The part of a buffer that begins at this element.
    #[must_use]
    pub fn buffer_at<T: Element>(self, buffer: &Buffer<T>, first: usize) -> Launch {
        assert!(first <= buffer.len(), "an offset is in its buffer");
        self.address(buffer.address() + (first * size_of::<T>()) as u64)
    }

    /// A number or a structure of numbers, as `repr(C)` lays it out.
    #[must_use]
    pub fn value<T: Argument>(mut self, value: T) -> Launch {
        let mut bytes = [0; MOST / 8];
        value.write(&mut bytes);
        self.arguments.push(Value { bytes });
        self
    }

    fn address(mut self, address: Address) -> Launch {
        let mut bytes = [0; MOST / 8];
        bytes[0] = address;
        self.arguments.push(Value { bytes });
        self
    }

    /// Asks the device for it. Nothing is done where there are no blocks.
    ///
    /// # Errors
    ///
    /// There is no such kernel, or the device fails.
    pub fn run(self, gpu: &Gpu) -> Result<()> {
        if self.grid.contains(&0) {
            return Ok(());
        }
        gpu.count();
        gpu.backend().launch(&self)
    }
}

/// What a kernel takes by value.
pub trait Argument {
    /// Writes its bytes, from the first on.
    fn write(&self, to: &mut [u64; MOST / 8]);
}

impl Argument for i32 {
    fn write(&self, to: &mut [u64; MOST / 8]) {
        to[0] = u64::from(self.cast_unsigned());
    }
}

impl Argument for u32 {
    fn write(&self, to: &mut [u64; MOST / 8]) {
        to[0] = u64::from(*self);
    }
}

impl Argument for f32 {
    fn write(&self, to: &mut [u64; MOST / 8]) {
        to[0] = u64::from(self.to_bits());
    }
}

impl Argument for usize {
    fn write(&self, to: &mut [u64; MOST / 8]) {
        to[0] = *self as u64;
    }
}

/// A structure of 32-bit numbers: the bits of each, in order.
impl<const N: usize> Argument for [u32; N] {
    fn write(&self, to: &mut [u64; MOST / 8]) {
        assert!(N * 4 <= MOST, "an argument has at most {MOST} bytes");
        for (place, word) in self.iter().enumerate() {
            to[place / 2] |= u64::from(*word) << (place % 2 * 32);
        }
    }
}

/// A whole number as a kernel's `int`.
///
/// # Panics
///
/// It does not fit.
pub(crate) fn int(number: usize) -> i32 {
    i32::try_from(number).expect("sizes fit 32 bits")
}
