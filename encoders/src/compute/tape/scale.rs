//! A factor on what a sub-layer adds, to differentiate by.

use std::sync::Arc;

use super::{ParameterRows, Tape, Tracked};
use crate::compute::backward::Backward;

/// A factor a = 1 on what a sub-layer adds to the residual stream: importance by gradient asks for dL/da. It is one
/// row of one element; the forward stays as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubLayerScale(pub(crate) ParameterRows);

impl<B: Backward> Tape<B> {
    /// y, of which dL/da = <dL/dy, y> is written down.
    pub(super) fn scaled(&self, y: Tracked<B>, SubLayerScale(rows): SubLayerScale) -> Tracked<B> {
        if !self.recording {
            return y;
        }
        let Tracked { array, node } = y;
        let kept = Arc::clone(&array);
        let step = move |backend: &B, gradient: B::Activations, sink: &mut super::Sink<'_, B>| {
            let along = backend.dot(&gradient, &kept)? as f32;
            sink.parameters.add_host(rows, vec![along])?;
            sink.add(backend, node, gradient)
        };
        self.node(array, Some(Box::new(step)))
    }
}
