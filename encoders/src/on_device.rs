//! A model on the device that it computes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use secateur_gpu::Gpu;

use crate::compute::Backend;
use crate::compute::cpu::Cpu;
use crate::compute::cuda::Cuda;
use crate::compute::precision::Precision;
use crate::device::Device;
use crate::error::{BoxedError, Error, Result};
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

    /// How many tokens the text of this number has.
    fn tokens(&self, text: usize) -> usize;

    /// Computes the texts of these numbers.
    fn compute<B: Backend>(&self, model: &M::Model<B>, backend: &B, batch: &[usize]) -> Result<Self::Output>;
}

/// A device that was found, and how it computes.
pub(crate) struct Found {
    pub(crate) device: Device,
    /// How precisely, if the caller left it open.
    pub(crate) precision: Precision,
    gpu: Option<Gpu>,
    /// What it is, and what else was looked for and not found.
    pub(crate) what: String,
}

impl Found {
    /// Opens a device. Unless a precision is asked for, a GPU computes in bf16, which is all that it can, and a CPU in
    /// f32.
    pub(crate) fn open(device: Device, precision: Option<Precision>) -> Result<Found> {
        let cpu = |what: String| Found {
            device: Device::Cpu,
            precision: precision.unwrap_or_default(),
            gpu: None,
            what,
        };
        let of_gpu = |gpu: Gpu, number: usize| Found {
            device: Device::Cuda(number),
            precision: Precision::Bf16,
            what: format!("cuda:{number}, {}", gpu.name()),
            gpu: Some(gpu),
        };
        let unusable = |source: BoxedError| Error::Device { device: device.to_string(), source };
        match (device, precision) {
            (Device::Cpu, _) => Ok(cpu("cpu".to_owned())),
            (Device::Auto, Some(other @ (Precision::F32 | Precision::Int8))) => {
                Ok(cpu(format!("cpu, because GPUs compute in bf16 and {other} was asked for")))
            }
            (Device::Auto, _) => Ok(match Gpu::open(0) {
                Ok(gpu) => of_gpu(gpu, 0),
                Err(error) => cpu(format!("cpu: {error}")),
            }),
            (Device::Cuda(_), Some(other @ (Precision::F32 | Precision::Int8))) => Err(unusable(
                format!("GPUs compute in bf16, and {other} was asked for: give --precision bf16").into(),
            )),
            (Device::Cuda(number), _) => {
                Gpu::open(number).map(|gpu| of_gpu(gpu, number)).map_err(|error| unusable(error.into()))
            }
        }
    }
}

/// A model loaded for the device it computes on.
pub(crate) enum OnDevice<M: HasModel> {
    Cpu(M::Model<Cpu>),
    Cuda(Box<OnGpu<M>>),
}

/// A model on a GPU.
pub(crate) struct OnGpu<M: HasModel> {
    model: M::Model<Cuda>,
    backend: Cuda,
    /// The most tokens that have fitted since memory ran out.
    most_tokens: AtomicUsize,
}

impl<M: HasModel> OnDevice<M> {
    /// Loads a model with the backend of the device.
    pub(crate) fn load(found: Found, loaded: &Loaded) -> Result<OnDevice<M>> {
        match found.gpu {
            None => {
                let backend = Cpu::serial().with_precision(found.precision);
                M::load(&backend, loaded).map(OnDevice::Cpu)
            }
            Some(gpu) => OnDevice::on_gpu(gpu, loaded),
        }
    }

    pub(crate) fn on_gpu(gpu: Gpu, loaded: &Loaded) -> Result<OnDevice<M>> {
        let backend = Cuda::new(gpu);
        let model = M::load(&backend, loaded)?;
        Ok(OnDevice::Cuda(Box::new(OnGpu { model, backend, most_tokens: AtomicUsize::new(usize::MAX) })))
    }

