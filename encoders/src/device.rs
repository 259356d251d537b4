//! Where a model computes.

use std::fmt;
use std::str::FromStr;

use secateur_files::UnknownName;
use serde::{Deserialize, Serialize};

/// Where a model computes. The vectors are the same up to rounding.
///
/// ```
/// use secateur_encoders::Device;
/// assert_eq!("cuda:1".parse(), Ok(Device::Cuda(1)));
/// assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
/// assert_eq!("cuda:all".parse(), Ok(Device::AllCuda));
/// assert_eq!(Device::default().to_string(), "cpu");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Device {
    /// The processor, on the threads of the caller's rayon pool.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number, in bf16.
    Cuda(usize),
    /// All NVIDIA GPUs. Each has the whole model, and takes the next batch whenever it is free.
    AllCuda,
    /// The first NVIDIA GPU if there is one that can be used, else the processor.
    Auto,
}

impl From<Device> for String {
    fn from(device: Device) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Device, UnknownName> {
        name.parse()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Auto => f.write_str("auto"),
            Device::AllCuda => f.write_str("cuda:all"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Device, UnknownName> {
        let unknown = || UnknownName {
            what: "a device",
            found: name.to_owned(),
            expected: &["auto", "cpu", "cuda", "cuda:N", "cuda:all"],
        };
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "auto" => Ok(Device::Auto),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", "all")) => Ok(Device::AllCuda),
            Some(("cuda", number)) => number.parse().map(Device::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl Device {
    /// How many tokens are computed together, on a CPU in f32. These are enough rows for the products to run at full
    /// speed. They are few enough for a thread's activations to stay in its cache. A GPU needs more at a time: 16,384
    /// tokens of Mistral-7B are 120 ms of an H100, and their activations have 2.2 GB.
    pub(crate) fn batch_tokens(self) -> usize {
        match self {
            Device::Cpu => 512,
            Device::Cuda(_) | Device::AllCuda | Device::Auto => 16_384,
        }
    }
}
