//! Linear layers as packed matrices, and what happens to the sums of a product before they are written.

use std::borrow::Cow;

use super::bf16::{self, Bf16Panels};
use super::elementwise::Exactness;
use super::gemm::{Epilogue, write};
use super::int8::{self, Int8Panels, Row, Units};
use super::isa::{Arithmetic, PANEL};
use super::kept_panels::KeptPanels;
use super::low_precision::{HalfPanels, LowPrecision};
use super::nf4::Nf4Panels;
use super::packed_matrix::PackedMatrix;
#[cfg(target_arch = "x86_64")]
use super::rounded_matrix::RoundedMatrix;
use crate::architecture::Activation;
use crate::compute::precision::Precision;
use crate::compute::{GateUpWeights, Int8Rows, LinearWeights, Matrix, Nf4Rows, Weight};

/// Output columns of a panel that holds rows of the gate projection beside those of the up projection.
const GATED: usize = PANEL / 2;

/// A packed matrix with a bias for every column of its panels.
pub struct PackedLinear {
    pub(super) matrix: Packed,
    bias: Vec<f32>,
    /// The tiles that are multiplied when the layer is trained or trained through.
    #[cfg(target_arch = "x86_64")]
    pub(super) rounded: RoundedMatrix,
}

/// How linear layers are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    F32,
    /// In bf16, with the processor's instructions for it.
    Bf16,
    /// The numbers rounded to bf16, in f32.
    Rounded,
    /// In f32, with weights that are held in bf16.
    Halves,
    /// In 8 bits, with these instructions.
    Int8(Units),
}

impl Products {
    /// The fastest on this machine.
    pub(super) fn of(precision: Precision) -> Products {
        match precision {
            Precision::F32 => Products::F32,
            Precision::Bf16 if bf16::has_units() => Products::Bf16,
            Precision::Bf16 => Products::Rounded,
            Precision::Int8 => Products::Int8(Units::detect()),
        }
    }

    /// Whether quantized matrices are multiplied as they are.
    fn in_f32(self) -> bool {
        matches!(self, Products::F32 | Products::Halves)
    }
}

/// A matrix in panels.
pub(super) enum Packed {
    Dense(PackedMatrix),
    LowPrecision(LowPrecision),
    Bf16(Bf16Panels),
    /// Rounded to bf16, for processors that cannot multiply it: the activations are rounded as well.
    Rounded(PackedMatrix),
    Int8(Int8Panels),
}

impl Packed {
    /// Packs a matrix (`rows`, `depth`) of numbers that are not quantized. `row` gives its rows; those that it gives
    /// none for are zeros.
    fn pack<'a>(
        rows: usize,
        depth: usize,
        (products, kept): (Products, &mut KeptPanels),
        row: impl Fn(usize) -> Option<&'a [f32]> + Sync,
    ) -> Packed {
        let value = |number: usize, k: usize| row(number).map_or(0.0, |row| row[k]);
        match products {
            Products::F32 => Packed::Dense(kept.matrix((rows, depth), row(0).unwrap_or_default(), || {
                let mut matrix = PackedMatrix::default();
                matrix.refill(rows, depth, value);
                matrix
            })),
            Products::Bf16 => Packed::Bf16(Bf16Panels::pack(rows, depth, value)),
            Products::Rounded => Packed::Rounded(bf16::pack_rounded(rows, depth, value)),
            Products::Halves => {
                Packed::LowPrecision(LowPrecision::Bf16(HalfPanels::pack(rows, depth, value)))
            }
            Products::Int8(units) => {
                Packed::Int8(Int8Panels::pack(rows, depth, units, |number| row(number).map(Row::Numbers)))
            }
        }
    }

    /// N, the columns of a product with this matrix.
    pub(super) fn rows(&self) -> usize {
        match self {
            Packed::Dense(matrix) | Packed::Rounded(matrix) => matrix.rows(),
            Packed::Bf16(matrix) => matrix.rows(),
            Packed::Int8(matrix) => matrix.rows(),
            Packed::LowPrecision(matrix) => matrix.rows(),
        }
    }

    /// K.
    pub(super) fn depth(&self) -> usize {
        match self {
            Packed::Dense(matrix) | Packed::Rounded(matrix) => matrix.depth(),
            Packed::Bf16(matrix) => matrix.depth(),
            Packed::Int8(matrix) => matrix.depth(),
            Packed::LowPrecision(matrix) => matrix.depth(),
        }
    }

    /// Panels that one task has to multiply together.
    pub(super) fn panels_together(&self) -> usize {
        match self {
            Packed::Bf16(_) => bf16::CHUNK,
            Packed::Int8(_) => int8::WIDE,
            _ => 1,
        }
    }

    /// How many panels there are.
    pub(super) fn num_panels(&self) -> usize {
        self.rows().div_ceil(PANEL)
    }
}

