//! Where a model computes.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use crate::compute::candle::Candle;
use crate::compute::cpu::Cpu;
use crate::compute::precision::Precision;
use crate::error::{Error, Result};
use crate::names::UnknownName;

/// Where a model computes. The vectors are the same up to rounding.
///
/// ```
/// use secateur_encoders::Device;
/// assert_eq!("cuda:1".parse(), Ok(Device::Cuda(1)));
/// assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
/// assert_eq!(Device::default().to_string(), "cpu");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor, on the threads of the caller's rayon pool.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number. Needs a build with the feature `cuda`.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(name: &str) -> std::result::Result<Device, UnknownName> {
        let unknown =
            || UnknownName { what: "a device", found: name.to_owned(), expected: &["cpu", "cuda", "cuda:N"] };
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Device::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl Device {
    /// The tokens that are computed together unless the caller says otherwise. On a CPU enough rows for the products to
    /// run at full speed, few enough for the activations of a thread to stay in its cache; a GPU wants more at a time.
    pub(crate) fn batch_tokens(self) -> usize {
        match self {
            Device::Cpu => 512,
            Device::Cuda(_) => 16_384,
        }
    }
}

/// A model loaded for the device it computes on: `F` in fused operations on the CPU, `C` in candle's on a GPU.
pub(crate) enum OnDevice<F, C> {
    Cpu(F),
    Candle(C, Candle),
}

impl<F: Sync, C> OnDevice<F, C> {
    /// Loads a model with the operations of the device.
    pub(crate) fn load(
        device: Device,
        precision: Precision,
        fused: impl FnOnce(&Cpu) -> Result<F>,
        composed: impl FnOnce(&Candle) -> Result<C>,
    ) -> Result<OnDevice<F, C>> {
        match device {
            Device::Cpu => fused(&Cpu::serial().with_precision(precision)).map(OnDevice::Cpu),
            Device::Cuda(number) => {
                let opened = candle_core::Device::new_cuda(number)
                    .map_err(|source| Error::Device { device: device.to_string(), source: source.into() })?;
                let ops = Candle::new(opened).with_precision(precision);
                Ok(OnDevice::Candle(composed(&ops)?, ops))
            }
        }
    }

    /// The results of all batches, in their order, computed by one of two functions that do the same.
    pub(crate) fn run<R: Send>(
        &self,
        batches: &[Vec<usize>],
        fused: impl Fn(&F, &Cpu, &[usize]) -> Result<R> + Sync,
        composed: impl Fn(&C, &Candle, &[usize]) -> Result<R>,
    ) -> Result<Vec<R>> {
        match self {
            OnDevice::Candle(model, ops) => batches.iter().map(|batch| composed(model, ops, batch)).collect(),
            // Whole batches side by side share nothing; with fewer batches than threads the operations are split instead.
            OnDevice::Cpu(model) if batches.len() < rayon::current_num_threads() => {
                let ops = Cpu::parallel();
                batches.iter().map(|batch| fused(model, &ops, batch)).collect()
            }
            OnDevice::Cpu(model) => {
                batches.par_iter().map_init(Cpu::serial, |ops, batch| fused(model, ops, batch)).collect()
            }
        }
    }
}

/// Groups texts of similar length into batches of at most `max_tokens` tokens, longest first so that the last batch to
/// finish is a short one. A longer text is a batch of its own.
pub(crate) fn batches(tokens: &[Vec<u32>], max_tokens: usize) -> Vec<Vec<usize>> {
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
                room = max_tokens.max(length);
            }
        }
        room -= length;
    }
    batches
}
