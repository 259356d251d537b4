//! Tables of embeddings.

use half::bf16;
use rayon::prelude::*;

use super::low_precision::widened;
use crate::compute::{MappedTable, Matrix};

/// A table in the order of its ids.
pub struct Table {
    values: Values,
    pub(super) columns: usize,
}

enum Values {
    F32(Vec<f32>),
    Mapped(MappedTable),
    Bf16(Vec<bf16>),
}

impl Table {
    /// A table in f32, or in bf16 if `halves`.
    pub(super) fn new(table: Matrix<'_>, halves: bool) -> Table {
        let values = match halves {
            true => Values::Bf16(table.values.par_iter().map(|x| bf16::from_f32(*x)).collect()),
            false => Values::F32(table.values.into_owned()),
        };
        Table { values, columns: table.columns }
    }

    /// A table that stays in its file.
    pub(super) fn mapped(table: MappedTable) -> Table {
        Table { columns: table.columns(), values: Values::Mapped(table) }
    }

    /// The row of an id.
    pub(super) fn read(&self, id: u32, out: &mut [f32]) {
        let start = id as usize * self.columns;
        let range = start..start + self.columns;
        match &self.values {
            Values::F32(values) => out.copy_from_slice(&values[range]),
            Values::Mapped(table) => table.read(id as usize, out),
            Values::Bf16(halves) => {
                out.iter_mut().zip(&halves[range]).for_each(|(slot, half)| *slot = widened(*half));
            }
        }
    }

    /// Takes other numbers.
    pub(super) fn refill(&mut self, value: impl Fn(usize) -> f32 + Sync) {
        if let Values::Mapped(table) = &self.values {
            self.values = Values::F32(vec![0.0; table.rows() * table.columns()]);
        }
        match &mut self.values {
            Values::F32(values) => {
                values.par_iter_mut().enumerate().for_each(|(index, slot)| *slot = value(index));
            }
            // Replaced above.
            Values::Mapped(_) => {}
            Values::Bf16(halves) => {
                let slots = halves.par_iter_mut().enumerate();
                slots.for_each(|(index, slot)| *slot = bf16::from_f32(value(index)));
            }
        }
    }
}
