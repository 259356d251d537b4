//! A model on the device that it computes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use secateur_gpu::Gpu;

use crate::architecture::int8;
use crate::compute::Backend;
use crate::compute::cpu::Cpu;
use crate::compute::cpu::idle::Idle;
use crate::compute::cpu::kept_panels::KeptPanels;
use crate::compute::cuda::Cuda;
use crate::compute::precision::Precision;
use crate::device::Device;
use crate::error::{BoxedError, Error, Result};
use crate::load_options::LoadOptions;
use crate::loaded::Loaded;
use crate::text_name::TextName;
use crate::tokenize::Tokenizer;
use crate::weights::model_files::ModelFiles;

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
    /// How precisely.
    pub(crate) precision: Precision,
    /// How precisely the model is computed on a CPU if nobody says otherwise.
    pub(crate) own: Precision,
    /// None for the CPU.
    gpus: Vec<Gpu>,
    /// The chosen device in words, and the devices that were looked for and not found.
    pub(crate) what: String,
}

impl Found {
    /// How many tokens are computed together unless the caller says otherwise.
    pub(crate) fn batch_tokens(&self) -> usize {
        match (self.device, self.precision) {
            // Products take so little time here that activations should lie in the second-level cache. 128 tokens of
            // all-MiniLM-L6-v2 at a time were 1.5 times as fast as 512.
            (Device::Cpu, Precision::Bf16 | Precision::Int8) => 128,
            (device, _) => device.batch_tokens(),
        }
    }

    /// Opens a device for a model. Unless a precision is asked for, a GPU computes in bf16, which is all that it can. A
    /// CPU then computes in 8 bits what is stored in 8 bits, and all else in f32.
    pub(crate) fn open(files: &ModelFiles, options: &LoadOptions) -> Result<Found> {
        let LoadOptions { device, precision, .. } = *options;
        let own = own_precision(files)?;
        let cpu = |what: String| Found {
            device: Device::Cpu,
            precision: precision.unwrap_or(own),
            own,
            gpus: Vec::new(),
            what,
        };
        let of_gpus = |device: Device, gpus: Vec<Gpu>| Found::of_gpus(device, gpus, own);
        let of_gpu = |gpu: Gpu, number: usize| of_gpus(Device::Cuda(number), vec![gpu]);
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
            (Device::Cuda(_) | Device::AllCuda, Some(other @ (Precision::F32 | Precision::Int8))) => {
                Err(unusable(
                    format!("GPUs compute in bf16, and {other} was asked for: give --precision bf16").into(),
                ))
            }
            (Device::AllCuda, _) => {
                Gpu::open_all().map(|gpus| of_gpus(device, gpus)).map_err(|error| unusable(error.into()))
            }
            (Device::Cuda(number), _) => {
                Gpu::open(number).map(|gpu| of_gpu(gpu, number)).map_err(|error| unusable(error.into()))
            }
        }
    }

    /// A GPU that somebody opened.
    #[cfg(feature = "emulate")]
    pub(crate) fn of_gpu(files: &ModelFiles, gpu: Gpu) -> Result<Found> {
        Ok(Found::of_gpus(Device::Cuda(0), vec![gpu], own_precision(files)?))
    }

    fn of_gpus(device: Device, gpus: Vec<Gpu>, own: Precision) -> Found {
        let names: Vec<String> = gpus.iter().map(Gpu::name).collect();
        let what = format!("{device}, {}", names.join(", "));
        Found { device, precision: Precision::Bf16, own, gpus, what }
    }
}

/// How precisely a model is computed on a CPU if nobody says otherwise.
fn own_precision(files: &ModelFiles) -> Result<Precision> {
    Ok(if int8::is_in(&files.config()?) { Precision::Int8 } else { Precision::F32 })
}

/// A model loaded for the device it computes on.
pub(crate) enum OnDevice<M: HasModel> {
    Cpu(OnCpu<M>),
    /// At least one, and a model on each.
    Cuda(Vec<OnGpu<M>>),
}

/// A model on a CPU.
pub(crate) struct OnCpu<M: HasModel> {
    model: M::Model<Cpu>,
    idle: Idle,
}

/// A model on a GPU.
pub(crate) struct OnGpu<M: HasModel> {
    model: M::Model<Cuda>,
    backend: Cuda,
    /// The most tokens that have fitted since memory ran out.
    most_tokens: AtomicUsize,
}

impl<M: HasModel> OnDevice<M> {
    /// Loads a model with the backend of the device, and its tokenizer. Keeps the fingerprint when both were found in
    /// order.
    pub(crate) fn with_tokenizer(found: Found, loaded: &Loaded) -> Result<(OnDevice<M>, Tokenizer)>
    where
        OnDevice<M>: Send,
    {
        let (model, tokenizer) = rayon::join(|| OnDevice::load(found, loaded), || loaded.tokenizer());
        let (model, tokenizer) = (model?, tokenizer?);
        if let Some(place) = &loaded.place {
            place.write();
        }
        Ok((model, tokenizer))
    }

