//! What training changes, and the gradients of it.

use std::sync::Arc;

use rayon::prelude::*;

/// Elements that one task goes through.
const PART: usize = 1 << 16;

/// An array that training changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    /// The tensor's name, without what may stand before all names of a checkpoint.
    pub(crate) name: String,
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// Its elements, row-major.
    pub(crate) values: Vec<f32>,
    /// Whether weight decay pulls it towards zero: matrices, not norms and biases.
    pub(crate) decays: bool,
}

impl Parameter {
    /// The length of a row: the product of all dimensions but the first.
    pub(crate) fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }
}

/// Consecutive rows of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParameterRows {
    /// The parameter's index among all.
    pub(crate) parameter: usize,
    pub(crate) first_row: usize,
}

impl ParameterRows {
    /// The elements of `num_rows` rows.
    pub(crate) fn of<'a>(&self, parameters: &'a [Parameter], num_rows: usize) -> &'a [f32] {
        let parameter = &parameters[self.parameter];
        let columns = parameter.columns();
        &parameter.values[self.first_row * columns..(self.first_row + num_rows) * columns]
    }
}

/// Rows and columns of each parameter.
pub(crate) type Sizes = Arc<[[usize; 2]]>;

/// Rows and columns of each parameter.
pub(crate) fn sizes(parameters: &[Parameter]) -> Sizes {
    parameters.iter().map(|parameter| [parameter.shape[0], parameter.columns()]).collect()
}

/// dL/dp of every parameter p that took part.
#[derive(Debug)]
pub(crate) struct Gradients {
    sizes: Sizes,
    /// The gradient of each parameter; empty if nothing was added.
    dense: Vec<Vec<f32>>,
    /// For tables of embeddings, of which a batch uses few rows: the parameter, rows of it, and their gradients.
    rows: Vec<(usize, Vec<u32>, Vec<f32>)>,
}

impl Gradients {
    /// Zero.
    pub(crate) fn new(sizes: &Sizes) -> Gradients {
        Gradients { sizes: Arc::clone(sizes), dense: vec![Vec::new(); sizes.len()], rows: Vec::new() }
    }

    /// The gradient of `num_rows` rows, to be added to.
    pub(crate) fn of(&mut self, rows: ParameterRows, num_rows: usize) -> &mut [f32] {
        let [all_rows, columns] = self.sizes[rows.parameter];
        let dense = &mut self.dense[rows.parameter];
        dense.resize(all_rows * columns, 0.0);
        &mut dense[rows.first_row * columns..(rows.first_row + num_rows) * columns]
    }

    /// Rows of a parameter.
    pub(crate) fn num_rows(&self, parameter: usize) -> usize {
        self.sizes[parameter][0]
    }

    /// Adds to some rows of a parameter, one after the other; a row may come more than once.
    pub(crate) fn add_rows(&mut self, parameter: usize, rows: Vec<u32>, values: Vec<f32>) {
        self.rows.push((parameter, rows, values));
    }

    /// Adds other gradients, which become zero.
    pub(crate) fn take_from(&mut self, other: &mut Gradients) {
        for (sum, dense) in self.dense.iter_mut().zip(&mut other.dense) {
            sum.resize(dense.len().max(sum.len()), 0.0);
            sum.par_chunks_mut(PART).zip(dense.par_chunks_mut(PART)).for_each(|(sum, dense)| {
                for (sum, x) in sum.iter_mut().zip(dense) {
                    *sum += std::mem::take(x);
                }
            });
        }
        for (parameter, rows, values) in other.rows.drain(..) {
            let [num_rows, columns] = self.sizes[parameter];
            let dense = self.of(ParameterRows { parameter, first_row: 0 }, num_rows);
            for (row, values) in rows.iter().zip(values.chunks_exact(columns)) {
                let sum = &mut dense[*row as usize * columns..][..columns];
                sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            }
        }
    }

    /// The gradient of each parameter, `None` if the parameter was not used. Gradients by rows must have been added
    /// up before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&[f32]>> {
        debug_assert!(self.rows.is_empty());
        self.dense.iter().map(|dense| (!dense.is_empty()).then_some(&dense[..]))
    }

    /// Multiplies all by a factor.
    pub(crate) fn scale(&mut self, factor: f32) {
        for dense in &mut self.dense {
            dense.par_chunks_mut(PART).for_each(|part| part.iter_mut().for_each(|x| *x *= factor));
        }
    }

    /// Zero, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        for dense in &mut self.dense {
            dense.par_chunks_mut(PART).for_each(|part| part.fill(0.0));
        }
    }

    /// The Euclidean length of all together.
    pub(crate) fn norm(&self) -> f64 {
        // Sums of parts are added in order, so that the number of threads changes nothing.
        let square = |part: &[f32]| part.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        let squares = |dense: &Vec<f32>| dense.par_chunks(PART).map(square).collect::<Vec<f64>>();
        self.dense.iter().flat_map(squares).sum::<f64>().sqrt()
    }
}