    /// The results of all batches, each with the texts that it is of. A batch for which a GPU has no memory is divided.
    pub(crate) fn run<T: PerBatch<M> + Sync>(
        &self,
        batches: Vec<Vec<usize>>,
        task: &T,
    ) -> Result<Vec<(Vec<usize>, T::Output)>>
    where
        M::Model<Cpu>: Sync,
    {
        match self {
            OnDevice::Cuda(on_gpu) => on_gpu.run(batches, task),
            // Batches on different threads share nothing. If there are fewer batches than threads, the operations are
            // split instead.
            OnDevice::Cpu(model) if batches.len() < rayon::current_num_threads() => {
                let backend = Cpu::parallel();
                let run = |batch: Vec<usize>| {
                    let output = task.compute(model, &backend, &batch)?;
                    Ok((batch, output))
                };
                batches.into_iter().map(run).collect()
            }
            OnDevice::Cpu(model) => batches
                .into_par_iter()
                .map_init(Cpu::serial, |backend, batch| {
                    let output = task.compute(model, backend, &batch)?;
                    Ok((batch, output))
                })
                .collect(),
        }
    }
}

impl<M: HasModel> OnGpu<M> {
    fn run<T: PerBatch<M>>(
        &self,
        batches: Vec<Vec<usize>>,
        task: &T,
    ) -> Result<Vec<(Vec<usize>, T::Output)>> {
        let mut results = Vec::with_capacity(batches.len());
        let mut waiting = VecDeque::from(batches);
        while let Some(mut batch) = waiting.pop_front() {
            let tokens: usize = batch.iter().map(|text| task.tokens(*text)).sum();
            if tokens > self.most_tokens.load(Ordering::Relaxed) && batch.len() > 1 {
                let second = batch.split_off(batch.len().div_ceil(2));
                waiting.push_front(second);
                waiting.push_front(batch);
                continue;
            }
            match task.compute(&self.model, &self.backend, &batch) {
                Ok(output) => results.push((batch, output)),
                Err(Error::Gpu(source)) if source.is_out_of_memory() => match batch[..] {
                    [text] => return Err(Error::TextTooLong { text, tokens, source }),
                    _ => {
                        self.most_tokens.fetch_min(tokens / 2, Ordering::Relaxed);
                        waiting.push_front(batch);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(results)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that is nothing.
    struct Nothing;

    impl HasModel for Nothing {
        type Model<B: Backend> = ();

        fn load<B: Backend>(_: &B, _: &Loaded) -> Result<()> {
            Ok(())
        }
    }

    /// Takes memory for each token, and gives back what it computed.
    struct Hungry {
        lengths: Vec<usize>,
        bytes_of_token: usize,
    }

    impl PerBatch<Nothing> for Hungry {
        type Output = Vec<usize>;

        fn tokens(&self, text: usize) -> usize {
            self.lengths[text]
        }

        fn compute<B: Backend>(&self, _: &(), backend: &B, batch: &[usize]) -> Result<Vec<usize>> {
            let tokens: usize = batch.iter().map(|text| self.lengths[*text]).sum();
            backend.upload(&vec![0.0; tokens * self.bytes_of_token / 4], 1)?;
            Ok(batch.to_vec())
        }
    }

    fn on_gpu(bytes: usize) -> OnGpu<Nothing> {
        let backend = Cuda::new(Gpu::emulated_with(bytes));
        OnGpu { model: (), backend, most_tokens: AtomicUsize::new(usize::MAX) }
    }

    #[test]
    fn a_batch_without_memory_is_divided() {
        let gpu = on_gpu(1 << 20);
        let task = Hungry { lengths: vec![100; 16], bytes_of_token: 1024 };
        let results = gpu.run(vec![(0..16).collect(), vec![3, 4]], &task).unwrap();
        assert!(results.len() > 2 && results.iter().all(|(batch, output)| batch == output));
        let order: Vec<usize> = results.into_iter().flat_map(|(batch, _)| batch).collect();
        assert_eq!(order, (0..16).chain([3, 4]).collect::<Vec<usize>>());
        // What fitted is remembered: the next batch is divided before it is tried.
        assert!(gpu.most_tokens.load(Ordering::Relaxed) <= 1024);
    }

    #[test]
    fn a_text_too_long_for_the_device_is_named() {
        let task = Hungry { lengths: vec![10, 2000, 10], bytes_of_token: 1024 };
        let message = on_gpu(1 << 20).run(vec![vec![1, 0, 2]], &task).unwrap_err().to_string();
        assert!(message.contains("text 2 has 2000 tokens") && message.contains("--max-length"), "{message}");
    }
}