/// The projections that an MLP begins with as one packed matrix, whose outputs pass a non-linearity.
pub struct PackedGateUp {
    pub(super) linear: PackedLinear,
    pub(super) activation: Activation,
    /// Whether each panel holds 8 rows of the gate and the 8 rows that they multiply.
    pub(super) gated: bool,
    /// I
    pub(super) columns: usize,
}

impl PackedLinear {
    /// `kept` has the packed matrices of the model, where it was loaded before.
    pub(super) fn pack(
        weights: LinearWeights<'_>,
        (products, kept): (Products, &mut KeptPanels),
    ) -> PackedLinear {
        let packed = match (weights.weight, products) {
            (Weight::Nf4(parts), _) if products.in_f32() => {
                let parts: Vec<&Nf4Rows> = parts.iter().collect();
                let rows = parts.iter().map(|part| part.rows.len()).sum();
                Packed::LowPrecision(LowPrecision::Nf4(Nf4Panels::pack(&parts, rows, Some)))
            }
            (Weight::Int8(parts), Products::Int8(units)) => {
                let parts: Vec<&Int8Rows<'_>> = parts.iter().collect();
                let rows = parts.iter().map(|part| part.rows).sum();
                let row = |number| stored_row(&parts, number);
                Packed::Int8(Int8Panels::pack(rows, parts[0].columns, units, row))
            }
            (weight, Products::F32) => {
                let parts = weight.into_dense();
                let (rows, depth) = (parts.iter().map(|part| part.rows).sum(), parts[0].columns);
                // Until it is known that they have to be packed, only one row of the weights is read.
                let first = parts[0].values[..depth].to_vec();
                let pack = || PackedMatrix::of_rows(&Matrix::join(parts).values, depth);
                Packed::Dense(kept.matrix((rows, depth), &first, pack))
            }
            (weight, _) => {
                let Matrix { values, rows, columns } = weight.dequantize();
                Packed::pack(rows, columns, (products, kept), |row| {
                    Some(&values[row * columns..(row + 1) * columns])
                })
            }
        };
        PackedLinear::new(packed, weights.bias)
    }

    fn new(matrix: Packed, bias: Option<Cow<'_, [f32]>>) -> PackedLinear {
        let mut bias = bias.map_or_else(Vec::new, Cow::into_owned);
        bias.resize(matrix.num_panels() * PANEL, 0.0);
        PackedLinear::of(matrix, bias)
    }

    /// `bias` has a number for every column of the panels.
    fn of(matrix: Packed, bias: Vec<f32>) -> PackedLinear {
        PackedLinear {
            #[cfg(target_arch = "x86_64")]
            rounded: RoundedMatrix::new(matrix.rows(), matrix.depth()),
            matrix,
            bias,
        }
    }

    /// N
    pub(super) fn num_rows(&self) -> usize {
        self.matrix.rows()
    }

    /// K
    pub(super) fn num_columns(&self) -> usize {
        self.matrix.depth()
    }

    /// Replaces weights and biases by others of the same shape, in the same type: bf16 or f32.
    pub(super) fn refill(&mut self, rows: &[&[f32]], biases: &[f32]) {
        let depth = self.num_columns();
        match &mut self.matrix {
            Packed::Dense(matrix) => matrix.refill_rows(rows, depth),
            Packed::LowPrecision(LowPrecision::Bf16(matrix)) => matrix.refill(|row, k| rows[row][k]),
            other => {
                let mut matrix = PackedMatrix::default();
                matrix.refill_rows(rows, depth);
                *other = Packed::Dense(matrix);
            }
        }
        self.bias[..rows.len()].copy_from_slice(biases);
        #[cfg(target_arch = "x86_64")]
        self.rounded.clear();
    }

    pub(super) fn bias(&self) -> Bias<'_> {
        Bias(&self.bias)
    }
}

impl PackedGateUp {
    pub(super) fn pack(
        weights: GateUpWeights<'_>,
        (products, kept): (Products, &mut KeptPanels),
    ) -> PackedGateUp {
        let GateUpWeights { gate, up, activation } = weights;
        let (columns, gated) = (up.weight.rows(), gate.is_some());
        let linear = match gate {
            Some(gate) => interleave(gate, up, (products, kept)),
            None => PackedLinear::pack(up, (products, kept)),
        };
        PackedGateUp { linear, activation, gated, columns }
    }

    /// How exact the activations have to be. Beside products in 8 bits they become codes.
    pub(super) fn exactness(&self) -> Exactness {
        match self.linear.matrix {
            Packed::Int8(_) => Exactness::OfCodes,
            _ => Exactness::Full,
        }
    }
}

/// A row of parts that lie one below the other.
fn stored_row<'p>(parts: &[&'p Int8Rows<'_>], mut row: usize) -> Option<Row<'p>> {
    for part in parts {
        if row < part.rows {
            let (codes, scales) = part.row(row);
            return Some(Row::Codes(codes, scales));
        }
        row -= part.rows;
    }
    None
}

