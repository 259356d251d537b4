//! A model on the device that it computes on.

use rayon::prelude::*;

use crate::compute::Backend;
#[cfg(feature = "cuda")]
use crate::compute::candle::Candle;
use crate::compute::cpu::Cpu;
use crate::compute::precision::Precision;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::loaded::Loaded;

/// What has a model that any backend can compute.
pub(crate) trait HasModel {
    /// The model on a backend.
    type Model<B: Backend>;

    /// Loads it.
    fn load<B: Backend>(backend: &B, loaded: &Loaded) -> Result<Self::Model<B>>;
}

/// What is computed of each batch: a closure that is generic over the backend.
pub(crate) trait PerBatch<M: HasModel> {
    /// The result of one batch.
    type Output: Send;

    /// Computes the texts of these numbers.
    fn compute<B: Backend>(&self, model: &M::Model<B>, backend: &B, batch: &[usize]) -> Result<Self::Output>;
}

/// A model loaded for the device it computes on.
pub(crate) enum OnDevice<M: HasModel> {
    Cpu(M::Model<Cpu>),
    #[cfg(feature = "cuda")]
    Cuda(M::Model<Candle>, Candle),
}

impl<M: HasModel> OnDevice<M> {
    /// Loads a model with the backend of the device.
    pub(crate) fn load(device: Device, precision: Precision, loaded: &Loaded) -> Result<OnDevice<M>> {
        match device {
            Device::Cpu => {
                let backend = Cpu::serial().with_precision(precision);
                M::load(&backend, loaded).map(OnDevice::Cpu)
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(number) => {
                let backend = Candle::on_gpu(number)
                    .map_err(|source| Error::Device { device: device.to_string(), source: source.into() })?
                    .with_precision(precision);
                Ok(OnDevice::Cuda(M::load(&backend, loaded)?, backend))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => Err(Error::Device {
                device: device.to_string(),
                source: "this build has no GPU support".into(),
            }),
        }
    }

    /// The results of all batches, in their order.
    pub(crate) fn run<T: PerBatch<M> + Sync>(
        &self,
        batches: &[Vec<usize>],
        task: &T,
    ) -> Result<Vec<T::Output>>
    where
        M::Model<Cpu>: Sync,
    {
        match self {
            #[cfg(feature = "cuda")]
            OnDevice::Cuda(model, backend) => {
                batches.iter().map(|batch| task.compute(model, backend, batch)).collect()
            }
            // Batches on different threads share nothing. If there are fewer batches than threads, the operations are
            // split instead.
            OnDevice::Cpu(model) if batches.len() < rayon::current_num_threads() => {
                let backend = Cpu::parallel();
                batches.iter().map(|batch| task.compute(model, &backend, batch)).collect()
            }
            OnDevice::Cpu(model) => batches
                .par_iter()
                .map_init(Cpu::serial, |backend, batch| task.compute(model, backend, batch))
                .collect(),
        }
    }
}

/// Groups texts of similar length into batches of at most `max_tokens` tokens, longest first so that the last batch to
/// finish is a short one. A longer text is a batch of its own, and so is one of more than `alone` tokens.
pub(crate) fn batches(tokens: &[Vec<u32>], max_tokens: usize, alone: Option<usize>) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|text| std::cmp::Reverse(tokens[*text].len()));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for text in order {
        let length = tokens[text].len();
        match batches.last_mut() {
            Some(batch) if length <= room => batch.push(text),
            _ => {
                batches.push(vec![text]);
                room =
                    if alone.is_some_and(|alone| length > alone) { length } else { max_tokens.max(length) };
            }
        }
        room -= length;
    }
    batches
}
