//! The tensors that an architecture asks for: names and shapes, known without any weights.

use std::collections::BTreeSet;

use super::LinearInput;
use super::family::{self, Gate, Names, Norms, Projections};
use super::{Architecture, LayerAttention, LayerShape, NormKind, Positions};

/// A tensor of a model, by its name without what may stand before all names of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorShape {
    /// Its name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// What it belongs to.
    pub part: Part,
}

/// What a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
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
        matches!(self.part, Part::Attention | Part::Mlp) && self.shape.len() == 2
    }
}

impl Architecture {
    /// Every tensor of the transformer, in the order of the forward. Heads are not among them.
    pub fn tensors(&self) -> Vec<TensorShape> {
        let names = &family::by_name(self.family).names;
        let mut list = List { architecture: self, names, tensors: Vec::new() };
        list.embeddings();
        for (number, layer) in self.layers.iter().enumerate() {
            list.layer(number, layer);
        }
        list.norm("", names.final_norm);
        list.tensors
    }

    /// What the names of the tensors of dropped sub-layers begin with: modules, each with a dot behind it, so that what a
    /// quantized tensor consists of goes with it.
    pub(crate) fn dropped_modules(&self) -> Vec<String> {
        let mut whole = self.clone();
        for layer in &mut whole.layers {
            layer.attention.get_or_insert(LayerAttention { window: None, rotary: None });
            layer.intermediate_size.get_or_insert(1);
        }
        let modules = |architecture: &Architecture| -> BTreeSet<String> {
            let module = |name: &str| name.rsplit_once('.').map(|(module, _)| format!("{module}."));
            architecture.tensors().iter().filter_map(|tensor| module(&tensor.name)).collect()
        };
        modules(&whole).difference(&modules(self)).cloned().collect()
    }

    /// The matrices of a layer's linear layers, and what they read.
    pub(crate) fn layer_matrices(&self, layer: usize) -> Vec<(TensorShape, LinearInput)> {
        let names = &family::by_name(self.family).names;
        let prefix = names.layer.replace("{}", &layer.to_string());
        let output = |name: &str| format!("{prefix}{name}.weight");
        let outputs = [output(names.attention.output), output(names.mlp.output)];
        let mut list = List { architecture: self, names, tensors: Vec::new() };
        list.layer(layer, &self.layers[layer]);
        let linear = list.tensors.into_iter().filter(TensorShape::is_linear);
        let input = |tensor: &TensorShape| match (tensor.part, outputs.contains(&tensor.name)) {
            (Part::Attention, false) => LinearInput::QueryKeyValue,
            (Part::Attention, true) => LinearInput::AttentionOutput,
            (_, false) => LinearInput::MlpInput,
            (_, true) => LinearInput::MlpOutput,
        };
        linear
            .map(|tensor| {
                let input = input(&tensor);
                (tensor, input)
            })
            .collect()
    }

    /// The tensors of a layer's MLP that have a place for each neuron.
    pub(crate) fn mlp_tensors(&self, layer: usize) -> Vec<(String, NeuronAxis)> {
        let Names { layer: prefix, mlp, .. } = &family::by_name(self.family).names;
        let prefix = prefix.replace("{}", &layer.to_string());
        let mut tensors = vec![(format!("{prefix}{}.weight", mlp.output), NeuronAxis::Columns)];
        let mut first = |name: &str, parts| {
            for suffix in ["weight", "bias"] {
                tensors.push((format!("{prefix}{name}.{suffix}"), NeuronAxis::Rows { parts }));
            }
        };
        match mlp.gate {
            Gate::None => first(mlp.up, 1),
            Gate::Separate(gate) => {
                first(gate, 1);
                first(mlp.up, 1);
            }
            Gate::Joined => first(mlp.up, 2),
        }
        tensors
    }

    /// `name` without what may stand before all names of a checkpoint of this family.
    pub fn bare_name<'n>(&self, name: &'n str) -> &'n str {
        let prefixes = family::by_name(self.family).names.prefixes.iter().filter(|prefix| !prefix.is_empty());
        prefixes.filter_map(|prefix| name.strip_prefix(prefix)).next().unwrap_or(name)
    }

    /// The table of token embeddings.
    pub fn token_embeddings(&self) -> TensorShape {
        let name = format!("{}.weight", family::by_name(self.family).names.token_embeddings);
        TensorShape { name, shape: vec![self.vocab_size, self.hidden_size], part: Part::Embeddings }
    }
}

