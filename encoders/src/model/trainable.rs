//! What of a transformer is trained: everything, low-rank additions to its linear layers, or factors on its neurons.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Core, SubLayer, Transformer};
use crate::architecture::family::{self, Gate, Names, Projections};
use crate::architecture::{Architecture, NormKind};
use crate::compute::backward::Backward;
use crate::compute::tape::{
    AdapterShape, Block, Parameter, ParameterRows, Tape, TapeLinear, TapeNorm, TrainedNorm, TrainedTable,
};
use crate::error::Result;

/// A tensor of a checkpoint among the outputs of a linear layer.
struct Module {
    /// Its name without `.weight`.
    name: String,
    /// Its outputs in the layer.
    rows: Range<usize>,
    /// The row of the tensor that is the first of them.
    first_row: usize,
}

/// The parameters of the transformer itself, by name.
struct ParameterIndex {
    by_name: BTreeMap<String, usize>,
}

impl ParameterIndex {
    fn new<N>(parameters: &[Parameter<N>]) -> ParameterIndex {
        let names = parameters.iter().enumerate();
        ParameterIndex { by_name: names.map(|(index, parameter)| (parameter.name.clone(), index)).collect() }
    }

    fn of(&self, name: &str, first_row: usize) -> Option<ParameterRows> {
        self.by_name.get(name).map(|parameter| ParameterRows { parameter: *parameter, first_row })
    }
}

fn unique<T>(shared: &mut Arc<T>) -> &mut T {
    Arc::get_mut(shared).expect("no record is kept while what is trained changes")
}

impl<B: Backward> Transformer<Tape<B>> {
    /// Trains every tensor of `parameters`, which are those of [`Architecture::tensors`] in any order.
    pub(crate) fn train_all<N>(&mut self, parameters: &[Parameter<N>]) {
        let index = ParameterIndex::new(parameters);
        let architecture = self.architecture.clone();
        let names = &family::by_name(architecture.family).names;
        let table = |name: &str| index.by_name.get(&format!("{name}.weight")).copied();
        let tokens = unique(&mut self.embeddings.tokens);
        if let Some(parameter) = table(names.token_embeddings) {
            tokens.train(TrainedTable::Scaled(parameter, architecture.embedding_scale));
        }
        if let (Some(positions), Some(name)) = (&mut self.embeddings.positions, names.position_embeddings)
            && let Some(parameter) = table(name)
        {
            unique(positions).train(match names.type_embeddings.and_then(table) {
                Some(types) => TrainedTable::Sums(types, parameter),
                None => TrainedTable::Scaled(parameter, 1.0),
            });
        }
        self.visit_norms(&mut |norm, name| {
            if let Some(weight) = index.of(&format!("{name}.weight"), 0) {
                let offset = match architecture.norm {
                    NormKind::Rms { offset } => offset,
                    NormKind::Layer { .. } => 0.0,
                };
                norm.train(TrainedNorm { weight, bias: index.of(&format!("{name}.bias"), 0), offset });
            }
        });
        self.visit_linears(&mut |linear, modules| {
            let block = |module: &Module| {
                Some(Block {
                    rows: module.rows.clone(),
                    weight: index.of(&format!("{}.weight", module.name), module.first_row)?,
                    bias: index.of(&format!("{}.bias", module.name), module.first_row),
                })
            };
            linear.train_weights(modules.iter().filter_map(block).collect());
        });
    }

