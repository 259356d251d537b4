//! Tables of embeddings.

use rayon::prelude::*;

use super::parameters::{Gradients, Parameter, Place};
use crate::compute::Matrix;
use crate::compute::cpu::bf16::rounded;
use crate::compute::cpu::compact::widened;

/// A table in the order of its ids, and whether it is trained.
pub struct RecordedTable {
    values: Values,
    columns: usize,
    trained: Option<TrainedTable>,
}

/// The numbers of a table.
enum Values {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl Values {
    /// Those from `start` on, as many as `out` has room for.
    fn read(&self, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match self {
            Values::F32(values) => out.copy_from_slice(&values[range]),
            Values::Bf16(halves) => {
                out.iter_mut().zip(&halves[range]).for_each(|(slot, half)| *slot = widened(*half));
            }
        }
    }

    /// Takes other numbers.
    fn refill(&mut self, value: impl Fn(usize) -> f32 + Sync) {
        match self {
            Values::F32(values) => {
                values.par_iter_mut().enumerate().for_each(|(place, slot)| *slot = value(place));
            }
            Values::Bf16(halves) => {
                let slots = halves.par_iter_mut().enumerate();
                slots.for_each(|(place, slot)| *slot = rounded(value(place)).0);
            }
        }
    }
}

/// Where a table is trained.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TrainedTable {
    /// The rows of one parameter times a factor.
    Scaled(usize, f32),
    /// Row k P + p is the sum of row k of the first parameter and row p of the second, which has P rows.
    Sums(usize, usize),
}

impl RecordedTable {
    /// A table in f32, or in bf16 if `halves`.
    pub(super) fn new(table: Matrix<'_>, halves: bool) -> RecordedTable {
        let values = match halves {
            true => Values::Bf16(table.values.par_iter().map(|x| rounded(*x).0).collect()),
            false => Values::F32(table.values.into_owned()),
        };
        RecordedTable { columns: table.columns, values, trained: None }
    }

    /// Trains all rows.
    pub(crate) fn train(&mut self, trained: TrainedTable) {
        self.trained = Some(trained);
    }

    pub(super) fn is_trained(&self) -> bool {
        self.trained.is_some()
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn read(&self, ids: &[u32], out: &mut [f32]) {
        for (row, id) in out.chunks_exact_mut(self.columns).zip(ids) {
            self.values.read(*id as usize * self.columns, row);
        }
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => {
                let values = &parameters[parameter].values;
                self.values.refill(|place| values[place] * factor);
            }
            Some(TrainedTable::Sums(types, positions)) => {
                let (types, positions) = (&parameters[types].values, &parameters[positions].values);
                let columns = self.columns;
                self.values.refill(|place| {
                    positions[place % positions.len()]
                        + types[place / positions.len() * columns + place % columns]
                });
            }
        }
    }

    /// From the gradient of the rows read to that of what is trained.
    pub(super) fn backward(&self, ids: &[u32], gradient: &[f32], gradients: &mut Gradients) {
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => {
                let values = gradient.iter().map(|x| x * factor).collect();
                gradients.add_rows(parameter, ids.to_vec(), values);
            }
            Some(TrainedTable::Sums(types, positions)) => {
                let num_positions = gradients.num_rows(positions) as u32;
                let places = ids.iter().map(|id| id % num_positions).collect();
                gradients.add_rows(positions, places, gradient.to_vec());
                for (id, values) in ids.iter().zip(gradient.chunks_exact(self.columns)) {
                    let row = Place { parameter: types, first_row: (id / num_positions) as usize };
                    gradients.of(row, 1).iter_mut().zip(values).for_each(|(slot, x)| *slot += x);
                }
            }
        }
    }
}
