//! Where a model is trained.

use secateur_gpu::Gpu;
use secateur_gpu::attention::MAX_HEAD_DIM_BACKWARD;

use crate::architecture::Architecture;
use crate::device::Device;
use crate::error::{BoxedError, Error, Result};

/// A device that was found.
pub(super) struct Found {
    pub(super) device: Device,
    /// None for the CPU.
    pub(super) gpu: Option<Gpu>,
    /// The chosen device in words, and the devices that were looked for and not found.
    pub(super) what: String,
}

impl Found {
    /// Opens the device on which a model of this architecture is to be trained.
    pub(super) fn open(device: Device, architecture: &Architecture) -> Result<Found> {
        let unusable = |source: BoxedError| Error::Device { device: device.to_string(), source };
        let cpu = |what: String| Found { device: Device::Cpu, gpu: None, what };
        let large = too_large(architecture);
        match (device, large) {
            (Device::Cpu, _) => Ok(cpu("cpu".to_owned())),
            (Device::AllCuda, _) => {
                Err(unusable("a model is trained on one GPU: name it, as in --device cuda:0".into()))
            }
            (Device::Auto, Some(reason)) => Ok(cpu(format!("cpu: {reason}"))),
            (Device::Auto, None) => Ok(match Gpu::open(0) {
                Ok(gpu) => Found::of_gpu(Device::Cuda(0), gpu),
                Err(error) => cpu(format!("cpu: {error}")),
            }),
            (Device::Cuda(_), Some(reason)) => Err(unusable(reason.into())),
            (Device::Cuda(number), None) => Gpu::open(number)
                .map(|gpu| Found::of_gpu(device, gpu))
                .map_err(|error| unusable(error.into())),
        }
    }

    /// A GPU that is open.
    pub(super) fn of_gpu(device: Device, gpu: Gpu) -> Found {
        Found { device, what: format!("{device}, {}", gpu.name()), gpu: Some(gpu) }
    }
}

/// Why a GPU cannot train a model of this architecture, if it cannot: there is no kernel for the way back through its
/// attention.
fn too_large(architecture: &Architecture) -> Option<String> {
    let head_dim = architecture.attention.head_dim;
    let attends = architecture.layers.iter().any(|layer| layer.attention.is_some());
    (attends && head_dim > MAX_HEAD_DIM_BACKWARD).then(|| {
        format!(
            "GPUs train models with heads of at most {MAX_HEAD_DIM_BACKWARD} numbers, and this one's have {head_dim}"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn architecture(head_dim: usize) -> Architecture {
        let config = serde_json::json!({"model_type": "gemma2", "vocab_size": 20, "hidden_size": 16,
            "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
            "head_dim": head_dim, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256,
            "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 16,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0});
        Architecture::from_config(Path::new("config.json"), &config).unwrap()
    }

    #[test]
    fn heads_without_a_kernel_are_refused_before_anything_is_loaded() {
        let message = Found::open(Device::Cuda(0), &architecture(256)).map(drop).unwrap_err().to_string();
        assert!(message.contains("at most 128 numbers, and this one's have 256"), "{message}");
        assert!(message.contains("--device cpu"), "{message}");
        let found = Found::open(Device::Auto, &architecture(256)).unwrap();
        assert!(found.gpu.is_none() && found.what.contains("have 256"), "{}", found.what);
        assert!(too_large(&architecture(128)).is_none());
    }

    #[test]
    fn a_model_is_trained_on_one_gpu() {
        let message = Found::open(Device::AllCuda, &architecture(64)).map(drop).unwrap_err().to_string();
        assert!(message.contains("cuda:all") && message.contains("--device cuda:0"), "{message}");
    }
}
