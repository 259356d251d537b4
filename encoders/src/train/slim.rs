//! Width by self-slimming (EffiR, section 5.1): a factor on each neuron, pressed towards zero while the encoder is
//! trained to retrieve; the weights are frozen.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::compute::numbers::Numbers;
use crate::compute::tape::{Gradients, Parameter, ParameterRows};
use crate::error::Result;

/// How sharply the surrogate of the number of neurons in use rises from 1/2 at zero to 1 (EffiR, A.1).
const BETA: f64 = 5.0;

/// Factors on the neurons of MLPs and the pressure on them.
///
/// A neuron's activation is multiplied by ReLU(z), z = 1 at the beginning (equation 7). The loss gains `pressure`
/// times the mean over all neurons of sigmoid(beta ReLU(z)), beta = 5 (equation 8). The paper's lambda multiplies the
/// sum: lambda = pressure / neurons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slim {
    /// The weight of the mean.
    pub pressure: f64,
}

impl Default for Slim {
    /// The paper's 1e-8 for the 16 MLPs that its Mistral keeps, of 14,336 neurons each.
    fn default() -> Slim {
        Slim { pressure: 1e-8 * 16.0 * 14_336.0 }
    }
}

impl Slim {
    /// z = 1 for every neuron: one parameter for each layer that has an MLP, in the order of the layers.
    pub(super) fn parameters(architecture: &Architecture) -> Vec<Parameter> {
        let layers = architecture.layers.iter().enumerate();
        layers
            .filter_map(|(layer, shape)| {
                let width = shape.intermediate_size?;
                // The name that state files have had from the beginning.
                let name = format!("gates.{layer}");
                Some(Parameter { name, shape: vec![width, 1], values: vec![1.0; width], decays: false })
            })
            .collect()
    }

    /// The penalty, whose gradient is added to `gradients`.
    pub(super) fn penalty<N: Numbers>(
        &self,
        parameters: &[Parameter<N>],
        gradients: &mut Gradients<N>,
    ) -> Result<f64> {
        let neurons = parameters.iter().map(|factors| factors.values.len()).sum::<usize>() as f64;
        let weight = self.pressure / neurons;
        let mut penalty = 0.0;
        for (parameter, factors) in parameters.iter().enumerate() {
            let slope = |z: &f32| {
                let used = 1.0 / (1.0 + (-BETA * f64::from(z.max(0.0))).exp());
                penalty += weight * used;
                if *z > 0.0 { (weight * BETA * used * (1.0 - used)) as f32 } else { 0.0 }
            };
            let slopes = factors.values.read()?.iter().map(slope).collect();
            gradients.add_host(ParameterRows { parameter, first_row: 0 }, slopes)?;
        }
        Ok(penalty)
    }
}