    fn load(found: Found, loaded: &Loaded) -> Result<OnDevice<M>> {
        if found.gpus.is_empty() {
            let place = loaded.place.as_ref().filter(|_| found.precision == Precision::F32);
            let kept = place.map_or_else(KeptPanels::off, |place| KeptPanels::open(&place.panels()));
            let backend = Cpu::serial().with_precision(found.precision).with_kept(kept);
            let model = M::load(&backend, loaded)?;
            backend.finish_kept();
            return Ok(OnDevice::Cpu(OnCpu { model, idle: Idle::of(found.precision) }));
        }
        found.gpus.into_iter().map(|gpu| OnGpu::load(gpu, loaded)).collect::<Result<_>>().map(OnDevice::Cuda)
    }

    /// The result of each text, in the order of the texts. Every text is in one of the batches. What is computed of a
    /// batch is a result for each of its texts, in their order. Otherwise as [`OnDevice::run`].
    pub(crate) fn run_by_text<R: Send, T: PerBatch<M, Output = Vec<R>> + Sync>(
        &self,
        batches: Vec<Vec<usize>>,
        task: &T,
    ) -> Result<Vec<R>>
    where
        M::Model<Cpu>: Sync,
        M::Model<Cuda>: Sync,
    {
        Ok(in_order(self.run(batches, task)?))
    }

    /// The results of all batches, each with the texts that it is of. A batch for which a GPU has no memory is divided.
    /// Several GPUs take the next batch each, whenever they are free.
    pub(crate) fn run<T: PerBatch<M> + Sync>(
        &self,
        batches: Vec<Vec<usize>>,
        task: &T,
    ) -> Result<Vec<(Vec<usize>, T::Output)>>
    where
        M::Model<Cpu>: Sync,
        M::Model<Cuda>: Sync,
    {
        match self {
            OnDevice::Cuda(gpus) => on_gpus(gpus, batches, task),
            // Batches on different threads share nothing. If there are fewer batches than threads, the operations are
            // split instead. A query is one batch.
            OnDevice::Cpu(OnCpu { model, idle }) if batches.len() < rayon::current_num_threads().max(2) => {
                let backend = idle.take(rayon::current_num_threads() > 1);
                let run = |batch: Vec<usize>| {
                    let output = task.compute(model, &backend, &batch)?;
                    Ok((batch, output))
                };
                batches.into_iter().map(run).collect()
            }
            OnDevice::Cpu(OnCpu { model, idle }) => batches
                .into_par_iter()
                .with_max_len(1)
                .map_init(
                    || idle.take(false),
                    |backend, batch| {
                        let output = task.compute(model, &**backend, &batch)?;
                        Ok((batch, output))
                    },
                )
                .collect(),
        }
    }
}

/// The results of texts by their numbers.
fn in_order<R>(batches: Vec<(Vec<usize>, Vec<R>)>) -> Vec<R> {
    let by_text = batches.into_iter().flat_map(|(batch, results)| batch.into_iter().zip(results));
    let mut by_text: Vec<(usize, R)> = by_text.collect();
    by_text.sort_unstable_by_key(|(text, _)| *text);
    by_text.into_iter().map(|(_, result)| result).collect()
}

/// Batches that no GPU has taken yet.
struct Waiting(Mutex<VecDeque<Vec<usize>>>);

