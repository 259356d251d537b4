//! From a checkpoint to a [`Transformer`].

use super::{Attention, Core, Embeddings, Layer, SubLayer, Transformer};
use crate::architecture::Rotary;
use crate::architecture::family::{self, Gate, Names, Norms, Projections};
use crate::architecture::{Architecture, LayerAttention, LayerShape, NormKind, Positions};
use crate::compute::{ExpandWeights, LinearWeights, Matrix, NormWeights, Ops};
use crate::error::Result;
use crate::weights::checkpoint::Checkpoint;

impl<O: Ops> Transformer<O> {
    /// Loads the tensors that `architecture` asks for. Others, such as a head's or those of dropped sub-layers, are
    /// left alone.
    ///
    /// # Errors
    ///
    /// A tensor is missing or has another shape, an element type that is not a float, or a value that is not finite; the
    /// checkpoint's adapter has a tensor that the model has no place for.
    pub fn load(ops: &O, architecture: Architecture, checkpoint: &Checkpoint) -> Result<Transformer<O>> {
        checkpoint.check_adapter(&architecture)?;
        let names = &family::by_name(architecture.family).names;
        let mut rotaries: Vec<Rotary> = Vec::new();
        for rotary in architecture.layers.iter().filter_map(|layer| layer.attention?.rotary) {
            if !rotaries.contains(&rotary) {
                rotaries.push(rotary);
            }
        }
        let source = Source::new(checkpoint, names, &architecture, &rotaries);
        let embeddings = source.embeddings(ops)?;
        let layers = architecture.layers.iter().enumerate();
        let layers = layers.map(|(number, shape)| source.layer(ops, number, shape)).collect::<Result<_>>()?;
        let final_norm = source.norm(ops, source.prefix, names.final_norm)?;
        Ok(Transformer { embeddings, layers, final_norm, rotaries, architecture })
    }
}

pub(super) struct Source<'a> {
    checkpoint: &'a Checkpoint,
    names: &'a Names,
    architecture: &'a Architecture,
    rotaries: &'a [Rotary],
    prefix: &'a str,
}