/// Panels of 8 rows of `gate` and the same 8 of `up`, so that both sums of an output meet in one epilogue.
fn interleave(
    gate: LinearWeights<'_>,
    up: LinearWeights<'_>,
    (products, kept): (Products, &mut KeptPanels),
) -> PackedLinear {
    let (rows, depth) = (up.weight.rows(), up.weight.columns());
    assert_eq!(
        (gate.weight.rows(), gate.weight.columns()),
        (rows, depth),
        "a gate projection has the shape of the up projection"
    );
    let packed_rows = rows.div_ceil(GATED) * PANEL;
    // Whether a packed row is one of the gate, and which.
    let origin = |packed: usize| (packed % PANEL < GATED, packed / PANEL * GATED + packed % GATED);
    let matrix = match (gate.weight, up.weight, products) {
        (Weight::Nf4(gate), Weight::Nf4(up), _) if products.in_f32() => {
            let parts: Vec<&Nf4Rows> = gate.iter().chain(&up).collect();
            Packed::LowPrecision(LowPrecision::Nf4(Nf4Panels::pack(&parts, packed_rows, |packed| {
                let (of_gate, row) = origin(packed);
                (row < rows).then_some(if of_gate { row } else { rows + row })
            })))
        }
        (Weight::Int8(gate), Weight::Int8(up), Products::Int8(units)) => {
            let parts: Vec<&Int8Rows<'_>> = gate.iter().chain(&up).collect();
            Packed::Int8(Int8Panels::pack(packed_rows, depth, units, |packed| {
                let (of_gate, row) = origin(packed);
                (row < rows).then(|| stored_row(&parts, if of_gate { row } else { rows + row })).flatten()
            }))
        }
        (gate, up, _) => {
            let (gate, up) = (gate.dequantize(), up.dequantize());
            Packed::pack(packed_rows, depth, (products, kept), |packed| {
                let (of_gate, row) = origin(packed);
                let part = if of_gate { &gate } else { &up };
                (row < rows).then(|| &part.values[row * depth..(row + 1) * depth])
            })
        }
    };
    let bias = (0..packed_rows).map(|packed| {
        let (of_gate, row) = origin(packed);
        let bias = if of_gate { &gate.bias } else { &up.bias };
        bias.as_ref().and_then(|bias| bias.get(row)).copied().unwrap_or(0.0)
    });
    PackedLinear::of(matrix, bias.collect())
}

/// Adds the bias of each column.
#[derive(Clone, Copy)]
pub(super) struct Bias<'a>(&'a [f32]);

impl Bias<'_> {
    #[inline(always)]
    fn added(&self, panel: usize, values: &[f32; PANEL]) -> [f32; PANEL] {
        let bias: &[f32; PANEL] =
            self.0[panel * PANEL..(panel + 1) * PANEL].try_into().expect("the slice has this length");
        let mut sums = [0.0; PANEL];
        for lane in 0..PANEL {
            sums[lane] = values[lane] + bias[lane];
        }
        sums
    }
}

impl Epilogue for Bias<'_> {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]) {
        write(&self.added(panel, values), out);
    }
}

/// Adds the bias, then activates.
#[derive(Clone, Copy)]
pub(super) struct BiasActivation<'a>(pub(super) Bias<'a>, pub(super) Activation, pub(super) Exactness);

impl Epilogue for BiasActivation<'_> {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]) {
        let mut values = self.0.added(panel, values);
        self.1.apply_as::<A>(self.2, &mut values);
        write(&values, out);
    }
}

/// Adds the bias and what is there already.
#[derive(Clone, Copy)]
pub(super) struct BiasResidual<'a>(pub(super) Bias<'a>);

impl Epilogue for BiasResidual<'_> {
    const WIDTH: usize = PANEL;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]) {
        let added = self.0.added(panel, values);
        match <&mut [f32; PANEL]>::try_from(&mut *out) {
            // The length is known here, so that the sum is one vector instruction.
            Ok(out) => {
                for lane in 0..PANEL {
                    out[lane] += added[lane];
                }
            }
            Err(_) => {
                for (out, added) in out.iter_mut().zip(added) {
                    *out += added;
                }
            }
        }
    }
}

/// Adds the biases, then activates the first half of the panel and multiplies it with the second.
#[derive(Clone, Copy)]
pub(super) struct GatedActivation<'a>(pub(super) Bias<'a>, pub(super) Activation, pub(super) Exactness);

impl Epilogue for GatedActivation<'_> {
    const WIDTH: usize = GATED;
    #[inline(always)]
    fn store<A: Arithmetic>(&self, panel: usize, values: &[f32; PANEL], out: &mut [f32]) {
        let sums = self.0.added(panel, values);
        let mut products = [0.0; GATED];
        products.copy_from_slice(&sums[..GATED]);
        self.1.apply_as::<A>(self.2, &mut products);
        for lane in 0..GATED {
            products[lane] *= sums[GATED + lane];
        }
        write(&products, out);
    }
}
