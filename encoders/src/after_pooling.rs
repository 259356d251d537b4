//! What sentence-transformers does with a pooled vector: Dense and LayerNorm modules, with weights of their own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json;
use crate::keys::check;
use crate::pooling::normalize;
use crate::sentence_keys::{DENSE, LAYER_NORM};
use crate::weights::checkpoint::Checkpoint;
use crate::weights::model_files::{ModelFiles, Module};
use crate::weights::tensors::Tensors;

/// A module behind the pooling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterPooling {
    /// A linear layer and a function.
    Dense {
        /// Its folder.
        folder: String,
        /// Numbers it reads.
        inputs: usize,
        /// Numbers it gives.
        outputs: usize,
        /// Whether it adds a bias.
        bias: bool,
        /// What is done with each sum.
        activation: DenseActivation,
        /// Whether its input is added to the result.
        residual: bool,
    },
    /// A norm with scales and biases.
    LayerNorm {
        /// Its folder.
        folder: String,
        /// Numbers it reads and gives.
        dim: usize,
    },
    /// Vectors are scaled to length 1, and something else follows.
    Normalize,
}

/// The function of a Dense module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenseActivation {
    /// x
    Identity,
    /// tanh x
    Tanh,
    /// max(x, 0)
    Relu,
    /// x times the normal distribution function
    Gelu,
    /// The logistic function.
    Sigmoid,
    /// x times the logistic function
    Silu,
}

/// The config.json of a Dense.
#[derive(Deserialize)]
struct Dense {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

fn yes() -> bool {
    true
}

/// The config.json of a LayerNorm.
#[derive(Deserialize)]
struct LayerNorm {
    dimension: usize,
}

impl AfterPooling {
    /// Reads the configuration of a Dense or a LayerNorm that reads vectors of `dim` numbers.
    pub(crate) fn read(files: &ModelFiles, module: &Module, dim: usize) -> Result<AfterPooling> {
        let folder = module.folder().to_owned();
        let file = format!("{folder}/config.json");
        let path = files.path(&file);
        let object: Map<String, Value> = files.required_json(&file)?;
        let is_dense = module.name() == "Dense";
        check(&path, "", &object, &[if is_dense { &DENSE } else { &LAYER_NORM }])?;
        let value = Value::Object(object);
        let read = if is_dense {
            let dense: Dense = json::of_value(&path, value)?;
            let name = dense.activation_function.as_deref();
            let activation = match name.map(|name| name.rsplit('.').next().unwrap_or(name)) {
                _ if name.is_some_and(|name| !name.starts_with("torch.")) => None,
                None | Some("Tanh") => Some(DenseActivation::Tanh),
                Some("Identity") => Some(DenseActivation::Identity),
                Some("ReLU") => Some(DenseActivation::Relu),
                Some("GELU") => Some(DenseActivation::Gelu),
                Some("Sigmoid") => Some(DenseActivation::Sigmoid),
                Some("SiLU") => Some(DenseActivation::Silu),
                Some(_) => None,
            };
            let activation = activation.ok_or_else(|| Error::InvalidField {
                path: path.clone(),
                field: "activation_function".to_owned(),
                found: format!("{:?}", name.unwrap_or_default()),
                expected: "Identity, Tanh, ReLU, GELU, Sigmoid or SiLU of torch.nn".to_owned(),
            })?;
            let Dense { in_features: inputs, out_features: outputs, bias, use_residual: residual, .. } =
                dense;
            AfterPooling::Dense { folder, inputs, outputs, bias, activation, residual }
        } else {
            let LayerNorm { dimension } = json::of_value(&path, value)?;
            AfterPooling::LayerNorm { folder, dim: dimension }
        };
        let (field, found) = match &read {
            AfterPooling::Dense { inputs, .. } => ("in_features", *inputs),
            AfterPooling::LayerNorm { dim, .. } => ("dimension", *dim),
            AfterPooling::Normalize => return Ok(read),
        };
        if found != dim {
            return Err(Error::InvalidField {
                path,
                field: field.to_owned(),
                found: found.to_string(),
                expected: format!("{dim}, the numbers of what comes before"),
            });
        }
        Ok(read)
    }