struct List<'a> {
    architecture: &'a Architecture,
    names: &'a Names,
    tensors: Vec<TensorShape>,
}

impl List<'_> {
    fn push(&mut self, name: String, shape: Vec<usize>, part: Part) {
        self.tensors.push(TensorShape { name, shape, part });
    }

    fn embeddings(&mut self) {
        let hidden_size = self.architecture.hidden_size;
        self.tensors.push(self.architecture.token_embeddings());
        if let Positions::Learned { table_rows, token_types, .. } = self.architecture.positions {
            for (name, rows) in
                [(self.names.position_embeddings, table_rows), (self.names.type_embeddings, token_types)]
            {
                if let Some(name) = name {
                    self.push(format!("{name}.weight"), vec![rows, hidden_size], Part::Embeddings);
                }
            }
        }
        self.norm("", self.names.embedding_norm);
    }

    fn layer(&mut self, number: usize, layer: &LayerShape) {
        let prefix = &self.names.layer.replace("{}", &number.to_string());
        let Architecture { hidden_size, attention: shape, biases, .. } = *self.architecture;
        if layer.attention.is_some() {
            let names = &self.names.attention;
            let query_columns = shape.num_heads * shape.head_dim;
            let key_columns = shape.num_key_value_heads * shape.head_dim;
            let norms = names.norms_of_layer(number, self.names.first_attention_normed);
            self.norms(prefix, &norms);
            match names.projections {
                Projections::Separate { query, key, value } => {
                    for (name, rows) in [(query, query_columns), (key, key_columns), (value, key_columns)] {
                        self.linear(
                            prefix,
                            name,
                            [rows, hidden_size],
                            biases.query_key_value,
                            Part::Attention,
                        );
                    }
                }
                Projections::Joined(name) => {
                    let rows = shape.joined_columns();
                    self.linear(prefix, name, [rows, hidden_size], biases.query_key_value, Part::Attention);
                }
            }
            for name in [names.query_norm, names.key_norm].into_iter().flatten() {
                self.norm_of(prefix, name, shape.head_dim);
            }
            let shape = [hidden_size, query_columns];
            self.linear(prefix, names.output, shape, biases.attention_output, Part::Attention);
        }
        if let Some(width) = layer.intermediate_size {
            let names = &self.names.mlp;
            self.norms(prefix, &names.norms);
            if let Gate::Separate(name) = names.gate {
                self.linear(prefix, name, [width, hidden_size], biases.mlp, Part::Mlp);
            }
            let rows = if matches!(names.gate, Gate::Joined) { 2 * width } else { width };
            self.linear(prefix, names.up, [rows, hidden_size], biases.mlp, Part::Mlp);
            self.linear(prefix, names.output, [hidden_size, width], biases.mlp, Part::Mlp);
        }
    }

    fn linear(&mut self, prefix: &str, name: &str, [rows, columns]: [usize; 2], bias: bool, part: Part) {
        self.push(format!("{prefix}{name}.weight"), vec![rows, columns], part);
        if bias {
            self.push(format!("{prefix}{name}.bias"), vec![rows], part);
        }
    }

    fn norms(&mut self, prefix: &str, norms: &Norms) {
        for name in [norms.input, norms.output, norms.sum] {
            self.norm(prefix, name);
        }
    }

    fn norm(&mut self, prefix: &str, name: Option<&str>) {
        if let Some(name) = name {
            self.norm_of(prefix, name, self.architecture.hidden_size);
        }
    }

    fn norm_of(&mut self, prefix: &str, name: &str, length: usize) {
        self.push(format!("{prefix}{name}.weight"), vec![length], Part::Norm);
        if self.architecture.norm == (NormKind::Layer { bias: true }) {
            self.push(format!("{prefix}{name}.bias"), vec![length], Part::Norm);
        }
    }
}
