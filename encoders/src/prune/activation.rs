//! The untrained measure of neurons: how large their activations are.

use super::calibration::{Calibration, Sequences};
use super::width::NeuronScores;
use crate::architecture::LinearInput;
use crate::compute::{Backend, Spans};
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::model::{Stage, Transformer};
use crate::on_device::PerBatch;
use crate::prune_error::PruneError;

/// For each layer a number for every neuron of its MLP.
type Sums = Vec<Option<Vec<f64>>>;

/// The mean of |h| of every neuron over all tokens of the calibration sequences. Here h is the input of the MLP's
/// output layer: the activation of the first layer, or the product of up and activated gate.
///
/// This score needs no training and no labels. It is the baseline that learned gates have to beat. Sums are in f64,
/// in an order that does not depend on the number of threads. `progress` is called with the number of sequences done.
///
/// # Errors
///
/// The errors of the texts. [`PruneError::CalibrationTooShort`] if they do not fill one block.
pub fn activation_magnitude<E: From<Error>>(
    encoder: &Encoder,
    texts: impl IntoIterator<Item = std::result::Result<String, E>>,
    calibration: &Calibration,
    mut progress: impl FnMut(usize),
) -> std::result::Result<NeuronScores, E> {
    let mut sequences = Sequences::new(encoder, calibration, texts.into_iter())?;
    let layers = &encoder.architecture().layers;
    let mut total: Sums =
        layers.iter().map(|layer| layer.intermediate_size.map(|width| vec![0.0; width])).collect();
    let (mut done, mut num_tokens) = (0, 0);
    loop {
        let chunk = sequences.chunk()?;
        if chunk.is_empty() {
            break;
        }
        let size: usize = chunk.iter().map(Vec::len).sum();
        let task = Magnitudes { sequences: &chunk, zeros: &total };
        for (_, sums) in encoder.model().run(encoder.batches(&chunk), &task)? {
            for (total, sums) in total.iter_mut().flatten().zip(sums.into_iter().flatten()) {
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        done += chunk.len();
        num_tokens += size;
        progress(done);
    }
    if done == 0 {
        return Err(Error::from(PruneError::CalibrationTooShort {
            tokens: sequences.tokens_read,
            block_length: calibration.block_length(encoder)?,
        })
        .into());
    }
    total.iter_mut().flatten().flatten().for_each(|sum| *sum /= num_tokens as f64);
    Ok(NeuronScores { model: encoder.name().to_owned(), fingerprint: *encoder.fingerprint(), layers: total })
}

/// The sums of a batch; `zeros` has their shape.
struct Magnitudes<'a> {
    sequences: &'a [Vec<u32>],
    zeros: &'a Sums,
}

impl PerBatch<Encoder> for Magnitudes<'_> {
    type Output = Sums;

    fn tokens(&self, sequence: usize) -> usize {
        self.sequences[sequence].len()
    }

    fn compute<B: Backend>(&self, model: &Transformer<B>, backend: &B, batch: &[usize]) -> Result<Sums> {
        let ids: Vec<u32> = batch.iter().flat_map(|i| &self.sequences[*i]).copied().collect();
        let spans = Spans::from_lengths(batch.iter().map(|i| self.sequences[*i].len()));
        let mut sums: Sums =
            self.zeros.iter().map(|layer| layer.as_ref().map(|zeros| vec![0.0; zeros.len()])).collect();
        model.forward_observed(backend, &ids, &spans, &mut |stage, x| {
            if let Stage::Input(layer, LinearInput::MlpOutput) = stage
                && let Some(sums) = &mut sums[layer]
            {
                for row in backend.to_vec(x)?.chunks_exact(sums.len()) {
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(x.abs()));
                }
            }
            Ok(())
        })?;
        Ok(sums)
    }
}
