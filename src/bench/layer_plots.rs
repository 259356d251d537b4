//! The drawings of what happens in the layers of encoders.

use super::plot::{Axis, Plot, PlotPoint, Series};
use super::result::{BenchReport, EncodingFacts, LayerSimilarity, SimilarityPoint};
use crate::number::counted;

/// Where relevant documents part from others, for each data set and encoder (EffiR, Fig. 6 and 7).
pub(super) fn layer_plots(report: &BenchReport, environment: usize, on: &str) -> Vec<Plot> {
    let encodings = report.encodings.iter().filter(|encoding| encoding.environment == environment);
    encodings.filter_map(|encoding| Some(plot(encoding, encoding.layers.as_ref()?, on))).collect()
}

fn plot(encoding: &EncodingFacts, layers: &LayerSimilarity, on: &str) -> Plot {
    let series = |name: &str, value: fn(&SimilarityPoint) -> f64| Series {
        name: name.to_owned(),
        is_line: true,
        points: layers
            .points
            .iter()
            .enumerate()
            .map(|(place, point)| PlotPoint { x: place as f64, y: value(point), label: Some(label(point)) })
            .collect(),
    };
    let cosines = layers.points.iter().flat_map(|point| [point.relevant, point.other]);
    Plot {
        title: format!("Similarity, layer by layer: {}, {}{on}", encoding.dataset, encoding.encoder),
        note: format!(
            "Means of {}. Hidden states are pooled as the encoder pools the last ones. 0 is after the embeddings, the last \
             place is of the vectors.",
            counted(layers.num_queries, "query")
        ),
        x: Axis::from_zero("layers passed", Some("number"), [layers.points.len().saturating_sub(1) as f64]),
        y: Axis::over("mean cosine with the query", None, cosines),
        series: vec![
            series("relevant document", |point| point.relevant),
            series("relevant document of another query", |point| point.other),
        ],
        front: Vec::new(),
    }
}

fn label(point: &SimilarityPoint) -> String {
    point.layer.map_or_else(|| point.stage.clone(), |layer| format!("layer {layer}"))
}
