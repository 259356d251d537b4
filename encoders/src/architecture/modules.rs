//! The modules of an architecture, one after the other: tables, linear layers and norms, with their names and shapes.
//!
//! [`Architecture::modules`] is the one list of a model's tensors. Loading, counting and writing follow it.

use super::family::{self, Gate, Names, Norms, Projections};
use super::{Architecture, LinearInput, NormKind, Positions, SubLayer};

/// A module: the tensor `NAME.weight`, and `NAME.bias` where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) role: Role,
    /// Its layer; `None` for what comes before the first and after the last.
    pub(crate) layer: Option<usize>,
    /// Its name, without what may stand before all names of a checkpoint.
    pub(crate) name: String,
    /// Of its weight: (out, in) of a linear layer, (rows, D) of a table, (length) of a norm.
    pub(crate) shape: Vec<usize>,
    pub(crate) has_bias: bool,
}

/// What a module does in the forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    TokenEmbeddings,
    PositionEmbeddings,
    TypeEmbeddings,
    EmbeddingNorm,
    /// Of what a sub-layer reads.
    InputNorm(SubLayer),
    /// Of what a sub-layer adds.
    OutputNorm(SubLayer),
    /// Of the residual sum after a sub-layer.
    SumNorm(SubLayer),
    Query,
    Key,
    Value,
    /// The three in one, their outputs side by side.
    QueryKeyValue,
    /// Of each head of the queries.
    QueryNorm,
    /// Of each head of the keys.
    KeyNorm,
    AttentionOutput,
    /// The layer whose activation multiplies the output of `Up`.
    Gate,
    Up,
    /// Both in one, the gate's outputs first.
    GateUp,
    MlpOutput,
    FinalNorm,
}

impl Role {
    /// What a linear layer reads; `None` for a table or a norm.
    pub(crate) fn input(self) -> Option<LinearInput> {
        match self {
            Role::Query | Role::Key | Role::Value | Role::QueryKeyValue => Some(LinearInput::QueryKeyValue),
            Role::AttentionOutput => Some(LinearInput::AttentionOutput),
            Role::Gate | Role::Up | Role::GateUp => Some(LinearInput::MlpInput),
            Role::MlpOutput => Some(LinearInput::MlpOutput),
            _ => None,
        }
    }
}

impl Architecture {
    /// Every module of the transformer, in the order of the forward. Heads are not among them.
    pub(crate) fn modules(&self) -> Vec<Module> {
        let mut list = List::new(self, None);
        let Architecture { hidden_size, vocab_size, positions, .. } = *self;
        list.push(Role::TokenEmbeddings, list.names.token_embeddings, [vocab_size, hidden_size], false);
        if let Positions::Learned { table_rows, token_types, .. } = positions {
            for (role, name, rows) in [
                (Role::PositionEmbeddings, list.names.position_embeddings, table_rows),
                (Role::TypeEmbeddings, list.names.type_embeddings, token_types),
            ] {
                if let Some(name) = name {
                    list.push(role, name, [rows, hidden_size], false);
                }
            }
        }
        list.norm(Role::EmbeddingNorm, list.names.embedding_norm, hidden_size);
        let mut modules = list.modules;
        modules.extend((0..self.layers.len()).flat_map(|layer| self.layer_modules(layer)));
        let mut list = List::new(self, None);
        list.norm(Role::FinalNorm, list.names.final_norm, hidden_size);
        modules.extend(list.modules);
        modules
    }

    /// Those of one layer.
    pub(crate) fn layer_modules(&self, layer: usize) -> Vec<Module> {
        let mut list = List::new(self, Some(layer));
        let Architecture { hidden_size, attention: shape, biases, .. } = *self;
        if self.layers[layer].attention.is_some() {
            let names = &list.names.attention;
            let query_columns = shape.num_heads * shape.head_dim;
            let key_columns = shape.num_key_value_heads * shape.head_dim;
            let norms = names.norms_of_layer(layer, list.names.first_attention_normed);
            list.norms(SubLayer::Attention, &norms);
            let mut projection = |role, name, rows| {
                list.push(role, name, [rows, hidden_size], biases.query_key_value);
            };
            match names.projections {
                Projections::Separate { query, key, value } => {
                    projection(Role::Query, query, query_columns);
                    projection(Role::Key, key, key_columns);
                    projection(Role::Value, value, key_columns);
                }
                Projections::Joined(name) => {
                    projection(Role::QueryKeyValue, name, shape.joined_columns());
                }
            }
            list.norm(Role::QueryNorm, names.query_norm, shape.head_dim);
            list.norm(Role::KeyNorm, names.key_norm, shape.head_dim);
            let shape = [hidden_size, query_columns];
            list.push(Role::AttentionOutput, names.output, shape, biases.attention_output);
        }
        if let Some(width) = self.layers[layer].intermediate_size {
            let names = &list.names.mlp;
            list.norms(SubLayer::Mlp, &names.norms);
            if let Gate::Separate(name) = names.gate {
                list.push(Role::Gate, name, [width, hidden_size], biases.mlp);
            }
            let (role, rows) = match names.gate {
                Gate::Joined => (Role::GateUp, 2 * width),
                Gate::None | Gate::Separate(_) => (Role::Up, width),
            };
            list.push(role, names.up, [rows, hidden_size], biases.mlp);
            list.push(Role::MlpOutput, names.output, [hidden_size, width], biases.mlp);
        }
        list.modules
    }

    /// `name` without what may stand before all names of a checkpoint of this family.
    pub fn bare_name<'n>(&self, name: &'n str) -> &'n str {
        let prefixes = self.prefixes().iter().filter(|prefix| !prefix.is_empty());
        prefixes.filter_map(|prefix| name.strip_prefix(prefix)).next().unwrap_or(name)
    }

    /// What may stand before all names of a checkpoint of this family.
    pub(crate) fn prefixes(&self) -> &'static [&'static str] {
        family::by_name(self.family).names.prefixes
    }
}

struct List<'a> {
    architecture: &'a Architecture,
    names: &'static Names,
    layer: Option<usize>,
    prefix: String,
    modules: Vec<Module>,
}

impl<'a> List<'a> {
    fn new(architecture: &'a Architecture, layer: Option<usize>) -> List<'a> {
        let names = &family::by_name(architecture.family).names;
        let prefix = layer.map_or_else(String::new, |layer| names.layer.replace("{}", &layer.to_string()));
        List { architecture, names, layer, prefix, modules: Vec::new() }
    }

    fn push(&mut self, role: Role, name: &str, shape: impl Into<Vec<usize>>, has_bias: bool) {
        let (layer, name) = (self.layer, format!("{}{name}", self.prefix));
        self.modules.push(Module { role, layer, name, shape: shape.into(), has_bias });
    }

    fn norms(&mut self, of: SubLayer, norms: &Norms) {
        let length = self.architecture.hidden_size;
        self.norm(Role::InputNorm(of), norms.input, length);
        self.norm(Role::OutputNorm(of), norms.output, length);
        self.norm(Role::SumNorm(of), norms.sum, length);
    }

    fn norm(&mut self, role: Role, name: Option<&str>, length: usize) {
        if let Some(name) = name {
            let has_bias = self.architecture.norm == (NormKind::Layer { bias: true });
            self.push(role, name, [length], has_bias);
        }
    }
}