impl<'a> Source<'a> {
    /// For tensors that are named in full, such as those of a head.
    pub(super) fn of_head(checkpoint: &'a Checkpoint, architecture: &'a Architecture) -> Source<'a> {
        Source::new(checkpoint, &family::by_name(architecture.family).names, architecture, &[])
    }

    fn new(
        checkpoint: &'a Checkpoint,
        names: &'a Names,
        architecture: &'a Architecture,
        rotaries: &'a [Rotary],
    ) -> Source<'a> {
        let has_embeddings =
            |prefix: &&str| checkpoint.contains(&format!("{prefix}{}.weight", names.token_embeddings));
        // Without any, the first prefix serves to name the tensor that is missing.
        let prefix = names.prefixes.iter().copied().find(has_embeddings).unwrap_or(names.prefixes[0]);
        Source { checkpoint, names, architecture, rotaries, prefix }
    }

    fn embeddings<O: Ops>(&self, ops: &O) -> Result<Embeddings<O>> {
        let Architecture { hidden_size, vocab_size, positions, embedding_scale, .. } = *self.architecture;
        let table = |name: &str, rows| {
            self.checkpoint.matrix(&format!("{}{name}.weight", self.prefix), rows, hidden_size)
        };
        let mut tokens = table(self.names.token_embeddings, vocab_size)?;
        if embedding_scale != 1.0 {
            tokens.values.to_mut().iter_mut().for_each(|x| *x *= embedding_scale);
        }
        let positions = match (positions, self.names.position_embeddings) {
            (Positions::Learned { table_rows, token_types, .. }, Some(name)) => {
                let positions = table(name, table_rows)?;
                Some(ops.load_table(match self.names.type_embeddings {
                    Some(name) => sums(&table(name, token_types)?, &positions),
                    None => positions,
                })?)
            }
            _ => None,
        };
        Ok(Embeddings {
            tokens: ops.load_table(tokens)?,
            positions,
            norm: self.norm(ops, self.prefix, self.names.embedding_norm)?,
        })
    }

    fn layer<O: Ops>(&self, ops: &O, number: usize, shape: &LayerShape) -> Result<Layer<O>> {
        let prefix = format!("{}{}", self.prefix, self.names.layer.replace("{}", &number.to_string()));
        Ok(Layer {
            attention: shape
                .attention
                .map(|attention| self.attention(ops, &prefix, number, attention))
                .transpose()?,
            mlp: shape.intermediate_size.map(|width| self.mlp(ops, &prefix, width)).transpose()?,
        })
    }

    fn attention<O: Ops>(
        &self,
        ops: &O,
        prefix: &str,
        number: usize,
        attention: LayerAttention,
    ) -> Result<SubLayer<O>> {
        let hidden_size = self.architecture.hidden_size;
        let shape = self.architecture.attention;
        let biases = self.architecture.biases;
        let names = &self.names.attention;
        let query_columns = shape.num_heads * shape.head_dim;
        let key_columns = shape.num_key_value_heads * shape.head_dim;
        let part = |name, rows| self.linear(prefix, name, rows, hidden_size, biases.query_key_value);
        let qkv = match names.projections {
            Projections::Separate { query, key, value } => LinearWeights::stack(vec![
                part(query, query_columns)?,
                part(key, key_columns)?,
                part(value, key_columns)?,
            ]),
            Projections::Joined(name) => part(name, shape.joined_columns())?,
        };
        let head_norm =
            |name: Option<&str>| name.map(|name| self.norm_of(ops, prefix, name, shape.head_dim)).transpose();
        let core = Attention {
            qkv: ops.load_linear(qkv)?,
            query_norm: head_norm(names.query_norm)?,
            key_norm: head_norm(names.key_norm)?,
            shape,
            window: attention.window,
            rotary: attention.rotary.and_then(|rotary| self.rotaries.iter().position(|r| *r == rotary)),
        };
        let output =
            self.linear(prefix, names.output, hidden_size, query_columns, biases.attention_output)?;
        let norms = names.norms_of_layer(number, self.names.first_attention_normed);
        self.sub_layer(ops, prefix, Core::Attention(core), output, &norms)
    }

    fn mlp<O: Ops>(&self, ops: &O, prefix: &str, width: usize) -> Result<SubLayer<O>> {
        let Architecture { hidden_size, biases, activation, .. } = *self.architecture;
        let names = &self.names.mlp;
        let part = |name, rows| self.linear(prefix, name, rows, hidden_size, biases.mlp);
        let (gate, up) = match names.gate {
            Gate::None => (None, part(names.up, width)?),
            Gate::Separate(gate) => (Some(part(gate, width)?), part(names.up, width)?),
            Gate::Joined => {
                let (gate, up) = part(names.up, 2 * width)?.split(width);
                (Some(gate), up)
            }
        };
        let core = Core::Mlp(ops.load_expand(ExpandWeights { gate, up, activation })?);
        let output = self.linear(prefix, names.output, hidden_size, width, biases.mlp)?;
        self.sub_layer(ops, prefix, core, output, &names.norms)
    }

    fn sub_layer<O: Ops>(
        &self,
        ops: &O,
        prefix: &str,
        core: Core<O>,
        output: LinearWeights<'_>,
        norms: &Norms,
    ) -> Result<SubLayer<O>> {
        Ok(SubLayer {
            input_norm: self.norm(ops, prefix, norms.input)?,
            core,
            output: ops.load_linear(output)?,
            output_norm: self.norm(ops, prefix, norms.output)?,
            sum_norm: self.norm(ops, prefix, norms.sum)?,
        })
    }

    pub(super) fn linear(
        &self,
        prefix: &str,
        name: &str,
        rows: usize,
        columns: usize,
        bias: bool,
    ) -> Result<LinearWeights<'a>> {
        let vector = || self.checkpoint.vector(&format!("{prefix}{name}.bias"), rows);
        Ok(LinearWeights {
            weight: self.checkpoint.weight(&format!("{prefix}{name}.weight"), rows, columns)?,
            bias: bias.then(vector).transpose()?,
        })
    }

    fn norm<O: Ops>(&self, ops: &O, prefix: &str, name: Option<&str>) -> Result<Option<O::Norm>> {
        name.map(|name| self.norm_of(ops, prefix, name, self.architecture.hidden_size)).transpose()
    }

    pub(super) fn norm_of<O: Ops>(
        &self,
        ops: &O,
        prefix: &str,
        name: &str,
        length: usize,
    ) -> Result<O::Norm> {
        let eps = self.architecture.norm_eps;
        let vector = |part| self.checkpoint.vector(&format!("{prefix}{name}.{part}"), length);
        let mut weight = vector("weight")?;
        ops.load_norm(match self.architecture.norm {
            NormKind::Layer { bias: true } => NormWeights::Layer { weight, bias: vector("bias")?, eps },
            NormKind::Layer { bias: false } => {
                NormWeights::Layer { weight, bias: vec![0.0; length].into(), eps }
            }
            NormKind::Rms { offset } => {
                weight.to_mut().iter_mut().for_each(|x| *x += offset);
                NormWeights::Rms { weight, eps }
            }
        })
    }
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
