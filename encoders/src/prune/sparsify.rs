//! 2:4 sparsity: two of every four weights become zero, by Wanda or SparseGPT, layer by layer (paper, Table 4).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, Sequences};
use super::directory::ModelDirectory;
use super::pattern::{GROUP, KEPT};
use super::{sparsegpt, wanda};
use crate::architecture::{Architecture, LinearInput};
use crate::compute::cpu::Cpu;
use crate::compute::{Backend, Spans};
use crate::device::Device;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::loaded::Loaded;
use crate::model::{Stage, Transformer};
use crate::on_device::batches;
use crate::prune_error::PruneError;
use crate::weights::matrix::Weight;
use crate::weights::shards::StoredTensor;
use crate::weights::tensors::{TensorInfo, Tensors};
use crate::weights::write::{NewTensor, write_directory};

/// How weights are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum SparseMethod {
    /// By size times the norm of what they read (Sun et al. 2024); the others stay as they are.
    Wanda,
    /// By the loss that remains after the other weights were updated to compensate (Frantar & Alistarh 2023).
    #[cfg_attr(feature = "clap", value(name = "sparsegpt"))]
    SparseGpt,
}

/// What linear layers read, summed over the calibration tokens.
enum Statistic {
    /// Squares, by column.
    Squares(Vec<f64>),
    /// x x^T
    Gram(Vec<f64>),
}

impl Statistic {
    fn new(method: SparseMethod, columns: usize) -> Statistic {
        match method {
            SparseMethod::Wanda => Statistic::Squares(vec![0.0; columns]),
            SparseMethod::SparseGpt => Statistic::Gram(vec![0.0; columns * columns]),
        }
    }

    /// Adds the rows (T, columns).
    fn add(&mut self, rows: &[f32], columns: usize) {
        let rows = rows.chunks_exact(columns);
        match self {
            Statistic::Squares(sums) => rows.for_each(|row| {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
            }),
            Statistic::Gram(sums) => sums.par_chunks_exact_mut(columns).enumerate().for_each(|(i, sums)| {
                for row in rows.clone() {
                    let left = f64::from(row[i]);
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += left * f64::from(*x));
                }
            }),
        }
    }

    fn prune(&self, weights: &mut [f32], columns: usize, num_sequences: usize) {
        match self {
            Statistic::Squares(squares) => wanda::prune(weights, columns, squares),
            Statistic::Gram(gram) => sparsegpt::prune(weights, columns, gram, num_sequences),
        }
    }
}

impl ModelDirectory {
    /// Writes the model with two of every four weights of each linear layer zero to the new directory `out`. It is an
    /// ordinary checkpoint of the same size. Where products are dense, as here, it runs at the same speed.
    ///
    /// Works layer by layer, as both methods' programs do. The calibration sequences pass through the layers that are
    /// already sparse; the inputs of the next layer's linear layers then decide about its weights. `encoder` is the
    /// model's, for its tokenizer. Memory: the hidden states of all calibration tokens, and the sparse weights in
    /// f32. `progress` is called with the number of layers done.
    ///
    /// # Errors
    ///
    /// Those of the texts, [`PruneError::CalibrationTooShort`]; [`PruneError::InvalidShare`] for a linear layer whose
    /// inputs are not a multiple of four. Others: the model is quantized, or `out` exists or cannot be written.
    #[expect(clippy::too_many_arguments, reason = "what is read, how, where to, and who is told")]
    pub fn write_sparse<E: From<Error>>(
        &self,
        encoder: &Encoder,
        texts: impl IntoIterator<Item = std::result::Result<String, E>>,
        calibration: &Calibration,
        method: SparseMethod,
        out: &Path,
        progress: impl FnMut(usize),
    ) -> std::result::Result<(), E> {
        let mut sequences = Sequences::new(encoder, calibration, texts.into_iter())?;
        let read = sequences.by_ref().collect::<std::result::Result<Vec<Vec<u32>>, E>>()?;
        if read.is_empty() {
            return Err(Error::from(PruneError::CalibrationTooShort {
                tokens: sequences.tokens_read,
                block_length: calibration.block_length(encoder)?,
            })
            .into());
        }
        Ok(self.sparsify(&read, method, out, progress)?)
    }