impl Waiting {
    /// Nobody panics while it is held.
    fn change<T>(&self, change: impl FnOnce(&mut VecDeque<Vec<usize>>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn on_gpus<M: HasModel, T: PerBatch<M> + Sync>(
    gpus: &[OnGpu<M>],
    batches: Vec<Vec<usize>>,
    task: &T,
) -> Result<Vec<(Vec<usize>, T::Output)>>
where
    M::Model<Cuda>: Sync,
{
    let waiting = Waiting(Mutex::new(batches.into()));
    let results: Result<Vec<_>> = gpus
        .par_iter()
        .with_max_len(1)
        .map(|gpu| {
            // What is left is nobody's business once one GPU has failed.
            gpu.run(&waiting, task).inspect_err(|_| waiting.change(VecDeque::clear))
        })
        .collect();
    Ok(results?.into_iter().flatten().collect())
}

impl<M: HasModel> OnGpu<M> {
    fn load(gpu: Gpu, loaded: &Loaded) -> Result<OnGpu<M>> {
        let backend = Cuda::new(gpu);
        let model = M::load(&backend, loaded)?;
        Ok(OnGpu { model, backend, most_tokens: AtomicUsize::new(usize::MAX) })
    }

    /// Computes what waits until nothing does.
    fn run<T: PerBatch<M>>(&self, waiting: &Waiting, task: &T) -> Result<Vec<(Vec<usize>, T::Output)>> {
        let mut results = Vec::new();
        while let Some(mut batch) = waiting.change(VecDeque::pop_front) {
            let tokens: usize = batch.iter().map(|text| task.tokens(*text)).sum();
            if tokens > self.most_tokens.load(Ordering::Relaxed) && batch.len() > 1 {
                let second = batch.split_off(batch.len().div_ceil(2));
                waiting.change(|waiting| {
                    waiting.push_front(second);
                    waiting.push_front(batch);
                });
                continue;
            }
            match task.compute(&self.model, &self.backend, &batch) {
                Ok(output) => results.push((batch, output)),
                Err(Error::Gpu(source)) if source.is_out_of_memory() => match batch[..] {
                    [text] => {
                        return Err(Error::TextTooLong { text: TextName::Place(text), tokens, source });
                    }
                    _ => {
                        self.most_tokens.fetch_min(tokens / 2, Ordering::Relaxed);
                        waiting.change(|waiting| waiting.push_front(batch));
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
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread::ThreadId;

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

    /// What is computed of a text is its number, on a CPU with few batches or many, and on a GPU that divides them.
    #[test]
    fn results_are_in_the_order_of_the_texts() {
        let task = Hungry { lengths: vec![100; 16], bytes_of_token: 1024 };
        let gpu = OnDevice::Cuda(vec![on_gpu(1 << 20)]);
        for model in [OnDevice::<Nothing>::Cpu(OnCpu { model: (), idle: Idle::of(Precision::F32) }), gpu] {
            for batches in [vec![(0..16).rev().collect()], (0..16).rev().map(|text| vec![text]).collect()] {
                let results = model.run_by_text(batches, &task).unwrap();
                assert_eq!(results, (0..16).collect::<Vec<usize>>());
            }
        }
        assert_eq!(in_order::<u8>(Vec::new()), [0u8; 0]);
    }

    #[test]
    fn a_batch_without_memory_is_divided() {
        let gpu = on_gpu(1 << 20);
        let task = Hungry { lengths: vec![100; 16], bytes_of_token: 1024 };
        let results =
            on_gpus(std::slice::from_ref(&gpu), vec![(0..16).collect(), vec![3, 4]], &task).unwrap();
        assert!(results.len() > 2 && results.iter().all(|(batch, output)| batch == output));
        let order: Vec<usize> = results.into_iter().flat_map(|(batch, _)| batch).collect();
        assert_eq!(order, (0..16).chain([3, 4]).collect::<Vec<usize>>());
        // What fitted is remembered: the next batch is divided before it is tried.
        assert!(gpu.most_tokens.load(Ordering::Relaxed) <= 1024);
    }

    #[test]
    fn a_text_too_long_for_the_device_is_named() {
        let task = Hungry { lengths: vec![10, 2000, 10], bytes_of_token: 1024 };
        for gpus in [1, 3] {
            let gpus: Vec<_> = (0..gpus).map(|_| on_gpu(1 << 20)).collect();
            let message = on_gpus(&gpus, vec![vec![1, 0, 2]], &task).map(drop).unwrap_err().to_string();
            let says = message.contains("text 2 has 2000 tokens") && message.contains("--max-length");
            assert!(says, "{message}");
        }
    }

    /// Waits for the other GPU before it computes its first batch.
    struct Together {
        barrier: Barrier,
        waited: Mutex<HashSet<ThreadId>>,
    }

    impl PerBatch<Nothing> for Together {
        type Output = ThreadId;

        fn tokens(&self, _: usize) -> usize {
            1
        }

        fn compute<B: Backend>(&self, _: &(), _: &B, _: &[usize]) -> Result<ThreadId> {
            let thread = std::thread::current().id();
            if self.waited.lock().unwrap().insert(thread) {
                self.barrier.wait();
            }
            Ok(thread)
        }
    }

    #[test]
    fn several_gpus_share_the_batches() {
        let gpus = [on_gpu(1 << 20), on_gpu(1 << 20)];
        let task = Together { barrier: Barrier::new(2), waited: Mutex::default() };
        let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let batches = (0..40).map(|text| vec![text]).collect();
        let results = threads.install(|| on_gpus(&gpus, batches, &task)).unwrap();
        let mut texts: Vec<usize> = results.iter().flat_map(|(batch, _)| batch).copied().collect();
        texts.sort_unstable();
        assert_eq!(texts, (0..40).collect::<Vec<usize>>());
        let workers: HashSet<ThreadId> = results.iter().map(|(_, thread)| *thread).collect();
        assert_eq!(workers.len(), 2, "each GPU computed something");
    }
}
