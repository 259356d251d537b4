//! Tensors with a LoRA adapter merged into them as they are read.

use std::borrow::Cow;

use super::adapter::Adapter;
use super::mapped::MappedTable;
use super::matrix::Weight;
use super::shards::StoredTensor;
use super::tensors::{TensorInfo, Tensors};
use crate::architecture::Architecture;
use crate::error::Result;

/// A source whose tensors an adapter changes.
pub struct Adapted {
    source: Box<dyn Tensors>,
    adapter: Adapter,
    /// Whose names the adapter's are compared with.
    architecture: Architecture,
}

impl Adapted {
    /// Lays an adapter over the tensors of the model that `architecture` describes.
    ///
    /// # Errors
    ///
    /// The adapter has a tensor that the model has no place for, such as that of a dropped sub-layer: it was trained
    /// on another model.
    pub fn new(source: Box<dyn Tensors>, adapter: Adapter, architecture: &Architecture) -> Result<Adapted> {
        adapter.check(architecture)?;
        Ok(Adapted { source, adapter, architecture: architecture.clone() })
    }

    fn changes(&self, tensor: &str) -> bool {
        self.adapter.changes(self.architecture.bare_name(tensor))
    }
}

impl Tensors for Adapted {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        let mut list = self.source.list();
        for info in &mut list {
            if let Some(replacement) = self.adapter.replacement(self.architecture.bare_name(info.name)) {
                info.shape = replacement.shape.to_vec();
            }
        }
        list
    }

    fn contains(&self, tensor: &str) -> bool {
        self.source.contains(tensor)
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        if self.changes(tensor) { None } else { self.source.stored(tensor) }
    }

    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        let bare = self.architecture.bare_name(tensor);
        if !self.adapter.changes(bare) {
            return self.source.values(tensor, shape);
        }
        let mut values = match self.adapter.replacement_values(bare, shape)? {
            Some(values) => values,
            None => self.source.values(tensor, shape)?,
        };
        if let [rows, columns] = *shape {
            self.adapter.change(bare, values.to_mut(), rows, columns)?;
        }
        Ok(values)
    }

    /// In f32 where the adapter changes it.
    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        if self.changes(tensor) {
            return Ok(self.matrix(tensor, rows, columns)?.into());
        }
        self.source.weight(tensor, rows, columns)
    }

    fn is_quantized(&self) -> bool {
        self.source.is_quantized()
    }

    fn mapped(&self, tensor: &str, rows: usize, columns: usize) -> Result<Option<MappedTable>> {
        if self.changes(tensor) { Ok(None) } else { self.source.mapped(tensor, rows, columns) }
    }

    fn release(&self, tensor: &str) {
        self.source.release(tensor);
    }
}
