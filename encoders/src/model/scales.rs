//! Factors of one on what sub-layers add, to differentiate by.

use std::sync::Arc;

use super::{SubLayer, Transformer};
use crate::compute::backward::Backward;
use crate::compute::tape::{ParameterRows, SubLayerScale, Tape};

impl<B: Backward> Transformer<Tape<B>> {
    /// Puts a factor, 1, on what each sub-layer adds to the residual stream. The factors are the rows of one parameter,
    /// in the order of the layers, attention before MLP. Gives back how many there are.
    pub(crate) fn scale_sub_layers(&mut self) -> usize {
        let mut count = 0;
        let sub_layers = self.layers.iter_mut().flat_map(|layer| [&mut layer.attention, &mut layer.mlp]);
        for SubLayer { output, output_norm, .. } in sub_layers.flatten() {
            let scale = Some(SubLayerScale(ParameterRows { parameter: 0, first_row: count }));
            let shared = "no record is kept while a model is prepared";
            // What comes last before the sum.
            match output_norm {
                Some(norm) => Arc::get_mut(norm).expect(shared).scale = scale,
                None => Arc::get_mut(output).expect(shared).scale = scale,
            }
            count += 1;
        }
        count
    }
}

/// The slow twin, for the test of importance by gradient: candle differentiates by factors that are taken into the
/// weights.
#[cfg(test)]
mod twin {
    use candle_core::{Device, Var};

    use super::{SubLayer, Transformer};
    use crate::compute::candle::Candle;
    use crate::error::Result;

    impl Transformer<Candle> {
        /// The same, as variables: for each layer those of attention and MLP.
        pub(crate) fn scale_sub_layers(&mut self) -> Result<Vec<[Option<Var>; 2]>> {
            let scaled = |sub_layer: &mut Option<SubLayer<Candle>>| -> Result<Option<Var>> {
                let Some(SubLayer { output, output_norm, .. }) = sub_layer else { return Ok(None) };
                let scale = Var::new(&[1f32], &Device::Cpu)?;
                match output_norm {
                    Some(norm) => *norm = norm.scaled(&scale)?,
                    None => *output = output.scaled(&scale)?,
                }
                Ok(Some(scale))
            };
            let layers = self.layers.iter_mut();
            layers.map(|layer| Ok([scaled(&mut layer.attention)?, scaled(&mut layer.mlp)?])).collect()
        }
    }
}
