//! An MLP in 8 bits. What is between its products is never there in f32, but for a few columns of it. A product ends
//! faster that writes a quarter of the bytes, and the next one need not read and quantize them.

use rayon::prelude::*;

use super::gemm::Epilogue;
use super::int8::{GROUP, Int8Panels, Quantize, QuantizedRows, QuantizingGemm, TileStrip};
use super::linear::{BiasActivation, BiasResidual, GatedActivation, Packed};
use super::{Activations, Cpu, PackedGateUp, PackedLinear};

impl Cpu {
    /// `residual` + output(gate_up(x)), if both layers are in 8 bits: the same bits as one after the other. Without `x`
    /// the residual is x.
    pub(super) fn add_quantized_mlp(
        &self,
        x: Option<&Activations>,
        gate_up: &PackedGateUp,
        output: &PackedLinear,
        residual: &mut Activations,
    ) -> bool {
        let PackedGateUp { linear, activation, columns, gated } = gate_up;
        let (Packed::Int8(first), Packed::Int8(last)) = (&linear.matrix, &output.matrix) else {
            return false;
        };
        let mut codes = self.codes.borrow_mut();
        let x = x.unwrap_or(residual);
        self.isa.dispatch(Quantize { a: &x.values, depth: x.columns, units: first.units(), out: &mut codes });
        let mut inner = self.inner_codes.borrow_mut();
        if *gated {
            let epilogue = GatedActivation(linear.bias(), *activation, gate_up.exactness());
            self.quantized_product(&codes, first, epilogue, (&mut inner, *columns));
        } else {
            let epilogue = BiasActivation(linear.bias(), *activation, gate_up.exactness());
            self.quantized_product(&codes, first, epilogue, (&mut inner, *columns));
        }
        self.product_of_codes(&inner, last, BiasResidual(output.bias()), residual);
        true
    }

    /// `out`, so many columns, becomes the codes of x M^T by the epilogue.
    fn quantized_product<E: Epilogue + Sync>(
        &self,
        x: &QuantizedRows,
        matrix: &Int8Panels,
        epilogue: E,
        (out, columns): (&mut QuantizedRows, usize),
    ) {
        let groups = columns.div_ceil(GROUP);
        let tasks = if self.parallel { rayon::current_num_threads().min(groups) } else { 1 };
        let groups_each = groups.div_ceil(tasks.max(1)).max(1);
        let (isa, width) = (self.isa, groups_each * GROUP);
        let run = |numbers: &mut Vec<f32>, (task, mut out): (usize, Vec<TileStrip<'_>>)| {
            let columns = task * width..((task + 1) * width).min(columns);
            isa.dispatch(QuantizingGemm { a: x, b: matrix, columns, epilogue, out: &mut out, numbers });
        };
        let strips = out.strips((x.rows(), columns), matrix.units(), groups_each);
        if strips.len() > 1 {
            strips.into_par_iter().enumerate().for_each_init(Vec::new, run);
        } else {
            let memory = &mut self.memory.borrow_mut();
            strips.into_iter().enumerate().for_each(|strip| run(&mut memory.sums, strip));
        }
    }
}