    fn sparsify(
        &self,
        sequences: &[Vec<u32>],
        method: SparseMethod,
        out: &Path,
        mut progress: impl FnMut(usize),
    ) -> Result<()> {
        let Loaded { files, config_path, config, tensors, architecture, .. } = &self.loaded;
        if tensors.is_quantized() {
            return Err(Error::InvalidField {
                path: config_path.clone(),
                field: "quantization_config".to_owned(),
                found: "that of a quantized model".to_owned(),
                expected: "none: give the model that it was made from".to_owned(),
            });
        }
        let all = (0..architecture.layers.len()).flat_map(|layer| architecture.layer_matrices(layer));
        for (tensor, _) in all {
            if !tensor.shape[1].is_multiple_of(GROUP) {
                return Err(Error::InvalidField {
                    path: config_path.clone(),
                    field: format!("the number of inputs of {}", tensor.name),
                    found: tensor.shape[1].to_string(),
                    expected: format!("a multiple of {GROUP}: {KEPT} of every {GROUP} weights are kept"),
                });
            }
        }
        // By name without prefix, the name in the file.
        let stored_names: BTreeMap<String, String> = tensors
            .list()
            .iter()
            .map(|tensor| (architecture.bare_name(tensor.name).to_owned(), tensor.name.to_owned()))
            .collect();
        let mut tensors = Replaced { source: &**tensors, replacements: BTreeMap::new() };
        let backend = Cpu::parallel();
        let batches = batches(sequences, Device::Cpu.batch_tokens(), None);
        let batch = |batch: &Vec<usize>| -> (Vec<u32>, Spans) {
            let ids = batch.iter().flat_map(|i| &sequences[*i]).copied().collect();
            (ids, Spans::from_lengths(batch.iter().map(|i| sequences[*i].len())))
        };
        let none = Transformer::load(&backend, only(architecture, None), &tensors)?;
        let mut hidden: Vec<Vec<f32>> = Vec::new();
        for (ids, spans) in batches.iter().map(batch) {
            none.forward_observed(&backend, &ids, &spans, &mut |stage, x| {
                if stage == Stage::Embeddings {
                    hidden.push(x.values().to_vec());
                }
                Ok(())
            })?;
        }
        drop(none);

        for layer in 0..architecture.layers.len() {
            let matrices = architecture.layer_matrices(layer);
            let mut statistics: BTreeMap<LinearInput, Statistic> = BTreeMap::new();
            for (tensor, input) in &matrices {
                statistics.entry(*input).or_insert_with(|| Statistic::new(method, tensor.shape[1]));
            }
            let dense = Transformer::load(&backend, only(architecture, Some(layer)), &tensors)?;
            for (values, (_, spans)) in hidden.iter().zip(batches.iter().map(batch)) {
                dense.forward_layers(
                    &backend,
                    backend.upload(values, architecture.hidden_size)?,
                    &spans,
                    Some(&mut |stage, x| {
                        if let Stage::Input(_, input) = stage
                            && let Some(statistic) = statistics.get_mut(&input)
                        {
                            statistic.add(x.values(), x.values().len() / spans.num_tokens());
                        }
                        Ok(())
                    }),
                )?;
            }
            drop(dense);
            for (tensor, input) in &matrices {
                let name = &stored_names[&tensor.name];
                let mut weights = tensors.values(name, &tensor.shape)?.into_owned();
                statistics[input].prune(&mut weights, tensor.shape[1], sequences.len());
                tensors.replacements.insert(name.clone(), weights);
            }
            let sparse = Transformer::load(&backend, only(architecture, Some(layer)), &tensors)?;
            for (values, (_, spans)) in hidden.iter_mut().zip(batches.iter().map(batch)) {
                let x = sparse.forward_layers(
                    &backend,
                    backend.upload(values, architecture.hidden_size)?,
                    &spans,
                    None,
                )?;
                values.copy_from_slice(x.values());
            }
            progress(layer + 1);
        }

        let mut config = config.clone();
        config["vocab_size"] = architecture.vocab_size.into();
        let new = tensors.list().into_iter().map(|info| NewTensor::of(&tensors, info));
        write_directory(files, &config, new.collect(), &[], out)
    }
}

/// A source with other values for some of its tensors.
struct Replaced<'a> {
    source: &'a dyn Tensors,
    /// By name.
    replacements: BTreeMap<String, Vec<f32>>,
}

impl Tensors for Replaced<'_> {
    fn list(&self) -> Vec<TensorInfo<'_>> {
        self.source.list()
    }

    fn contains(&self, tensor: &str) -> bool {
        self.source.contains(tensor)
    }

    fn stored(&self, tensor: &str) -> Option<StoredTensor<'_>> {
        if self.replacements.contains_key(tensor) { None } else { self.source.stored(tensor) }
    }

    fn values(&self, tensor: &str, shape: &[usize]) -> Result<Cow<'_, [f32]>> {
        match self.replacements.get(tensor) {
            Some(values) => Ok(values.into()),
            None => self.source.values(tensor, shape),
        }
    }

    fn weight(&self, tensor: &str, rows: usize, columns: usize) -> Result<Weight<'_>> {
        match self.replacements.contains_key(tensor) {
            true => Ok(self.matrix(tensor, rows, columns)?.into()),
            false => self.source.weight(tensor, rows, columns),
        }
    }

    fn is_quantized(&self) -> bool {
        self.source.is_quantized()
    }
}

/// The architecture with one layer at most.
fn only(architecture: &Architecture, layer: Option<usize>) -> Architecture {
    let mut remaining = architecture.remaining();
    for number in (0..architecture.layers.len()).filter(|number| Some(*number) != layer) {
        (remaining.attention[number], remaining.intermediate_sizes[number]) = (false, None);
    }
    architecture.keep(&remaining)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;
    use secateur_testkit::workspace_root;

    /// tests/fixtures/sparse, which its generate.py describes.
    fn fixture() -> BTreeMap<String, Vec<f32>> {
        let bytes = std::fs::read(workspace_root().join("tests/fixtures/sparse/cases.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats =
            |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        file.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect()
    }

    #[test]
    fn weights_are_those_of_the_authors_programs() {
        const COLUMNS: usize = 160;
        let arrays = fixture();
        for (method, name) in [(SparseMethod::Wanda, "wanda"), (SparseMethod::SparseGpt, "sparsegpt")] {
            let mut weights = arrays["weights"].clone();
            let mut statistic = Statistic::new(method, COLUMNS);
            // In two batches.
            let (first, second) = arrays["inputs"].split_at(20 * COLUMNS);
            statistic.add(first, COLUMNS);
            statistic.add(second, COLUMNS);
            statistic.prune(&mut weights, COLUMNS, 64);
            let want = &arrays[name];
            for (group, want) in weights.chunks(GROUP).zip(want.chunks(GROUP)) {
                assert!(group.iter().filter(|x| **x != 0.0).count() <= KEPT);
                for (got, want) in group.iter().zip(want) {
                    // Both in f64 on weights of size one, rounded to f32 once; the orders of summation differ.
                    assert!((got - want).abs() < 1e-6, "{name}: {group:?}");
                }
            }
        }
    }
}
