//! What training changes, and the gradients of it.

use std::sync::Arc;

use crate::compute::numbers::{Numbers, Place, PlaceMut};
use crate::error::Result;

/// An array that training changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter<N = Vec<f32>> {
    /// The tensor's name, without what may stand before all names of a checkpoint.
    pub(crate) name: String,
    /// Its dimensions.
    pub(crate) shape: Vec<usize>,
    /// Its elements, row-major.
    pub(crate) values: N,
    /// Whether weight decay pulls it towards zero: matrices, not norms and biases.
    pub(crate) decays: bool,
}

impl<N> Parameter<N> {
    /// The length of a row: the product of all dimensions but the first.
    pub(crate) fn columns(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// The same with other elements.
    pub(crate) fn with<M>(&self, values: M) -> Parameter<M> {
        Parameter { name: self.name.clone(), shape: self.shape.clone(), values, decays: self.decays }
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
    /// The elements, from the first row on.
    pub(crate) fn of<'a, N>(&self, parameters: &'a [Parameter<N>]) -> Place<'a, N> {
        let parameter = &parameters[self.parameter];
        (&parameter.values, self.first_row * parameter.columns())
    }
}

/// Rows and columns of each parameter.
pub(crate) type Sizes = Arc<[[usize; 2]]>;

/// Rows and columns of each parameter.
pub(crate) fn sizes<N>(parameters: &[Parameter<N>]) -> Sizes {
    parameters.iter().map(|parameter| [parameter.shape[0], parameter.columns()]).collect()
}

/// Gradients of some rows of a parameter; a row may come more than once.
#[derive(Debug)]
pub(crate) struct RowGradients<N> {
    pub(crate) parameter: usize,
    pub(crate) rows: Vec<u32>,
    /// One after the other.
    pub(crate) values: Arc<N>,
    /// What they are multiplied with.
    pub(crate) factor: f32,
}

/// dL/dp of every parameter p that took part.
pub(crate) struct Gradients<N: Numbers> {
    memory: N::Memory,
    sizes: Sizes,
    /// The gradient of each parameter; none if nothing was added.
    dense: Vec<Option<N>>,
    /// For tables of embeddings, of which a batch uses few rows.
    rows: Vec<RowGradients<N>>,
}

impl<N: Numbers> Gradients<N> {
    /// Zero.
    pub(crate) fn new(memory: N::Memory, sizes: &Sizes) -> Gradients<N> {
        let dense = sizes.iter().map(|_| None).collect();
        Gradients { memory, sizes: Arc::clone(sizes), dense, rows: Vec::new() }
    }

    fn dense(&mut self, parameter: usize) -> Result<&mut N> {
        let [rows, columns] = self.sizes[parameter];
        let dense = &mut self.dense[parameter];
        match dense {
            Some(dense) => Ok(dense),
            None => Ok(dense.insert(N::zeros(&self.memory, rows * columns)?)),
        }
    }

    /// The gradient of rows, to be added to.
    pub(crate) fn of(&mut self, rows: ParameterRows) -> Result<PlaceMut<'_, N>> {
        let first = rows.first_row * self.sizes[rows.parameter][1];
        Ok((self.dense(rows.parameter)?, first))
    }

    /// Adds to rows.
    pub(crate) fn add(&mut self, rows: ParameterRows, sums: &mut N) -> Result<()> {
        let (dense, first) = self.of(rows)?;
        dense.take(first, sums)
    }

    /// Zeros, to be added by [`Gradients::add`].
    pub(crate) fn zeros(&self, len: usize) -> Result<N> {
        N::zeros(&self.memory, len)
    }

    /// Adds numbers of the host to rows.
    pub(crate) fn add_host(&mut self, rows: ParameterRows, values: Vec<f32>) -> Result<()> {
        let mut values = N::new(&self.memory, values)?;
        self.add(rows, &mut values)
    }

    /// Rows of a parameter.
    pub(crate) fn num_rows(&self, parameter: usize) -> usize {
        self.sizes[parameter][0]
    }

    /// Adds to some rows of a parameter, when these gradients are added to others.
    pub(crate) fn add_rows(&mut self, gradients: RowGradients<N>) {
        self.rows.push(gradients);
    }

    /// Adds other gradients, which become zero.
    pub(crate) fn take_from(&mut self, other: &mut Gradients<N>) -> Result<()> {
        for (parameter, dense) in other.dense.iter_mut().enumerate() {
            if let Some(dense) = dense {
                self.dense(parameter)?.take(0, dense)?;
            }
        }
        for RowGradients { parameter, rows, values, factor } in other.rows.drain(..) {
            self.dense(parameter)?.add_rows(&rows, &values, factor)?;
        }
        Ok(())
    }

    /// The gradient of each parameter, `None` if the parameter was not used. Gradients by rows must have been added
    /// up before.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<&N>> {
        debug_assert!(self.rows.is_empty());
        self.dense.iter().map(Option::as_ref)
    }

    /// Zero, keeping the memory.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.rows.clear();
        self.dense.iter_mut().flatten().try_for_each(N::clear)
    }

    /// The Euclidean length of all together.
    pub(crate) fn norm(&self) -> Result<f64> {
        let squares = self.dense.iter().flatten().map(N::squared_sum);
        Ok(squares.sum::<Result<f64>>()?.sqrt())
    }
}
