//! Linear layers as they lie in a checkpoint.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::weights::quantized::int8::{self, Int8Rows};
use crate::weights::quantized::nf4::Nf4Matrix;

/// A matrix of a checkpoint, row-major (rows, columns); a linear layer maps x to `x M^T`.
#[derive(Clone, Debug)]
pub struct Matrix<'a> {
    /// The elements.
    pub values: Cow<'a, [f32]>,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

/// The matrix of a linear layer: in f32, bf16, 8 bits or 4.
#[derive(Clone, Debug)]
pub enum Weight<'a> {
    /// f32, one part below the other. All have the same columns; there is at least one.
    Dense(Vec<Matrix<'a>>),
    /// bf16, one part below the other. All have the same columns; there is at least one.
    Half(Vec<HalfRows<'a>>),
    /// Rows in 8 bits, one part below the other. All have the same columns; there is at least one.
    Int8(Vec<Int8Rows<'a>>),
    /// Rows of quantized matrices, one part below the other. All have the same columns; there is at least one.
    Nf4(Vec<Nf4Rows>),
}

/// Rows of bf16 as they lie in a file.
#[derive(Clone, Debug)]
pub struct HalfRows<'a> {
    /// Little-endian, row-major.
    pub bytes: Cow<'a, [u8]>,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub columns: usize,
}

impl HalfRows<'_> {
    /// The numbers.
    pub fn values(&self) -> impl Iterator<Item = half::bf16> + '_ {
        self.bytes.chunks_exact(2).map(|pair| half::bf16::from_le_bytes([pair[0], pair[1]]))
    }
}

/// Some rows of a quantized matrix.
#[derive(Clone, Debug)]
pub struct Nf4Rows {
    /// The matrix.
    pub matrix: Arc<Nf4Matrix>,
    /// The rows.
    pub rows: Range<usize>,
}

/// A linear layer as it lies in a checkpoint.
#[derive(Clone, Debug)]
pub struct LinearWeights<'a> {
    /// (out, in)
    pub weight: Weight<'a>,
    /// (out)
    pub bias: Option<Cow<'a, [f32]>>,
}

impl<'a> From<Matrix<'a>> for Weight<'a> {
    fn from(matrix: Matrix<'a>) -> Weight<'a> {
        Weight::Dense(vec![matrix])
    }
}

impl<'a> Matrix<'a> {
    /// One below the other; all have the same columns. Nothing is copied of a single one.
    pub fn join(mut parts: Vec<Matrix<'a>>) -> Matrix<'a> {
        if parts.len() == 1 {
            return parts.swap_remove(0);
        }
        let (rows, columns) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
        let mut values = Vec::with_capacity(rows * columns);
        parts.iter().for_each(|part| values.extend_from_slice(&part.values));
        Matrix { values: values.into(), rows, columns }
    }
}

impl From<Nf4Matrix> for Weight<'_> {
    fn from(matrix: Nf4Matrix) -> Self {
        let rows = 0..matrix.rows();
        Weight::Nf4(vec![Nf4Rows { matrix: Arc::new(matrix), rows }])
    }
}

impl<'a> Weight<'a> {
    /// Output features.
    pub fn rows(&self) -> usize {
        match self {
            Weight::Dense(parts) => parts.iter().map(|part| part.rows).sum(),
            Weight::Half(parts) => parts.iter().map(|part| part.rows).sum(),
            Weight::Int8(parts) => parts.iter().map(|part| part.rows).sum(),
            Weight::Nf4(parts) => parts.iter().map(|part| part.rows.len()).sum(),
        }
    }

    /// Input features.
    pub fn columns(&self) -> usize {
        match self {
            Weight::Dense(parts) => parts[0].columns,
            Weight::Half(parts) => parts[0].columns,
            Weight::Int8(parts) => parts[0].columns,
            Weight::Nf4(parts) => parts[0].matrix.columns(),
        }
    }

