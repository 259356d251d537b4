//! Tables of embeddings that are trained.

use super::parameters::{Gradients, Parameter, ParameterRows};
use crate::compute::backward::Backward;

/// A table, and whether it is trained.
pub(crate) struct TapeTable<B: Backward> {
    loaded: B::Table,
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

impl<B: Backward> TapeTable<B> {
    pub(super) fn new(loaded: B::Table, columns: usize) -> TapeTable<B> {
        TapeTable { loaded, columns, trained: None }
    }

    /// The table of the backend.
    pub(super) fn loaded(&self) -> &B::Table {
        &self.loaded
    }

    /// Trains all rows.
    pub(crate) fn train(&mut self, trained: TrainedTable) {
        self.trained = Some(trained);
    }

    pub(super) fn is_trained(&self) -> bool {
        self.trained.is_some()
    }

    /// Takes over what training has changed.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter]) {
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => {
                let values = &parameters[parameter].values;
                B::refill_table(&mut self.loaded, |index| values[index] * factor);
            }
            Some(TrainedTable::Sums(types, positions)) => {
                let (types, positions) = (&parameters[types].values, &parameters[positions].values);
                let columns = self.columns;
                B::refill_table(&mut self.loaded, |index| {
                    positions[index % positions.len()]
                        + types[index / positions.len() * columns + index % columns]
                });
            }
        }
    }

    /// Turns the gradient of the rows that were read into gradients of trained parameters.
    pub(super) fn backward(&self, ids: &[u32], mut gradient: Vec<f32>, gradients: &mut Gradients) {
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => {
                gradient.iter_mut().for_each(|x| *x *= factor);
                gradients.add_rows(parameter, ids.to_vec(), gradient);
            }
            Some(TrainedTable::Sums(types, positions)) => {
                let num_positions = gradients.num_rows(positions) as u32;
                for (id, values) in ids.iter().zip(gradient.chunks_exact(self.columns)) {
                    let row = ParameterRows { parameter: types, first_row: (id / num_positions) as usize };
                    gradients.of(row, 1).iter_mut().zip(values).for_each(|(slot, x)| *slot += x);
                }
                let positions_read = ids.iter().map(|id| id % num_positions).collect();
                gradients.add_rows(positions, positions_read, gradient);
            }
        }
    }
}
