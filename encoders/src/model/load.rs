//! From tensors to a [`Transformer`].

use std::sync::Mutex;

use rayon::prelude::*;
use safetensors::Dtype;

use super::{Attention, Core, Embeddings, Layer, SubLayer, Transformer};
use crate::architecture::modules::{Module, Role};
use crate::architecture::{self, Architecture, LayerAttention, LinearInput, NormKind, Rotary};
use crate::compute::{Backend, GateUpWeights, HalfRows, NormWeights, Weight};
use crate::error::Result;
use crate::weights::mapped::MappedTable;
use crate::weights::matrix::{LinearWeights, Matrix};
use crate::weights::tensors::Tensors;

impl<B: Backend> Transformer<B> {
    /// Loads the tensors that `architecture` uses. Other tensors, such as heads or those of dropped sub-layers, are
    /// not read.
    ///
    /// # Errors
    ///
    /// A tensor is missing or has another shape, an element type that is not a float, or a value that is not finite.
    pub fn load(backend: &B, architecture: Architecture, tensors: &dyn Tensors) -> Result<Transformer<B>> {
        let mut rotaries: Vec<Rotary> = Vec::new();
        for rotary in architecture.layers.iter().filter_map(|layer| layer.attention.as_ref()?.rotary.as_ref())
        {
            if !rotaries.contains(rotary) {
                rotaries.push(rotary.clone());
            }
        }
        let (mut outer, mut by_layer) = (Vec::new(), vec![Vec::new(); architecture.layers.len()]);
        for module in architecture.modules() {
            match module.layer {
                Some(layer) => by_layer[layer].push(module),
                None => outer.push(module),
            }
        }
        let has_embeddings = |prefix: &&str| {
            let name = &outer[0].name;
            tensors.contains(&format!("{prefix}{name}.weight"))
        };
        // Without any, the first prefix serves to name the tensor that is missing.
        let prefixes = architecture.prefixes();
        let prefix = prefixes.iter().copied().find(has_embeddings).unwrap_or(prefixes[0]);
        let half = backend.takes_half();
        let source = |modules| LayerTensors { tensors, architecture: &architecture, prefix, modules, half };
        let embeddings = source(&outer[..]).embeddings(backend)?;
        let shapes = by_layer.iter().zip(&architecture.layers).enumerate();
        let layers = shapes.map(|(number, (modules, shape))| -> Result<Layer<B>> {
            let source = source(&modules[..]);
            let layer = Layer {
                attention: shape
                    .attention
                    .as_ref()
                    .map(|of| source.attention(backend, number, of, &rotaries))
                    .transpose()?,
                mlp: shape.intermediate_size.map(|width| source.mlp(backend, width)).transpose()?,
            };
            modules.iter().for_each(|module| tensors.release(&format!("{prefix}{}.weight", module.name)));
            Ok(layer)
        });
        let layers = layers.collect::<Result<_>>()?;
        let final_norm = source(&outer[..]).norm(backend, Role::FinalNorm)?;
        let rotations = rotaries.iter().map(|_| Mutex::default()).collect();
        let prompt = Mutex::default();
        Ok(Transformer { embeddings, layers, final_norm, rotaries, rotations, prompt, architecture })
    }
}

/// The modules of a layer, or of what is outside of the layers, and where their tensors come from.
struct LayerTensors<'a> {
    tensors: &'a dyn Tensors,
    architecture: &'a Architecture,
    prefix: &'a str,
    modules: &'a [Module],
    /// Whether weights that are stored in bf16 stay so.
    half: bool,
}