    /// Numbers of the vectors that come out, of those that go in.
    pub(crate) fn outputs(&self, inputs: usize) -> usize {
        match self {
            AfterPooling::Dense { outputs, .. } => *outputs,
            AfterPooling::LayerNorm { .. } | AfterPooling::Normalize => inputs,
        }
    }
}

/// The modules with their weights.
#[derive(Default)]
pub(crate) struct Finish {
    steps: Vec<Step>,
    checkpoints: Vec<Checkpoint>,
}

enum Step {
    Dense {
        /// (outputs, inputs)
        weight: Vec<f32>,
        bias: Vec<f32>,
        activation: DenseActivation,
        residual: Residual,
    },
    Norm {
        weight: Vec<f32>,
        bias: Vec<f32>,
    },
    Normalize,
}

enum Residual {
    None,
    /// The input as it is.
    Input,
    /// (outputs, inputs)
    Projected(Vec<f32>),
}

impl Finish {
    /// Whether there is nothing after pooling.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(crate) fn load(files: &ModelFiles, modules: &[AfterPooling]) -> Result<Finish> {
        let mut finish = Finish::default();
        for module in modules {
            let step = match module {
                AfterPooling::Normalize => Step::Normalize,
                AfterPooling::Dense { folder, inputs, outputs, bias, activation, residual } => {
                    let file = Checkpoint::new(files.module_shards(folder)?);
                    let matrix = |name: &str| -> Result<Vec<f32>> {
                        Ok(file.matrix(name, *outputs, *inputs)?.values.into_owned())
                    };
                    let step = Step::Dense {
                        weight: matrix("linear.weight")?,
                        bias: match bias {
                            true => file.vector("linear.bias", *outputs)?.into_owned(),
                            false => vec![0.0; *outputs],
                        },
                        activation: *activation,
                        residual: match (residual, inputs == outputs) {
                            (false, _) => Residual::None,
                            (true, true) => Residual::Input,
                            (true, false) => Residual::Projected(matrix("residual.weight")?),
                        },
                    };
                    finish.checkpoints.push(file);
                    step
                }
                AfterPooling::LayerNorm { folder, dim } => {
                    let file = Checkpoint::new(files.module_shards(folder)?);
                    let vector =
                        |name: &str| -> Result<Vec<f32>> { Ok(file.vector(name, *dim)?.into_owned()) };
                    let step = Step::Norm { weight: vector("norm.weight")?, bias: vector("norm.bias")? };
                    finish.checkpoints.push(file);
                    step
                }
            };
            finish.steps.push(step);
        }
        Ok(finish)
    }

    /// The files of the weights.
    pub(crate) fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// Vectors (B, `dim`) as they leave the last module, and how many numbers each then has.
    pub(crate) fn apply(&self, mut vectors: Vec<f32>, mut dim: usize) -> (Vec<f32>, usize) {
        for step in &self.steps {
            match step {
                Step::Normalize => normalize(&mut vectors, dim),
                Step::Norm { weight, bias } => {
                    vectors.chunks_exact_mut(dim).for_each(|vector| layer_norm(vector, weight, bias));
                }
                Step::Dense { weight, bias, activation, residual } => {
                    let outputs = bias.len();
                    let mut next = Vec::with_capacity(vectors.len() / dim * outputs);
                    for vector in vectors.chunks_exact(dim) {
                        for (output, (row, bias)) in weight.chunks_exact(dim).zip(bias).enumerate() {
                            let added = match residual {
                                Residual::None => 0.0,
                                Residual::Input => vector[output],
                                Residual::Projected(matrix) => {
                                    dot(&matrix[output * dim..(output + 1) * dim], vector)
                                }
                            };
                            next.push(activation.apply(dot(row, vector) + bias) + added);
                        }
                    }
                    (vectors, dim) = (next, outputs);
                }
            }
        }
        (vectors, dim)
    }
}

/// In f64, so that the order of a sum is of no account.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>() as f32
}

/// As torch.nn.LayerNorm, whose eps is 1e-5 unless it is told otherwise, which the module does not.
fn layer_norm(vector: &mut [f32], weight: &[f32], bias: &[f32]) {
    const EPS: f64 = 1e-5;
    let count = vector.len() as f64;
    let mean = vector.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = vector.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + EPS).sqrt();
    for ((x, weight), bias) in vector.iter_mut().zip(weight).zip(bias) {
        *x = ((f64::from(*x) - mean) * scale) as f32 * weight + bias;
    }
}

impl DenseActivation {
    fn apply(self, x: f32) -> f32 {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            DenseActivation::Identity => x,
            DenseActivation::Tanh => f64::from(x).tanh() as f32,
            DenseActivation::Relu => x.max(0.0),
            DenseActivation::Gelu => {
                let x = f64::from(x);
                (0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))) as f32
            }
            DenseActivation::Sigmoid => logistic(f64::from(x)) as f32,
            DenseActivation::Silu => (f64::from(x) * logistic(f64::from(x))) as f32,
        }
    }
}

/// The error function by its Maclaurin series, which is accurate to 1e-12 for |x| < 4; beyond it is 1 to 2e-8.
fn erf(x: f64) -> f64 {
    if x.abs() >= 4.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 {
        n += 1.0;
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}
