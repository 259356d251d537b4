//! Whether a GPU computes what the CPU computes.

use secateur_gpu::Gpu;
use serde::Serialize;
use serde_json::{Value, json};

use super::probe_training::{TrainingProbe, probe_training};
use super::random_weights::RandomWeights;
use super::{read, reduced};
use crate::compute::Backend;
use crate::compute::cpu::Cpu;
use crate::compute::cuda::Cuda;
use crate::error::Result;
use crate::model::Transformer;
use crate::pooling::Pooling;
use crate::spans::Spans;

/// A small model on both.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Probe {
    /// Its vectors.
    Vectors(VectorsProbe),
    /// Its training.
    Training(TrainingProbe),
}

impl Probe {
    /// Whether what differs is rounding.
    pub fn passes(&self) -> bool {
        match self {
            Probe::Vectors(probe) => probe.passes(),
            Probe::Training(probe) => probe.passes(),
        }
    }
}

/// The vectors of a small model on both.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct VectorsProbe {
    /// The least cosine of a text's vector to that of the CPU in f32, all texts in one batch.
    pub cosine: f64,
    /// The same of each text alone, to its vector in the batch.
    pub alone: f64,
}

impl VectorsProbe {
    /// Whether both are those of rounding.
    fn passes(&self) -> bool {
        self.cosine >= 0.999 && self.alone >= 0.999
    }
}

/// Lengths below, at and above tiles of 64, and few tokens.
const LENGTHS: [usize; 6] = [5, 1, 64, 14, 130, 33];

/// Every family with heads of different sizes; all operations are in one of them.
fn configs() -> Vec<(String, Value)> {
    let sizes = |heads: usize, head_dim: usize| {
        json!({"vocab_size": 200, "hidden_size": heads * head_dim, "num_attention_heads": heads,
            "num_hidden_layers": 4, "intermediate_size": 1200, "max_position_embeddings": 320, "hidden_act": "gelu",
            "pad_token_id": 0})
    };
    let decoder = |family: &str, head_dim: usize, more: Value| {
        let mut config = sizes(4, head_dim);
        let base = json!({"model_type": family, "num_key_value_heads": 2, "head_dim": head_dim, "hidden_act": "silu",
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0});
        for part in [base, more] {
            for (key, value) in part.as_object().expect("an object") {
                config[key] = value.clone();
            }
        }
        (format!("{family} {head_dim}"), config)
    };
    let bert = |family: &str, heads: usize, head_dim: usize, types: usize| {
        let mut config = sizes(heads, head_dim);
        config["model_type"] = family.into();
        config["type_vocab_size"] = types.into();
        config["layer_norm_eps"] = 1e-12.into();
        config["position_embedding_type"] = "absolute".into();
        (format!("{family} {head_dim}"), config)
    };
    let mut modernbert = sizes(4, 64);
    modernbert.as_object_mut().expect("an object").shift_remove("hidden_act");
    for (key, value) in json!({"model_type": "modernbert", "hidden_activation": "gelu", "norm_eps": 1e-5,
        "norm_bias": false, "attention_bias": false, "mlp_bias": false, "global_attn_every_n_layers": 3,
        "local_attention": 16, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0})
    .as_object()
    .expect("an object")
    {
        modernbert[key] = value.clone();
    }
    vec![
        bert("bert", 12, 32, 2),
        bert("bert", 4, 12, 2),
        bert("xlm-roberta", 4, 64, 1),
        ("modernbert 64".to_owned(), modernbert),
        decoder("mistral", 128, json!({"sliding_window": 16})),
        decoder("mistral", 64, json!({"sliding_window": null})),
        decoder("llama", 80, json!({"attention_bias": false, "mlp_bias": false})),
        decoder(
            "qwen2",
            64,
            json!({"use_sliding_window": false, "sliding_window": null, "max_window_layers": 4}),
        ),
        decoder(
            "qwen3",
            128,
            json!({"attention_bias": false, "use_sliding_window": false, "sliding_window": null,
            "max_window_layers": 4}),
        ),
        decoder(
            "gemma2",
            256,
            json!({"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
            "sliding_window": 16}),
        ),
    ]
}