    /// Trains B A for each linear layer whose module `parameters` has a `NAME.lora_A.weight` and `NAME.lora_B.weight`
    /// of.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn train_adapters<N>(
        &mut self,
        backend: &B,
        parameters: &[Parameter<N>],
        shape: AdapterShape,
    ) -> Result<()> {
        let index = ParameterIndex::new(parameters);
        let mut result = Ok(());
        self.visit_linears(&mut |linear, modules| {
            for Module { name, rows, first_row } in modules {
                let a = index.of(&format!("{name}.lora_A.weight"), 0);
                let b = index.of(&format!("{name}.lora_B.weight"), *first_row);
                if let (Some(a), Some(b), true) = (a, b, result.is_ok()) {
                    result = linear.train_low_rank(backend, rows.clone(), [a, b], shape);
                }
            }
        });
        result
    }

    /// Trains a factor on each neuron of each MLP: one parameter a layer that has an MLP, in the order of the layers.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn train_neurons(&mut self, backend: &B) -> Result<()> {
        for (parameter, mlp) in self.layers.iter_mut().filter_map(|layer| layer.mlp.as_mut()).enumerate() {
            if let Core::Mlp(gate_up) = &mut mlp.core {
                unique(gate_up).train_neurons(backend, ParameterRows { parameter, first_row: 0 })?;
            }
        }
        Ok(())
    }

    /// Multiplies the neurons of each layer's MLP by fixed factors, where there are any.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(crate) fn mask_neurons(&mut self, backend: &B, factors: Vec<Option<Vec<f32>>>) -> Result<()> {
        for (layer, factors) in self.layers.iter_mut().zip(factors) {
            if let (Some(SubLayer { core: Core::Mlp(gate_up), .. }), Some(factors)) =
                (&mut layer.mlp, factors)
            {
                unique(gate_up).mask_neurons(backend, factors)?;
            }
        }
        Ok(())
    }

    /// Takes over what training has changed.
    ///
    /// # Errors
    ///
    /// The device fails.
    pub(crate) fn refresh(&mut self, parameters: &[Parameter<B::Numbers>]) -> Result<()> {
        unique(&mut self.embeddings.tokens).refresh(parameters)?;
        if let Some(positions) = &mut self.embeddings.positions {
            unique(positions).refresh(parameters)?;
        }
        let mut result = Ok(());
        self.visit_norms(&mut |norm, _| {
            if result.is_ok() {
                result = norm.refresh(parameters);
            }
        });
        result?;
        let sub_layers =
            self.layers.par_iter_mut().flat_map_iter(|layer| [&mut layer.attention, &mut layer.mlp]);
        sub_layers.filter_map(Option::as_mut).try_for_each(|sub_layer| {
            unique(&mut sub_layer.output).refresh(parameters)?;
            match &mut sub_layer.core {
                Core::Attention(attention) => unique(&mut attention.qkv).refresh(parameters),
                Core::Mlp(gate_up) => unique(gate_up).refresh(parameters),
            }
        })
    }

    /// Every norm and its name.
    fn visit_norms(&mut self, visit: &mut dyn FnMut(&mut TapeNorm<B>, &str)) {
        let names = &family::by_name(self.architecture.family).names;
        let mut one = |norm: &mut Option<Arc<TapeNorm<B>>>, prefix: &str, name: Option<&str>| {
            if let (Some(norm), Some(name)) = (norm, name) {
                visit(unique(norm), &format!("{prefix}{name}"));
            }
        };
        one(&mut self.embeddings.norm, "", names.embedding_norm);
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let prefix = names.layer.replace("{}", &number.to_string());
            let of_attention = names.attention.norms_of_layer(number, names.first_attention_normed);
            for (sub_layer, norms) in
                [(&mut layer.attention, of_attention), (&mut layer.mlp, names.mlp.norms)]
            {
                let Some(sub_layer) = sub_layer else { continue };
                one(&mut sub_layer.input_norm, &prefix, norms.input);
                one(&mut sub_layer.output_norm, &prefix, norms.output);
                one(&mut sub_layer.sum_norm, &prefix, norms.sum);
                if let Core::Attention(attention) = &mut sub_layer.core {
                    one(&mut attention.query_norm, &prefix, names.attention.query_norm);
                    one(&mut attention.key_norm, &prefix, names.attention.key_norm);
                }
            }
        }
        one(&mut self.final_norm, "", names.final_norm);
    }

    /// Every linear layer and the tensors that its outputs belong to.
    fn visit_linears(&mut self, visit: &mut dyn FnMut(&mut TapeLinear<B>, &[Module])) {
        let architecture = &self.architecture;
        let names = &family::by_name(architecture.family).names;
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let prefix = names.layer.replace("{}", &number.to_string());
            let module = |name: &str, rows: Range<usize>, first_row| {
                let name = format!("{prefix}{name}");
                Module { name, rows, first_row }
            };
            for (sub_layer, output) in
                [(&mut layer.attention, names.attention.output), (&mut layer.mlp, names.mlp.output)]
            {
                let Some(sub_layer) = sub_layer else { continue };
                let out = unique(&mut sub_layer.output);
                let rows = out.num_rows();
                visit(out, &[module(output, 0..rows, 0)]);
                match &mut sub_layer.core {
                    Core::Attention(attention) => {
                        let parts = projections(names, architecture);
                        let modules: Vec<Module> =
                            parts.into_iter().map(|(name, rows)| module(name, rows, 0)).collect();
                        visit(unique(&mut attention.qkv), &modules);
                    }
                    Core::Mlp(gate_up) => {
                        let gate_up = unique(gate_up);
                        let width = gate_up.width();
                        // Where both halves are one tensor, the gate is the first.
                        let (gate, first_up) = match names.mlp.gate {
                            Gate::None => (None, 0),
                            Gate::Separate(name) => (Some(name), 0),
                            Gate::Joined => (Some(names.mlp.up), width),
                        };
                        if let (Some(linear), Some(name)) = (&mut gate_up.gate, gate) {
                            visit(unique(linear), &[module(name, 0..width, 0)]);
                        }
                        visit(unique(&mut gate_up.up), &[module(names.mlp.up, 0..width, first_up)]);
                    }
                }
            }
        }
    }
}

/// The tensors among the joined projections to queries, keys and values, and their outputs.
fn projections(names: &Names, architecture: &Architecture) -> Vec<(&'static str, Range<usize>)> {
    let shape = architecture.attention;
    let queries = shape.num_heads * shape.head_dim;
    let keys = shape.num_key_value_heads * shape.head_dim;
    match names.attention.projections {
        Projections::Separate { query, key, value } => vec![
            (query, 0..queries),
            (key, queries..queries + keys),
            (value, queries + keys..queries + 2 * keys),
        ],
        Projections::Joined(name) => vec![(name, 0..shape.joined_columns())],
    }
}
