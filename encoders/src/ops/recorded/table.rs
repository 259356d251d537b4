//! Tables of embeddings.

use rayon::prelude::*;

use super::parameters::{Gradients, Parameter, Place};
use crate::ops::Matrix;

/// A table in the order of its ids, and whether it is trained.
pub struct RecordedTable {
    values: Vec<f32>,
    columns: usize,
    trained: Option<TrainedTable>,
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
    pub(super) fn new(table: Matrix<'_>) -> RecordedTable {
        RecordedTable { columns: table.columns, values: table.values.into_owned(), trained: None }
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
            row.copy_from_slice(&self.values[*id as usize * self.columns..][..self.columns]);
        }
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => {
                let values = &parameters[parameter].values;
                self.values.par_iter_mut().zip(values).for_each(|(slot, value)| *slot = value * factor);
            }
            Some(TrainedTable::Sums(types, positions)) => {
                let positions = &parameters[positions].values;
                let rows = parameters[types].values.chunks_exact(self.columns);
                for (part, row) in self.values.chunks_exact_mut(positions.len()).zip(rows) {
                    for (slots, position) in
                        part.chunks_exact_mut(self.columns).zip(positions.chunks_exact(self.columns))
                    {
                        for ((slot, position), x) in slots.iter_mut().zip(position).zip(row) {
                            *slot = position + x;
                        }
                    }
                }
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