    /// The matrix in f32.
    pub fn dequantize(self) -> Matrix<'a> {
        let (rows, columns) = (self.rows(), self.columns());
        let parts = match self {
            Weight::Dense(parts) => return Matrix::join(parts),
            Weight::Half(parts) => {
                let values: Vec<f32> = parts.iter().flat_map(|part| part.values().map(f32::from)).collect();
                return Matrix { values: values.into(), rows, columns };
            }
            Weight::Int8(parts) => {
                let mut values = Vec::with_capacity(rows * columns);
                parts.iter().for_each(|part| part.dequantize_into(&mut values));
                return Matrix { values: values.into(), rows, columns };
            }
            Weight::Nf4(parts) => parts,
        };
        let mut values = Vec::with_capacity(rows * columns);
        for part in parts {
            let all = part.matrix.dequantize();
            values.extend_from_slice(&all[part.rows.start * columns..part.rows.end * columns]);
        }
        Matrix { values: values.into(), rows, columns }
    }

    /// The first `rows` rows and the others.
    fn split(self, rows: usize) -> [Weight<'a>; 2] {
        match self {
            Weight::Dense(parts) => {
                let Matrix { values, rows: all_rows, columns } = Matrix::join(parts);
                let mut first = values.into_owned();
                let second = first.split_off(rows * columns);
                [(first, rows), (second, all_rows - rows)]
                    .map(|(values, rows)| Matrix { values: values.into(), rows, columns }.into())
            }
            Weight::Half(parts) => {
                let cut = |HalfRows { bytes, rows, columns }: HalfRows<'a>, here| {
                    let [first, second] = int8::split(bytes, 2 * here * columns);
                    [
                        HalfRows { bytes: first, rows: here, columns },
                        HalfRows { bytes: second, rows: rows - here, columns },
                    ]
                };
                split_parts(parts, rows, |part| part.rows, cut).map(Weight::Half)
            }
            Weight::Int8(parts) => {
                split_parts(parts, rows, |part| part.rows, Int8Rows::split).map(Weight::Int8)
            }
            Weight::Nf4(parts) => {
                let cut = |Nf4Rows { matrix, rows }: Nf4Rows, here| {
                    let middle = rows.start + here;
                    let part = |rows| Nf4Rows { matrix: Arc::clone(&matrix), rows };
                    [part(rows.start..middle), part(middle..rows.end)]
                };
                split_parts(parts, rows, |part| part.rows.len(), cut).map(Weight::Nf4)
            }
        }
    }

    /// The matrix in f32, in the parts that it has in f32.
    pub fn into_dense(self) -> Vec<Matrix<'a>> {
        match self {
            Weight::Dense(parts) => parts,
            other => vec![other.dequantize()],
        }
    }

    /// One below the other: quantized, or bf16, if all are.
    fn stack(parts: Vec<Weight<'a>>) -> Weight<'a> {
        let columns = parts[0].columns();
        assert!(parts.iter().all(|part| part.columns() == columns), "stacked layers share their input");
        let mut kinds = parts.iter().map(std::mem::discriminant);
        let first = kinds.next();
        if kinds.any(|kind| Some(kind) != first) {
            return Weight::Dense(parts.into_iter().flat_map(Weight::into_dense).collect());
        }
        let joined = parts.into_iter().reduce(|mut joined, part| {
            match (&mut joined, part) {
                (Weight::Dense(above), Weight::Dense(below)) => above.extend(below),
                (Weight::Half(above), Weight::Half(below)) => above.extend(below),
                (Weight::Int8(above), Weight::Int8(below)) => above.extend(below),
                (Weight::Nf4(above), Weight::Nf4(below)) => above.extend(below),
                _ => unreachable!("all are of one kind"),
            }
            joined
        });
        joined.expect("there is at least one")
    }
}

/// Parts one below the other, divided after `rows` rows. `cut` divides a part after some of its rows, neither none nor
/// all.
fn split_parts<P>(
    parts: Vec<P>,
    rows: usize,
    height: impl Fn(&P) -> usize,
    cut: impl Fn(P, usize) -> [P; 2],
) -> [Vec<P>; 2] {
    let (mut first, mut second, mut left) = (Vec::new(), Vec::new(), rows);
    for part in parts {
        let whole = height(&part);
        match left.min(whole) {
            0 => second.push(part),
            here if here == whole => first.push(part),
            here => {
                let [above, below] = cut(part, here);
                first.push(above);
                second.push(below);
            }
        }
        left -= left.min(whole);
    }
    [first, second]
}

impl<'a> LinearWeights<'a> {
    /// The first `rows` outputs and the others, as two layers.
    pub fn split(self, rows: usize) -> (LinearWeights<'a>, LinearWeights<'a>) {
        let mut first_bias = self.bias.map(Cow::into_owned);
        let second_bias = first_bias.as_mut().map(|bias| bias.split_off(rows));
        let [first, second] = self.weight.split(rows);
        let layer = |weight, bias: Option<Vec<f32>>| LinearWeights { weight, bias: bias.map(Cow::from) };
        (layer(first, first_bias), layer(second, second_bias))
    }

    /// Several layers with the same input as a single layer, the outputs side by side. An absent bias counts as zeros
    /// if another layer has one.
    pub fn stack(parts: Vec<LinearWeights<'a>>) -> LinearWeights<'a> {
        let any_bias = parts.iter().any(|part| part.bias.is_some());
        let mut weights = Vec::with_capacity(parts.len());
        let mut bias = Vec::new();
        for part in parts {
            match part.bias {
                Some(part_bias) => bias.extend_from_slice(&part_bias),
                None => bias.resize(bias.len() + part.weight.rows(), 0.0),
            }
            weights.push(part.weight);
        }
        LinearWeights { weight: Weight::stack(weights), bias: any_bias.then_some(bias.into()) }
    }
}
