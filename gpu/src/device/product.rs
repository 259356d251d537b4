//! Products of matrices.

use crate::buffer::Buffer;
use crate::device::Gpu;
use crate::element::Element;
use crate::error::Result;
use crate::memory::Address;
use half::bf16;

/// The type of a matrix's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// bf16; summed in f32.
    Bf16,
    /// f32
    F32,
    /// i8; summed in i32.
    I8,
    /// i32
    I32,
}

impl Kind {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Kind::I8 => 1,
            Kind::Bf16 => 2,
            Kind::F32 | Kind::I32 => 4,
        }
    }
}

/// An element of a matrix that can be multiplied.
pub trait Factor: Element {
    /// Its type.
    const KIND: Kind;
}

impl Factor for bf16 {
    const KIND: Kind = Kind::Bf16;
}

impl Factor for f32 {
    const KIND: Kind = Kind::F32;
}

impl Factor for i8 {
    const KIND: Kind = Kind::I8;
}

impl Factor for i32 {
    const KIND: Kind = Kind::I32;
}

/// A matrix in a buffer, row-major: row r begins at element `first + r * stride`.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub(crate) address: Address,
    pub(crate) kind: Kind,
    /// Elements from one row to the next.
    pub(crate) stride: usize,
    /// Whether its transpose is meant.
    pub(crate) transposed: bool,
    /// Elements from the beginning to the buffer's end.
    len: usize,
}

impl Operand {
    /// The matrix that a buffer holds.
    pub fn new<T: Factor>(buffer: &Buffer<T>, stride: usize) -> Operand {
        Operand::at(buffer, 0, stride)
    }

    /// The matrix that begins at this element.
    pub fn at<T: Factor>(buffer: &Buffer<T>, first: usize, stride: usize) -> Operand {
        assert!(first <= buffer.len(), "an offset is in its buffer");
        let address = buffer.address() + (first * size_of::<T>()) as u64;
        Operand { address, kind: T::KIND, stride, transposed: false, len: buffer.len() - first }
    }

    /// Its transpose.
    #[must_use]
    pub fn transposed(self) -> Operand {
        Operand { transposed: !self.transposed, ..self }
    }

    /// Whether the buffer has all of (rows, columns), transposed if that is meant.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let (rows, columns) = if self.transposed { (columns, rows) } else { (rows, columns) };
        columns <= self.stride && (rows == 0 || (rows - 1) * self.stride + columns <= self.len)
    }
}

/// out (rows, columns) = alpha * left (rows, depth) right (depth, columns) + beta * out + bias.
///
/// Products of bf16 give bf16 or f32, those of f32 give f32 and those of i8 give i32. A linear layer y = x W^T has
/// `right: Operand::new(&w, depth).transposed()`. On a GPU strides want to be multiples of 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// (rows, depth)
    pub left: Operand,
    /// (depth, columns)
    pub right: Operand,
    /// (rows, columns)
    pub out: Operand,
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// What is summed over.
    pub depth: usize,
    /// Multiplies the product; 1 for i8.
    pub alpha: f32,
    /// 0, or 1 to add to what is there.
    pub beta: f32,
}

impl Product {
    /// Asks the device for it.
    ///
    /// # Errors
    ///
    /// The device fails.
    ///
    /// # Panics
    ///
    /// A buffer is too small, or the types do not go together.
    pub fn run(self, gpu: &Gpu) -> Result<()> {
        assert!(self.left.holds(self.rows, self.depth), "the left matrix fits its buffer: {self:?}");
        assert!(self.right.holds(self.depth, self.columns), "the right matrix fits its buffer: {self:?}");
        assert!(self.out.holds(self.rows, self.columns), "the result fits its buffer: {self:?}");
        let kinds = (self.left.kind, self.right.kind, self.out.kind);
        let known = matches!(
            kinds,
            (Kind::Bf16, Kind::Bf16, Kind::Bf16 | Kind::F32)
                | (Kind::F32, Kind::F32, Kind::F32)
                | (Kind::I8, Kind::I8, Kind::I32)
        );
        assert!(known && !self.out.transposed, "no product has these types: {self:?}");
        if self.rows == 0 || self.columns == 0 {
            return Ok(());
        }
        gpu.count();
        gpu.backend().multiply(&self)
    }
}
