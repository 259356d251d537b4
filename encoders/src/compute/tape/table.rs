//! Tables of embeddings that are trained.

use std::sync::Arc;

use super::parameters::{Gradients, Parameter, RowGradients};
use crate::compute::backward::{Backward, NewTable};
use crate::error::Result;

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
    pub(crate) fn refresh(&mut self, parameters: &[Parameter<B::Numbers>]) -> Result<()> {
        let columns = self.columns;
        let new = match self.trained {
            None => return Ok(()),
            Some(TrainedTable::Scaled(parameter, factor)) => {
                NewTable::Scaled(&parameters[parameter].values, factor)
            }
            Some(TrainedTable::Sums(types, positions)) => NewTable::Sums {
                types: &parameters[types].values,
                positions: &parameters[positions].values,
                columns,
            },
        };
        B::refill_table(&mut self.loaded, new)
    }

    /// Turns the gradient of the rows that were read into gradients of trained parameters.
    pub(super) fn backward(&self, ids: &[u32], gradient: B::Numbers, gradients: &mut Gradients<B::Numbers>) {
        let values = Arc::new(gradient);
        let num_positions = match self.trained {
            Some(TrainedTable::Sums(_, positions)) => gradients.num_rows(positions) as u32,
            _ => 1,
        };
        let mut add = |parameter: usize, rows: Vec<u32>, factor: f32| {
            gradients.add_rows(RowGradients { parameter, rows, values: Arc::clone(&values), factor });
        };
        match self.trained {
            None => {}
            Some(TrainedTable::Scaled(parameter, factor)) => add(parameter, ids.to_vec(), factor),
            Some(TrainedTable::Sums(types, positions)) => {
                add(types, ids.iter().map(|id| id / num_positions).collect(), 1.0);
                add(positions, ids.iter().map(|id| id % num_positions).collect(), 1.0);
            }
        }
    }
}
