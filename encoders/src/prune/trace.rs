//! How similar a query and documents are after each layer (paper, Fig. 6 and 7).

use serde::{Deserialize, Serialize};

use crate::compute::{Backend, Spans};
use crate::cosine::cosine;
use crate::encoder::Encoder;
use crate::error::Result;
use crate::model::{Stage, Transformer};
use crate::on_device::PerBatch;
use crate::text_kind::TextKind;

/// The similarity of a query and documents at one place of the forward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracePoint {
    /// "embeddings", "layer", or "vector" for what the encoder gives in the end.
    pub stage: String,
    /// The layer behind which it was measured, counted from 0; `None` but for "layer".
    pub layer: Option<usize>,
    /// The cosine with the query, for each document in their order.
    pub cosines: Vec<f64>,
}

/// Follows a query and documents through an encoder. The hidden states after the embeddings and after each layer are
/// pooled as the encoder pools the last ones, and compared by their cosine. A layer that was dropped
/// changes nothing. The last point compares the encoder's vectors, which come after the final norm and all that
/// follows pooling.
///
/// Hidden states are f32; cosines are computed in f64. They are 0 where a vector is.
///
/// # Errors
///
/// Those of [`Encoder::encode`].
pub fn trace(encoder: &Encoder, query: &str, documents: &[&str]) -> Result<Vec<TracePoint>> {
    let of_query = pooled(encoder, &[query], TextKind::Query)?;
    let of_documents = pooled(encoder, documents, TextKind::Passage)?;
    let layers = encoder.architecture().layers.len();
    let width = of_query[0].len() / (layers + 1);
    let mut points: Vec<TracePoint> = (0..=layers)
        .map(|place| {
            let at = place * width..(place + 1) * width;
            let cosines =
                of_documents.iter().map(|states| cosine(&of_query[0][at.clone()], &states[at.clone()]));
            TracePoint {
                stage: if place == 0 { "embeddings" } else { "layer" }.to_owned(),
                layer: place.checked_sub(1),
                cosines: cosines.collect(),
            }
        })
        .collect();
    let query = encoder.encode(&[query], TextKind::Query)?;
    let vectors = encoder.encode(documents, TextKind::Passage)?;
    let cosines = vectors.chunks_exact(encoder.dim()).map(|vector| cosine(&query, vector)).collect();
    points.push(TracePoint { stage: "vector".to_owned(), layer: None, cosines });
    Ok(points)
}

/// For each text its pooled hidden states after the embeddings and after each layer: (L + 1, D), row-major.
fn pooled(encoder: &Encoder, texts: &[&str], kind: TextKind) -> Result<Vec<Vec<f32>>> {
    let tokens = encoder.tokenize(texts, kind)?;
    let task = Pooled { encoder, tokens: &tokens, skipped: encoder.skipped(kind) };
    encoder.model().run_by_text(encoder.batches(&tokens), &task)
}

struct Pooled<'a> {
    encoder: &'a Encoder,
    tokens: &'a [Vec<u32>],
    skipped: usize,
}

impl PerBatch<Encoder> for Pooled<'_> {
    type Output = Vec<Vec<f32>>;

    fn tokens(&self, text: usize) -> usize {
        self.tokens[text].len()
    }

    fn compute<B: Backend>(
        &self,
        model: &Transformer<B>,
        backend: &B,
        batch: &[usize],
    ) -> Result<Vec<Vec<f32>>> {
        let ids: Vec<u32> = batch.iter().flat_map(|text| &self.tokens[*text]).copied().collect();
        let spans = Spans::from_lengths(batch.iter().map(|text| self.tokens[*text].len()));
        let hidden_size = model.architecture().hidden_size;
        let mut states = vec![Vec::new(); batch.len()];
        model.forward_observed(backend, &ids, &spans, &mut |stage, x| {
            if !matches!(stage, Stage::Embeddings | Stage::Layer(_)) {
                return Ok(());
            }
            for pooling in self.encoder.settings().pooling.iter() {
                let vectors = backend.to_vec(&backend.pool(x, &spans, pooling, self.skipped)?)?;
                for (text, vector) in states.iter_mut().zip(vectors.chunks_exact(hidden_size)) {
                    text.extend_from_slice(vector);
                }
            }
            Ok(())
        })?;
        Ok(states)
    }
}