impl<'a> LayerTensors<'a> {
    fn module(&self, role: Role) -> Option<&'a Module> {
        self.modules.iter().find(|module| module.role == role)
    }

    fn table(&self, role: Role) -> Result<Option<Matrix<'a>>> {
        let Some(Module { name, shape, .. }) = self.module(role) else { return Ok(None) };
        self.tensors.matrix(&format!("{}{name}.weight", self.prefix), shape[0], shape[1]).map(Some)
    }

    /// The table where its file is mapped.
    fn mapped_table(&self, role: Role) -> Result<Option<MappedTable>> {
        let Some(Module { name, shape, .. }) = self.module(role) else { return Ok(None) };
        self.tensors.mapped(&format!("{}{name}.weight", self.prefix), shape[0], shape[1])
    }

    fn tokens<B: Backend>(&self, backend: &B) -> Result<B::Table> {
        let scale = self.architecture.embedding_scale;
        let every = "every model has token embeddings";
        if scale == 1.0 {
            let Module { name, shape, .. } = self.module(Role::TokenEmbeddings).expect(every);
            let name = format!("{}{name}.weight", self.prefix);
            let stored = self.half.then(|| half(self.tensors, &name, [shape[0], shape[1]])).flatten();
            if let Some(rows) = stored {
                return backend.load_half_table(rows);
            }
            if let Some(table) = self.mapped_table(Role::TokenEmbeddings)? {
                return backend.load_mapped_table(&table);
            }
        }
        let mut tokens = self.table(Role::TokenEmbeddings)?.expect(every);
        if scale != 1.0 {
            tokens.values.to_mut().iter_mut().for_each(|x| *x *= scale);
        }
        backend.load_table(tokens)
    }

    fn embeddings<B: Backend>(&self, backend: &B) -> Result<Embeddings<B>> {
        let positions = match self.table(Role::PositionEmbeddings)? {
            Some(positions) => Some(backend.load_table(match self.table(Role::TypeEmbeddings)? {
                Some(types) => sums(&types, &positions),
                None => positions,
            })?),
            None => None,
        };
        Ok(Embeddings {
            tokens: self.tokens(backend)?,
            positions,
            norm: self.norm(backend, Role::EmbeddingNorm)?,
        })
    }

    fn attention<B: Backend>(
        &self,
        backend: &B,
        layer: usize,
        attention: &LayerAttention,
        rotaries: &[Rotary],
    ) -> Result<SubLayer<B>> {
        let mut projections = self.linears(LinearInput::QueryKeyValue)?;
        let qkv = match projections.len() {
            1 => projections.remove(0),
            _ => LinearWeights::stack(projections),
        };
        let core = Attention {
            layer,
            qkv: backend.load_linear(qkv)?,
            query_norm: self.norm(backend, Role::QueryNorm)?,
            key_norm: self.norm(backend, Role::KeyNorm)?,
            shape: self.architecture.attention,
            window: attention.window,
            rotary: attention.rotary.as_ref().and_then(|rotary| rotaries.iter().position(|r| r == rotary)),
        };
        let output = self.linear(Role::AttentionOutput)?;
        self.sub_layer(backend, architecture::SubLayer::Attention, Core::Attention(core), output)
    }

    fn mlp<B: Backend>(&self, backend: &B, width: usize) -> Result<SubLayer<B>> {
        let (gate, up) = if self.module(Role::GateUp).is_some() {
            let (gate, up) = self.linear(Role::GateUp)?.split(width);
            (Some(gate), up)
        } else {
            let gate = self.module(Role::Gate).map(|_| self.linear(Role::Gate)).transpose()?;
            (gate, self.linear(Role::Up)?)
        };
        let activation = self.architecture.activation;
        let core = Core::Mlp(backend.load_gate_up(GateUpWeights { gate, up, activation })?);
        let output = self.linear(Role::MlpOutput)?;
        self.sub_layer(backend, architecture::SubLayer::Mlp, core, output)
    }

    fn sub_layer<B: Backend>(
        &self,
        backend: &B,
        kind: architecture::SubLayer,
        core: Core<B>,
        output: LinearWeights<'_>,
    ) -> Result<SubLayer<B>> {
        Ok(SubLayer {
            input_norm: self.norm(backend, Role::InputNorm(kind))?,
            core,
            output: backend.load_linear(output)?,
            output_norm: self.norm(backend, Role::OutputNorm(kind))?,
            sum_norm: self.norm(backend, Role::SumNorm(kind))?,
        })
    }

    /// Those that read this, in their order.
    fn linears(&self, input: LinearInput) -> Result<Vec<LinearWeights<'a>>> {
        let modules = self.modules.iter().filter(|module| module.role.input() == Some(input));
        modules.map(|module| self.linear_of(module)).collect()
    }

    fn linear(&self, role: Role) -> Result<LinearWeights<'a>> {
        self.linear_of(self.module(role).expect("the sub-layer has its linear layers"))
    }

    fn linear_of(&self, Module { name, shape, has_bias, .. }: &Module) -> Result<LinearWeights<'a>> {
        linear((self.tensors, self.half), &format!("{}{name}", self.prefix), [shape[0], shape[1]], *has_bias)
    }

    fn norm<B: Backend>(&self, backend: &B, role: Role) -> Result<Option<B::Norm>> {
        let Some(Module { name, shape, .. }) = self.module(role) else { return Ok(None) };
        norm(backend, self.tensors, self.architecture, &format!("{}{name}", self.prefix), shape[0]).map(Some)
    }
}

