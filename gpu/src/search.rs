//! Exact search: rows that 8-bit codes cannot rule out.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::device::Gpu;
use crate::error::Result;
use crate::launch::{Launch, int};
use crate::product::{Operand, Product};

/// Rows and queries are padded to a multiple of this many, which integer products want.
const PADDED: usize = 16;

/// Rows of 8-bit codes on a device.
#[derive(Debug)]
pub struct CodeRows {
    /// (rows, padded; width)
    codes: Buffer<i8>,
    /// The scale and the error of each.
    metas: Buffer<[f32; 2]>,
    width: usize,
}

impl CodeRows {
    /// Copies rows to a device: codes (N, width) and the scale and error of each row.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory)
    ///
    /// # Panics
    ///
    /// There are not as many codes as rows, or the width is no multiple of 16.
    pub fn upload(gpu: &Gpu, codes: &[i8], metas: &[[f32; 2]], width: usize) -> Result<CodeRows> {
        assert!(width.is_multiple_of(PADDED) && codes.len() == metas.len() * width, "codes of each row");
        let mut buffer = gpu.buffer(metas.len().next_multiple_of(PADDED) * width)?;
        buffer.write_at(0, codes)?;
        buffer.write_at(codes.len(), &vec![0; buffer.len() - codes.len()])?;
        Ok(CodeRows { codes: buffer, metas: gpu.upload(metas)?, width })
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }
}

/// The codes of queries on a device.
#[derive(Debug)]
pub struct Queries {
    /// (2 P, width) of P queries, padded: what 256 is multiplied by, and below what is added.
    codes: Buffer<i8>,
    count: usize,
    width: usize,
}

impl Queries {
    /// Copies codes (Q, width) to a device.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory)
    ///
    /// # Panics
    ///
    /// A code is beyond 32,639.
    pub fn upload(gpu: &Gpu, codes: &[i16], width: usize) -> Result<Queries> {
        let count = codes.len() / width;
        let mut halves = vec![0; 2 * padded(count) * width];
        let (high, low) = halves.split_at_mut(padded(count) * width);
        for ((high, low), code) in high.iter_mut().zip(low).zip(codes) {
            *low = *code as i8;
            *high = i8::try_from((i32::from(*code) - i32::from(*low)) >> 8).expect("two bytes hold a code");
        }
        Ok(Queries { codes: gpu.upload(&halves)?, count, width })
    }
}

/// P of so many queries.
fn padded(queries: usize) -> usize {
    queries.next_multiple_of(PADDED / 2)
}

/// Bytes that [`promising`] takes for each row, for products with so many queries.
pub fn bytes_of_row(queries: usize) -> usize {
    2 * padded(queries) * size_of::<i32>()
}

/// What a query is, beside its code. The score of a row is about code · the row's code * `scale` * the row's scale +
/// `term`, and at most that + `reach` * the row's error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Multiplies the product.
    pub scale: f32,
    /// Is added to it.
    pub term: f32,
    /// Multiplies the row's error.
    pub reach: f32,
    /// A row whose score is at most less than this is not promising.
    pub limit: f32,
}

/// A row that may be among the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promising {
    /// The number of the query.
    pub query: u32,
    /// The number of the row, from `first` on.
    pub row: u32,
    /// About its score.
    pub score: f32,
    /// The row's error.
    pub error: f32,
}

/// The rows of a range whose scores may reach the limits of queries. `among` has a bit for each row, that of row r of
/// the range at number `first + r`; rows without it are left out. Gives how many rows each query found promising, and
/// these rows in no order. Of a query that found more than `most` only some are given.
///
/// # Errors
///
/// The device fails, or has no memory for the products.
///
/// # Panics
///
/// The range begins at no multiple of 16 or goes beyond the rows. Widths differ, `among` is short, or there are not as
/// many bounds as queries.
pub fn promising(
    rows: &CodeRows,
    range: Range<usize>,
    first: u32,
    (queries, bounds): (&Queries, &[Bounds]),
    among: &Buffer<u32>,
    most: usize,
) -> Result<(Vec<u32>, Vec<Promising>)> {
    let (gpu, width, count) = (rows.codes.gpu(), rows.width, range.len());
    assert!(range.start.is_multiple_of(PADDED) && range.end <= rows.len(), "a range of the rows");
    assert!(queries.width == width && queries.count == bounds.len(), "queries are as wide as rows");
    assert!(among.len() * 32 >= first as usize + count, "a bit for each row");
    let (columns, num_padded) = (count.next_multiple_of(PADDED), padded(queries.count));
    let products = gpu.buffer::<i32>(2 * num_padded * columns)?;
    Product {
        left: Operand::new(&queries.codes, width),
        right: Operand::at(&rows.codes, range.start * width, width).transposed(),
        out: Operand::new(&products, columns),
        rows: 2 * num_padded,
        columns,
        depth: width,
        alpha: 1.0,
        beta: 0.0,
    }
    .run(gpu)?;
    let bounds: Vec<[f32; 4]> =
        bounds.iter().map(|bounds| [bounds.scale, bounds.term, bounds.reach, bounds.limit]).collect();
    let counts = gpu.zeros::<u32>(queries.count + 1)?;
    let found = gpu.buffer::<[u32; 4]>(queries.count * most)?;
    Launch::new("promising", [count.div_ceil(256), queries.count, 1], 256)
        .buffer(&products)
        .buffer(&gpu.upload(&bounds)?)
        .buffer_at(&rows.metas, range.start)
        .buffer(among)
        .value(first)
        .value(int(count))
        .value(int(columns))
        .value(int(num_padded))
        .value(u32::try_from(most).expect("fewer than are found in 32 bits"))
        .buffer(&counts)
        .buffer(&found)
        .run(gpu)?;
    let mut counts = counts.to_vec()?;
    let num_found = counts.pop().unwrap_or_default() as usize;
    let row = |[query, row, score, error]: [u32; 4]| Promising {
        query,
        row,
        score: f32::from_bits(score),
        error: f32::from_bits(error),
    };
    Ok((counts, found.read_at(0, num_found)?.into_iter().map(row).collect()))
}
