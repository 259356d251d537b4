//! From a checkpoint to a [`Transformer`].

use super::architecture::{Architecture, LayerShape, Positions};
use super::family::{self, Names};
use super::{Attention, Embeddings, Layer, Mlp, Transformer};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::ops::{LinearWeights, NormWeights, Ops};

impl<O: Ops> Transformer<O> {
    /// Loads the tensors that `architecture` asks for. Others, such as a head's or those of dropped sub-layers, are
    /// left alone.
    ///
    /// # Errors
    ///
    /// A tensor is missing or has another shape, an element type that is not a float, or a value that is not finite.
    pub fn load(ops: &O, architecture: Architecture, checkpoint: &Checkpoint) -> Result<Transformer<O>> {
        let names = &family::by_name(architecture.family).names;
        let source = Source::new(checkpoint, names, &architecture);
        let embeddings = source.embeddings(ops)?;
        let layers = architecture
            .layers
            .iter()
            .enumerate()
            .map(|(number, shape)| source.layer(ops, number, shape))
            .collect::<Result<_>>()?;
        Ok(Transformer { architecture, embeddings, layers })
    }
}

struct Source<'a> {
    checkpoint: &'a Checkpoint,
    names: &'a Names,
    architecture: &'a Architecture,
    prefix: &'a str,
}

impl<'a> Source<'a> {
    fn new(checkpoint: &'a Checkpoint, names: &'a Names, architecture: &'a Architecture) -> Source<'a> {
        let has_embeddings =
            |prefix: &&str| checkpoint.contains(&format!("{prefix}{}.weight", names.token_embeddings));
        // Without any, the first prefix serves to name the tensor that is missing.
        let prefix = names.prefixes.iter().copied().find(has_embeddings).unwrap_or(names.prefixes[0]);
        Source { checkpoint, names, architecture, prefix }
    }

    fn embeddings<O: Ops>(&self, ops: &O) -> Result<Embeddings<O>> {
        let Architecture { hidden_size, vocab_size, positions, .. } = *self.architecture;
        let Positions::Learned { table_rows, .. } = positions;
        let table = |name: &str, rows| {
            self.checkpoint.matrix(&format!("{}{name}.weight", self.prefix), rows, hidden_size)
        };
        let mut positions = table(self.names.position_embeddings, table_rows)?;
        let types = table(self.names.type_embeddings, self.type_vocab_size())?;
        for row in positions.values.to_mut().chunks_exact_mut(hidden_size) {
            for (x, of_type) in row.iter_mut().zip(types.values.iter()) {
                *x += of_type;
            }
        }
        Ok(Embeddings {
            tokens: ops.load_table(table(self.names.token_embeddings, vocab_size)?)?,
            positions: ops.load_table(positions)?,
            norm: self.norm(ops, self.prefix, self.names.embedding_norm)?,
        })
    }

    /// Rows of the table of token types: only the first is used, so the table's own size is taken.
    fn type_vocab_size(&self) -> usize {
        let name = format!("{}{}.weight", self.prefix, self.names.type_embeddings);
        self.checkpoint.iter().find(|tensor| tensor.name == name).map_or(1, |tensor| tensor.shape[0])
    }

    fn layer<O: Ops>(&self, ops: &O, number: usize, shape: &LayerShape) -> Result<Layer<O>> {
        let prefix = format!("{}{}", self.prefix, self.names.layer.replace("{}", &number.to_string()));
        Ok(Layer {
            attention: shape.attention.then(|| self.attention(ops, &prefix)).transpose()?,
            mlp: shape.intermediate_size.map(|width| self.mlp(ops, &prefix, width)).transpose()?,
        })
    }

    fn attention<O: Ops>(&self, ops: &O, prefix: &str) -> Result<Attention<O>> {
        let hidden_size = self.architecture.hidden_size;
        let shape = &self.architecture.attention;
        let query_columns = shape.num_heads * shape.head_dim;
        let key_columns = shape.num_key_value_heads * shape.head_dim;
        let part = |name: &str, rows| self.linear(prefix, name, rows, hidden_size);
        let qkv = LinearWeights::stack(vec![
            part(self.names.query, query_columns)?,
            part(self.names.key, key_columns)?,
            part(self.names.value, key_columns)?,
        ]);
        Ok(Attention {
            qkv: ops.load_linear(qkv)?,
            output: ops.load_linear(self.linear(
                prefix,
                self.names.attention_output,
                hidden_size,
                query_columns,
            )?)?,
            norm: self.norm(ops, prefix, self.names.attention_norm)?,
        })
    }

    fn mlp<O: Ops>(&self, ops: &O, prefix: &str, width: usize) -> Result<Mlp<O>> {
        let hidden_size = self.architecture.hidden_size;
        let up = self.linear(prefix, self.names.mlp_up, width, hidden_size)?;
        let down = self.linear(prefix, self.names.mlp_down, hidden_size, width)?;
        Ok(Mlp {
            up: ops.load_expand(up, self.architecture.activation)?,
            down: ops.load_linear(down)?,
            norm: self.norm(ops, prefix, self.names.mlp_norm)?,
        })
    }

    fn linear(&self, prefix: &str, name: &str, rows: usize, columns: usize) -> Result<LinearWeights<'a>> {
        Ok(LinearWeights {
            weight: self.checkpoint.matrix(&format!("{prefix}{name}.weight"), rows, columns)?,
            bias: Some(self.checkpoint.vector(&format!("{prefix}{name}.bias"), rows)?),
        })
    }

    fn norm<O: Ops>(&self, ops: &O, prefix: &str, name: &str) -> Result<O::Norm> {
        let vector =
            |part| self.checkpoint.vector(&format!("{prefix}{name}.{part}"), self.architecture.hidden_size);
        ops.load_norm(NormWeights::Layer {
            weight: vector("weight")?,
            bias: vector("bias")?,
            eps: self.architecture.norm_eps,
        })
    }
}