/// A matrix as it lies in a file, if it lies there in bf16, has this shape and is finite. What is wrong with another is
/// said when it is read in f32.
fn half<'a>(tensors: &'a dyn Tensors, name: &str, shape: [usize; 2]) -> Option<HalfRows<'a>> {
    let stored = tensors.stored(name)?;
    // A bf16 whose exponent is all ones is infinite or no number.
    let finite =
        |bytes: &[u8]| bytes.chunks_exact(2).all(|pair| pair[1] & 0x7f != 0x7f || pair[0] & 0x80 == 0);
    let whole = stored.dtype == Dtype::BF16 && stored.shape == shape;
    let finite = whole && stored.bytes.par_chunks(1 << 20).all(finite);
    finite.then(|| HalfRows { bytes: stored.bytes.into(), rows: shape[0], columns: shape[1] })
}

/// The linear layer of this name; in bf16 if it is wanted so and stored so.
pub(super) fn linear<'a>(
    (tensors, in_half): (&'a dyn Tensors, bool),
    name: &str,
    [rows, columns]: [usize; 2],
    has_bias: bool,
) -> Result<LinearWeights<'a>> {
    let bias = || tensors.vector(&format!("{name}.bias"), rows);
    let weight = format!("{name}.weight");
    let stored = match in_half && !tensors.is_quantized() {
        true => half(tensors, &weight, [rows, columns]),
        false => None,
    };
    Ok(LinearWeights {
        weight: match stored {
            Some(stored) => Weight::Half(vec![stored]),
            None => tensors.weight(&weight, rows, columns)?,
        },
        bias: has_bias.then(bias).transpose()?,
    })
}

/// The norm of this name, of the kind that the architecture has.
pub(super) fn norm<B: Backend>(
    backend: &B,
    tensors: &dyn Tensors,
    architecture: &Architecture,
    name: &str,
    length: usize,
) -> Result<B::Norm> {
    let eps = architecture.norm_eps;
    let vector = |part| tensors.vector(&format!("{name}.{part}"), length);
    let mut weight = vector("weight")?;
    backend.load_norm(match architecture.norm {
        NormKind::Layer { bias: true } => NormWeights::Layer { weight, bias: vector("bias")?, eps },
        NormKind::Layer { bias: false } => NormWeights::Layer { weight, bias: vec![0.0; length].into(), eps },
        NormKind::Rms { offset } => {
            weight.to_mut().iter_mut().for_each(|x| *x += offset);
            NormWeights::Rms { weight, eps }
        }
    })
}

/// The sum of each type's embedding (K, D) and each position's (P, D): (K P, D), the positions of the first type first.
fn sums(types: &Matrix<'_>, positions: &Matrix<'_>) -> Matrix<'static> {
    let columns = positions.columns;
    let rows = types.rows * positions.rows;
    let mut values = Vec::with_capacity(rows * columns);
    for of_type in types.values.chunks_exact(columns) {
        for position in positions.values.chunks_exact(columns) {
            values.extend(position.iter().zip(of_type).map(|(x, y)| x + y));
        }
    }
    Matrix { values: values.into(), rows, columns }
}
