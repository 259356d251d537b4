//! The tensors that an architecture asks for: names and shapes, known without any weights.

use std::collections::BTreeSet;

use super::modules::{Module, Role};
use super::{Architecture, LayerAttention, LinearInput};

/// A tensor of a model, by its name without what may stand before all names of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What it belongs to.
    pub group: TensorGroup,
}

/// What a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorGroup {
    /// A table of embeddings.
    Embeddings,
    /// A linear layer of an attention.
    Attention,
    /// A linear layer of an MLP.
    Mlp,
    /// A normalization.
    Norm,
}

/// Where the neurons of an MLP are in one of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeuronAxis {
    /// One row each, in each of `parts` parts one below the other.
    Rows { parts: usize },
    /// One column each.
    Columns,
}

impl TensorShape {
    /// How many numbers it holds.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is the matrix of a linear layer: neither a table of embeddings, a bias nor a norm.
    pub fn is_linear(&self) -> bool {
        matches!(self.group, TensorGroup::Attention | TensorGroup::Mlp) && self.shape.len() == 2
    }
}

impl Module {
    /// Its tensors: the weight, and the bias where it has one.
    fn tensors(&self) -> impl Iterator<Item = TensorShape> + '_ {
        let group = self.role.group();
        let bias = self.has_bias.then(|| TensorShape {
            name: format!("{}.bias", self.name),
            shape: vec![self.shape[0]],
            group,
        });
        let name = format!("{}.weight", self.name);
        std::iter::once(TensorShape { name, shape: self.shape.clone(), group }).chain(bias)
    }
}

impl Role {
    fn group(self) -> TensorGroup {
        match (self, self.input()) {
            (_, Some(LinearInput::QueryKeyValue | LinearInput::AttentionOutput)) => TensorGroup::Attention,
            (_, Some(LinearInput::MlpInput | LinearInput::MlpOutput)) => TensorGroup::Mlp,
            (Role::TokenEmbeddings | Role::PositionEmbeddings | Role::TypeEmbeddings, None) => {
                TensorGroup::Embeddings
            }
            (_, None) => TensorGroup::Norm,
        }
    }
}

impl Architecture {
    /// Every tensor of the transformer, in the order of the forward. Heads are not among them.
    pub fn tensors(&self) -> Vec<TensorShape> {
        self.modules().iter().flat_map(Module::tensors).collect()
    }

    /// How the names of the tensors of dropped sub-layers begin: a module and a dot. So all tensors that a quantized
    /// matrix is stored as are dropped, too.
    pub(crate) fn dropped_modules(&self) -> Vec<String> {
        let mut whole = self.clone();
        for layer in &mut whole.layers {
            layer.attention.get_or_insert(LayerAttention { window: None, rotary: None });
            layer.intermediate_size.get_or_insert(1);
        }
        let names = |architecture: &Architecture| -> BTreeSet<String> {
            architecture.modules().into_iter().map(|module| module.name + ".").collect()
        };
        names(&whole).difference(&names(self)).cloned().collect()
    }

    /// The matrices of a layer's linear layers, and what they read.
    pub(crate) fn layer_matrices(&self, layer: usize) -> Vec<(TensorShape, LinearInput)> {
        let matrix = |module: Module| {
            let input = module.role.input()?;
            Some((module.tensors().next()?, input))
        };
        self.layer_modules(layer).into_iter().filter_map(matrix).collect()
    }

    /// The tensors of a layer's MLP that have a place for each neuron.
    pub(crate) fn mlp_tensors(&self, layer: usize) -> Vec<(String, NeuronAxis)> {
        let tensors = |Module { role, name, .. }: Module| {
            let (suffixes, axis): (&[&str], _) = match role {
                Role::Gate | Role::Up => (&["weight", "bias"], NeuronAxis::Rows { parts: 1 }),
                Role::GateUp => (&["weight", "bias"], NeuronAxis::Rows { parts: 2 }),
                Role::MlpOutput => (&["weight"], NeuronAxis::Columns),
                _ => (&[], NeuronAxis::Columns),
            };
            suffixes.iter().map(move |suffix| (format!("{name}.{suffix}"), axis))
        };
        self.layer_modules(layer).into_iter().flat_map(tensors).collect()
    }

    /// The table of token embeddings.
    pub fn token_embeddings(&self) -> TensorShape {
        let tensors = self.modules();
        let table = tensors.iter().find(|module| module.role == Role::TokenEmbeddings);
        let weight = table.and_then(|table| table.tensors().next());
        weight.expect("every model has token embeddings")
    }
}