/// Every family, whole and pruned, on the GPU and on the CPU, and the training of two: those whose names begin with
/// `only`. `report` is told of each as soon as it is known.
///
/// # Errors
///
/// None of its own: a model that fails is reported with its error, and the next goes on.
pub fn probe(gpu: &Gpu, only: &str, report: &mut dyn FnMut(&str, Result<Probe>)) -> Result<()> {
    for (name, config) in configs() {
        for pruned in [false, true] {
            let name = if pruned { format!("{name} pruned") } else { name.clone() };
            if !name.starts_with(only) {
                continue;
            }
            report(&name, of_model(gpu, &name, &config, pruned).map(Probe::Vectors));
        }
        let trained = format!("{name} trained");
        if TRAINED.contains(&&name[..]) && trained.starts_with(only) {
            let probed = read(&name, &config).and_then(|architecture| probe_training(gpu, &architecture));
            report(&trained, probed.map(Probe::Training));
        }
    }
    Ok(())
}

/// With norms before and behind, gated and not, causal and not.
const TRAINED: [&str; 2] = ["bert 32", "mistral 64"];

fn of_model(gpu: &Gpu, name: &str, config: &Value, pruned: bool) -> Result<VectorsProbe> {
    let whole = read(name, config)?;
    let architecture = if pruned { reduced(whole, [2, 1], 0.7)? } else { whole };
    let weights = RandomWeights::new(&architecture, 0.08);
    let (cpu, cuda) = (Cpu::parallel(), Cuda::new(gpu.clone()));
    let want = vectors(&cpu, &Transformer::load(&cpu, architecture.clone(), &weights)?, &LENGTHS, 0)?;
    let model = Transformer::load(&cuda, architecture, &weights)?;
    let together = vectors(&cuda, &model, &LENGTHS, 0)?;
    let mut alone = Vec::new();
    let mut first = 0;
    for length in LENGTHS {
        alone.extend(vectors(&cuda, &model, &[length], first)?);
        first += length;
    }
    let dim = model.architecture().hidden_size;
    Ok(VectorsProbe { cosine: least(&together, &want, dim), alone: least(&alone, &together, dim) })
}

/// Last-token and mean vectors of texts of these lengths, whose ids go on from place `first`: (B, 2, D).
fn vectors<B: Backend>(
    backend: &B,
    model: &Transformer<B>,
    lengths: &[usize],
    first: usize,
) -> Result<Vec<f32>> {
    let spans = Spans::from_lengths(lengths.iter().copied());
    let ids: Vec<u32> =
        (first..first + spans.num_tokens()).map(|place| (3 + place * 31 % 190) as u32).collect();
    let dim = model.architecture().hidden_size;
    let pooled = |pooling| -> Result<Vec<f32>> {
        backend.to_vectors(&model.pooled(backend, &ids, &spans, pooling, 0)?, dim, true)
    };
    let (last, mean) = (pooled(Pooling::LastToken)?, pooled(Pooling::Mean)?);
    Ok(last.chunks_exact(dim).zip(mean.chunks_exact(dim)).flat_map(|(a, b)| [a, b].concat()).collect())
}

/// The least cosine of two vectors of one place; below any if a number is none.
fn least(got: &[f32], want: &[f32], dim: usize) -> f64 {
    let cosine = |(a, b): (&[f32], &[f32])| {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        if cosine.is_nan() { -1.0 } else { cosine }
    };
    got.chunks_exact(dim).zip(want.chunks_exact(dim)).map(cosine).fold(1.0, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One model on the emulator; the others are small models of the integration tests.
    #[test]
    fn a_model_is_probed() {
        let mut probed = Vec::new();
        for only in ["bert 12 pruned", "mistral 64 trained"] {
            probe(&Gpu::emulated(), only, &mut |name, result| {
                let result = result.unwrap();
                assert!(result.passes(), "{result:?}");
                probed.push(name.to_owned());
            })
            .unwrap();
        }
        assert_eq!(probed, ["bert 12 pruned", "mistral 64 trained"]);
    }

    #[test]
    fn all_configurations_are_read() {
        assert!(TRAINED.iter().all(|name| configs().iter().any(|(other, _)| other == name)));
        for (name, config) in configs() {
            reduced(read(&name, &config).unwrap(), [2, 1], 0.7).unwrap();
        }
    }
}
