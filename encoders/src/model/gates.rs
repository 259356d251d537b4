//! Factors of one on the outputs of sub-layers, to differentiate by.

use candle_core::{Device, Var};

use super::{SubLayer, Transformer};
use crate::compute::candle::Candle;
use crate::error::Result;

impl Transformer<Candle> {
    /// Puts a factor, 1, on what each sub-layer adds to the residual stream; for each layer those of attention and MLP. The
    /// factor is taken into the weights of what comes last before the sum, so that the forward stays as it is.
    pub(crate) fn gate_sub_layers(&mut self) -> Result<Vec<[Option<Var>; 2]>> {
        let gate = |sub_layer: &mut Option<SubLayer<Candle>>| -> Result<Option<Var>> {
            let Some(sub_layer) = sub_layer else { return Ok(None) };
            let gate = Var::new(&[1f32], &Device::Cpu)?;
            match &mut sub_layer.output_norm {
                Some(norm) => *norm = norm.gated(&gate)?,
                None => sub_layer.output = sub_layer.output.gated(&gate)?,
            }
            Ok(Some(gate))
        };
        let layers = self.layers.iter_mut();
        layers.map(|layer| Ok([gate(&mut layer.attention)?, gate(&mut layer.mlp)?])).collect()
    }
}
